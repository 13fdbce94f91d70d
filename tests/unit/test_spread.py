"""How requests are spread by weight, and how a visitor is kept where it is."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.spread import Spread

COOKIES = {"production": "production.aa", "temp": "temp.bb", "third": "third.cc"}


def spread(
    weights: dict[str, int], *, sticky: bool = True, usable: dict[str, int] | None = None, path: str = "/"
) -> Spread:
    backends = usable if usable is not None else {}
    return Spread("shop", weights, sticky=sticky, cookies=COOKIES, path=path, usable=lambda slot: backends.get(slot, 1))


def session(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=12).hexdigest()


def test_new_visitors_are_assigned_by_weight() -> None:
    by_weight = spread({"production": 90, "temp": 10})
    assert Counter(by_weight.assign(b"", None) for _ in range(100)) == {"production": 90, "temp": 10}


def test_the_light_ones_come_in_between() -> None:
    by_weight = spread({"production": 2, "temp": 1})
    assert [by_weight.assign(b"", None)[0] for _ in range(6)] == ["p", "t", "p", "p", "t", "p"]


@pytest.mark.parametrize(
    "cookies",
    [
        b"slot-shop=temp.bb",
        b"a=b; slot-shop=temp.bb; c=d",
        b'slot-shop="temp.bb"',
        b"slot-shop = temp.bb",
        b"a=b;slot-shop=temp.bb",
    ],
)
def test_a_visitor_keeps_the_slot(cookies: bytes) -> None:
    by_weight = spread({"production": 99, "temp": 1})
    assert {by_weight.assign(cookies, session(1)) for _ in range(50)} == {"temp"}
    assert by_weight.set_cookie(cookies, "temp") == b""


@pytest.mark.parametrize(
    "cookies",
    [
        b"",
        b"slot-shop=temp",
        b"slot-shop=temp.aa",
        b"slot-shop=temp.bbb",
        b"slot-shop=third.cc",
        b"xslot-shop=temp.bb",
        b"slot-shopx=temp.bb",
        b"slot-other=temp.bb",
        b"slot-shop=",
        b"\xff=\xfe; slot-shop=\x80",
    ],
)
def test_a_cookie_that_is_not_ours_counts_for_nothing(cookies: bytes) -> None:
    assert spread({"production": 99, "temp": 1}).slot_in(cookies) is None


def test_a_slot_without_a_weight_is_left_at_once() -> None:
    by_weight = spread({"production": 1, "temp": 0})
    assert by_weight.assign(b"slot-shop=temp.bb", None) == "production"
    assert by_weight.set_cookie(b"slot-shop=temp.bb", "production") != b""


def test_a_slot_without_a_usable_backend_is_left_at_once() -> None:
    usable = {"production": 1, "temp": 0}
    by_weight = spread({"production": 1, "temp": 1}, usable=usable)
    assert {by_weight.assign(b"slot-shop=temp.bb", session(number)) for number in range(20)} == {"production"}
    usable["temp"] = 1
    assert by_weight.assign(b"slot-shop=temp.bb", None) == "temp"
    usable["production"] = usable["temp"] = 0
    assert {by_weight.assign(b"", None) for _ in range(4)} == {"production", "temp"}, "with none usable all are tried"


def test_a_session_has_one_slot_in_every_worker() -> None:
    workers = [spread({"production": 70, "temp": 30}) for _ in range(3)]
    workers[1].assign(b"", None)
    slots = []
    for number in range(1000):
        found = {worker.assign(b"", session(number)) for worker in workers}
        assert len(found) == 1
        slots += found
    assert 250 <= Counter(slots)["temp"] <= 350


def test_other_weights_move_few_sessions() -> None:
    before, after = spread({"production": 90, "temp": 10}), spread({"production": 80, "temp": 20})
    moved = [
        (before.assign(b"", session(number)), after.assign(b"", session(number)))
        for number in range(1000)
        if before.assign(b"", session(number)) != after.assign(b"", session(number))
    ]
    assert set(moved) == {("production", "temp")}
    assert len(moved) < 150


def test_the_cookie() -> None:
    assert spread({"production": 1, "temp": 1}).set_cookie(b"", "temp") == (
        b"Set-Cookie: slot-shop=temp.bb; Path=/; HttpOnly; SameSite=Lax\r\n"
    )
    by_path = spread({"production": 1, "temp": 1}, path="/shop")
    assert b"; Path=/shop;" in by_path.set_cookie(b"slot-shop=production.aa", "temp")
    assert by_path.set_cookie(b"", "gone") == b"", "the slot has lost its weight meanwhile"


def test_round_robin_counts_each_backend() -> None:
    by_turns = spread({"production": 1, "temp": 1}, sticky=False, usable={"production": 3, "temp": 1})
    answers = [by_turns.assign(b"slot-shop=temp.bb", session(1)) for _ in range(40)]
    assert Counter(answers) == {"production": 30, "temp": 10}
    assert by_turns.set_cookie(b"", "temp") == b""


@given(
    st.dictionaries(st.sampled_from(list(COOKIES)), st.integers(0, 50), min_size=1).filter(
        lambda all: any(all.values())
    ),
    st.booleans(),
    st.lists(st.tuples(st.binary(max_size=30), st.integers(0, 9) | st.none(), st.integers(0, 7)), max_size=40),
)
def test_a_request_always_gets_a_slot_with_a_weight(
    weights: dict[str, int], sticky: bool, requests: list[tuple[bytes, int | None, int]]
) -> None:
    usable = dict.fromkeys(COOKIES, 1)
    by_weight = spread(weights, sticky=sticky, usable=usable)
    for cookies, number, state in requests:
        usable.update(zip(COOKIES, (state & 1, state >> 1 & 1, state >> 2), strict=True))
        slot = by_weight.assign(cookies, None if number is None else session(number))
        assert weights[slot] > 0
        assert usable[slot] or not any(usable[other] for other in by_weight.weights)
