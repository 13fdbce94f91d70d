"""The queue of a gate: its order, its bounds, and what is found by session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.admission import GateFullError
from proxy.core.waiting import Waiting
from proxy.http1.head import parse_request

if TYPE_CHECKING:
    from proxy.http1.head import RequestHead

MOST = 3
PATIENCE = 10.0


class Waiter:
    @property
    def head(self) -> RequestHead:
        head = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert head is not None
        return head

    def wake(self) -> None: ...

    def refuse(self) -> None: ...


def test_nobody_s_patience_ends_before_that_of_one_who_came_before() -> None:
    waiting, first, second = Waiting(MOST, PATIENCE), Waiter(), Waiter()
    waiting.add(first, None, 5.0)
    waiting.add(second, None, 4.0)
    assert waiting.expire(14.9) == []
    assert waiting.expire(15.0) == [first, second]
    assert repr(waiting) == "<Waiting 0 sessions=0>"


def test_who_is_not_there_can_be_removed() -> None:
    waiting = Waiting(MOST, PATIENCE)
    waiting.remove(Waiter())
    assert len(waiting) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "remove", "expire"]),
            st.integers(0, 5),
            st.sampled_from([None, "a", "b"]),
            st.sampled_from([0.0, 3.0]),
        ),
        max_size=40,
    )
)
def test_it_is_a_list_that_is_searched(steps: list[tuple[str, int, str | None, float]]) -> None:
    waiting, plain, now = Waiting(MOST, PATIENCE), dict[Waiter, tuple[float, str | None]](), 0.0
    owners = [Waiter() for _ in range(6)]
    for what, number, session, seconds in steps:
        owner, now = owners[number], now + seconds
        if what == "remove":
            waiting.remove(owner)
            plain.pop(owner, None)
        elif what == "expire":
            late = [owner for owner, (until, _) in plain.items() if until <= now]
            assert waiting.expire(now) == late
            plain = {owner: place for owner, place in plain.items() if owner not in late}
        elif owner not in plain and len(plain) == MOST:
            with pytest.raises(GateFullError):
                waiting.add(owner, session, now)
        else:
            waiting.add(owner, session, now)
            plain[owner] = (plain[owner][0] if owner in plain else now + PATIENCE, session)
        assert waiting.all() == list(plain)
        assert len(waiting) == len(plain)
        for sessions in (["a"], ["b", "a"], ["c"]):
            assert waiting.of(sessions) == [owner for owner, (_, of) in plain.items() if of in sessions]
