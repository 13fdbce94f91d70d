"""The switch's proof must see what it looks for: each fault once, in a small account."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.switching.account import Faults, Spread, Switch, account, faults, quantile, settled
from benchmarks.switching.counting import LOST, Hit, Verdict, judge
from benchmarks.switching.message import KINDS, payload, request, response, wanted
from benchmarks.switching.records import Answer, Event, Outcome, Step, read_answers, read_events

if TYPE_CHECKING:
    from pathlib import Path

OK = Answer(number=1, sent=100, ended=200, outcome=Outcome.OK, status=200, slot=65, kind=0, session=-1)
SWITCHES = [Switch("a", "b", called=1000, returned=1100), Switch("b", "a", called=2000, returned=2100)]


def served(number: int, at: int, session: int = -1, *, whole: bool = True, until: int | None = None) -> list[Event]:
    arrived = Event(number, at, Step.ARRIVED, whole=False, session=session)
    return [arrived, Event(number, until or at + 10, Step.ANSWERED, whole=whole, session=session)]


def test_what_is_right_has_no_fault() -> None:
    assert faults([OK], {"a": served(1, 150), "b": []}, SWITCHES) == Faults()


@pytest.mark.parametrize(
    ("answer", "events", "expected"),
    [
        (replace(OK, outcome=Outcome.STATUS, status=502), served(1, 150), Faults(failed=1)),
        (replace(OK, outcome=Outcome.CLOSED), [], Faults(failed=1)),
        (replace(OK, outcome=Outcome.CUT), served(1, 150), Faults(torn=1)),
        (replace(OK, outcome=Outcome.WRONG), served(1, 150), Faults(torn=1)),
        (OK, served(1, 150, whole=False), Faults(torn=1)),
        (OK, served(1, 150) + served(1, 170), Faults(doubled=1)),
        (OK, [], Faults(lost=1)),
        (replace(OK, sent=1050), served(1, 1150), Faults(late=1)),
        (replace(OK, sent=1120), served(1, 1150), Faults(late=1, late_sent=1)),
        (replace(OK, sent=1990), served(1, 2050), Faults()),
    ],
)
def test_each_fault_is_counted(answer: Answer, events: list[Event], expected: Faults) -> None:
    assert faults([answer], {"a": events, "b": []}, SWITCHES) == expected


def test_a_session_may_not_be_at_work_in_both_slots() -> None:
    old = served(1, 900, session=7, until=1050)
    assert faults([], {"a": old, "b": served(2, 1040, session=7)}, SWITCHES).both_slots == 1
    assert faults([], {"a": old, "b": served(2, 1050, session=7)}, SWITCHES).both_slots == 0
    assert faults([], {"a": old, "b": served(2, 1040, session=8)}, SWITCHES).both_slots == 0


def test_a_switch_has_settled_with_the_last_request_at_the_old_slot() -> None:
    million = 1_000_000
    switches = [Switch("a", "b", 10 * million, 20 * million)]
    events = {"a": served(1, 9 * million) + served(2, 14 * million), "b": served(3, 30 * million)}
    assert settled(events, switches) == [4.0]
    answers = [
        replace(OK, number=1, sent=5 * million, ended=7 * million),
        replace(OK, number=2, sent=12 * million, ended=19 * million),
    ]
    found = account(answers, events, switches)
    assert (found.call.most, found.usual.most, found.longest.most, found.added.most) == (10, 2, 7, 5)


def test_quantiles_are_of_the_nearest_rank() -> None:
    assert [quantile([1, 2, 3, 4], share) for share in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1, 1, 2, 3, 4]
    assert Spread.of([]) == Spread()


def test_records_survive_the_file_but_for_one_that_is_not_whole(tmp_path: Path) -> None:
    events = served(1 << 63, 2, session=-1)
    (tmp_path / "events").write_bytes(b"".join(event.pack() for event in events) + b"half")
    assert read_events(tmp_path / "events") == events
    (tmp_path / "answers").write_bytes(OK.pack() + OK.pack()[:-1])
    assert read_answers(tmp_path / "answers") == [OK]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_request_asks_for_the_answer_that_is_right(kind: object) -> None:
    place = KINDS.index(kind)  # type: ignore[arg-type]
    head, pieces = request(0xABC, KINDS[place], 3)
    asked = wanted(head.split(b" ")[1].decode())
    assert asked is not None
    assert (asked.number, asked.answer, asked.session) == (0xABC, KINDS[place].answer, 3)
    assert len(pieces) == (KINDS[place].pieces if KINDS[place].upload else 0)
    if not asked.chunked:
        assert response(asked, "A", b"0").endswith(payload(0xABC, asked.answer))


def hit(value: int | None, sent: int, ended: int, problem: str = "") -> Hit:
    return Hit(session=1, client=1, sent=sent, ended=ended, value=value, problem=problem)


@pytest.mark.parametrize(
    ("hits", "expected"),
    [
        ([hit(1, 0, 9), hit(3, 1, 9), hit(2, 2, 9)], Verdict(hits=3)),
        ([hit(1, 0, 1), hit(2, 2, 3), hit(2, 4, 5)], Verdict(hits=3, repeated=1)),
        ([hit(1, 0, 1), hit(3, 2, 3)], Verdict(hits=2, missing=1)),
        ([hit(2, 0, 1), hit(1, 2, 3)], Verdict(hits=2, disordered=1)),
        ([hit(1, 0, 1), hit(None, 2, 3, LOST), hit(None, 2, 3, "502")], Verdict(hits=3, failed=1, lost=1)),
    ],
)
def test_a_counter_is_judged_as_that_of_one_server(hits: list[Hit], expected: Verdict) -> None:
    assert judge(hits) == expected
