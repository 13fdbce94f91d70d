"""From what load, backends and switches wrote down to the figures of one server. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.switching.message import KINDS
from benchmarks.switching.records import Answer, Event, Outcome, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MS = 1e6  # nanoseconds


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch from the operator's side: monotonic nanoseconds. `hold_ms`, where the server tells it."""

    old: str
    new: str
    called: int
    returned: int
    hold_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Quantiles of what was counted; all 0 when nothing was."""

    p50: float = 0.0
    p99: float = 0.0
    most: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = sorted(values)
        if not found:
            return cls()
        return cls(quantile(found, 0.5), quantile(found, 0.99), found[-1])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed (nearest rank)."""
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]


@dataclass(frozen=True, slots=True)
class Faults:
    """What must be 0. Counts of requests; `both_slots` counts sessions' requests.

    failed: no answer, or not 200. torn: an answer that was cut off or had wrong bytes, or an upload that the
    backend got otherwise than it was sent, although it was answered. doubled: a backend got it more than once. lost:
    answered, and no backend got it. late: it reached the old slot after the switch away from it had returned;
    `late_sent`: and it was sent after that too. both_slots: it began in one slot while its session was at work in the
    other.
    """

    failed: int = 0
    torn: int = 0
    doubled: int = 0
    lost: int = 0
    late: int = 0
    late_sent: int = 0
    both_slots: int = 0

    @property
    def total(self) -> int:
        return self.failed + self.torn + self.doubled + self.lost + self.late + self.both_slots


@dataclass(frozen=True, slots=True)
class Account:
    """The figures of one server. All times are milliseconds.

    `call`: from a switch's call to its return. `settled`: from the call until the last request reached the old slot.
    `hold`: how long the server says that it held requests. `usual` and `longest` are the requests' own times,
    without switches and with them; `added` is how much longer a request took than the median of its kind does
    without switches, `added_session` the same for requests of sessions alone. `reasons` counts the outcomes that are
    not right, and `repeatable` the failed ones that a browser would ask once more by itself: a GET whose kept
    connection was closed before the answer began (RFC 9110 section 9.2.2).
    """

    requests: int
    seconds: float
    switches: int
    faults: Faults
    reasons: Mapping[str, int]
    repeatable: int
    call: Spread
    settled: Spread
    hold: Spread
    usual: Spread
    longest: Spread
    added: Spread
    added_session: Spread

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


def account(answers: Sequence[Answer], events: Mapping[str, Sequence[Event]], switches: Sequence[Switch]) -> Account:
    """`events` by slot; `switches` in order, and at least one. Requests before the first switch are the comparison."""
    begin = switches[0].called
    during = [answer for answer in answers if answer.ended >= begin]
    before = [answer for answer in answers if answer.ended < begin]
    medians = _medians(before)
    waits = [(answer, _took(answer) - medians.get(answer.kind, 0.0)) for answer in during if _is_ok(answer)]
    last = max((answer.ended for answer in during), default=begin)
    return Account(
        requests=len(during),
        seconds=(last - begin) / 1e9,
        switches=len(switches),
        faults=faults(answers, events, switches),
        reasons=dict(Counter(answer.outcome.name.lower() for answer in answers if not _is_ok(answer))),
        repeatable=sum(answer.outcome is Outcome.CLOSED and KINDS[answer.kind].method == "GET" for answer in answers),
        call=Spread.of((switch.returned - switch.called) / MS for switch in switches),
        settled=Spread.of(settled(events, switches)),
        hold=Spread.of(switch.hold_ms for switch in switches if switch.hold_ms is not None),
        usual=Spread.of(_took(answer) for answer in before if _is_ok(answer)),
        longest=Spread.of(_took(answer) for answer in during if _is_ok(answer)),
        added=Spread.of(wait for _, wait in waits),
        added_session=Spread.of(wait for answer, wait in waits if answer.session >= 0),
    )


def faults(answers: Sequence[Answer], events: Mapping[str, Sequence[Event]], switches: Sequence[Switch]) -> Faults:
    """Counts what must be 0, over the whole time."""
    arrivals = Counter(event.number for of_slot in events.values() for event in of_slot if event.step is Step.ARRIVED)
    spoiled = {
        event.number
        for of_slot in events.values()
        for event in of_slot
        if event.step is Step.ANSWERED and not event.whole
    }
    failing = (Outcome.REFUSED, Outcome.CLOSED, Outcome.STATUS, Outcome.LATE)
    torn = [answer for answer in answers if answer.outcome in (Outcome.CUT, Outcome.WRONG) or answer.number in spoiled]
    late, late_sent = _late(answers, events, switches)
    return Faults(
        failed=sum(answer.outcome in failing for answer in answers),
        torn=len(torn),
        doubled=sum(1 for count in arrivals.values() if count > 1),
        lost=sum(1 for answer in answers if _is_ok(answer) and answer.number not in arrivals),
        late=late,
        late_sent=late_sent,
        both_slots=both_slots(events),
    )


def _late(
    answers: Iterable[Answer], events: Mapping[str, Sequence[Event]], switches: Sequence[Switch]
) -> tuple[int, int]:
    sent = {answer.number: answer.sent for answer in answers}
    arrived = _arrivals(events)
    late = late_sent = 0
    for switch, until in _until_next(switches):
        for at, number in _between(arrived[switch.old], switch.returned, until):
            late += 1
            late_sent += sent.get(number, at) > switch.returned
    return late, late_sent


def settled(events: Mapping[str, Sequence[Event]], switches: Sequence[Switch]) -> list[float]:
    """Milliseconds from each call until the last request reached the old slot; 0 when none did after the call."""
    arrived = _arrivals(events)
    found = []
    for switch, until in _until_next(switches):
        inside = _between(arrived[switch.old], switch.called, until)
        found.append((inside[-1][0] - switch.called) / MS if inside else 0.0)
    return found


def both_slots(events: Mapping[str, Sequence[Event]]) -> int:
    """How many requests of a session began in one slot while another of the same session was at work in the other."""
    by_session: defaultdict[int, list[tuple[int, Step, str]]] = defaultdict(list)
    for slot, of_slot in events.items():
        for event in of_slot:
            if event.session >= 0:
                by_session[event.session].append((event.at, event.step, slot))
    found = 0
    for steps in by_session.values():
        steps.sort(key=lambda step: (step[0], step[1] is Step.ARRIVED))
        at_work: Counter[str] = Counter()
        for _, step, slot in steps:
            if step is Step.ARRIVED:
                found += at_work.total() > at_work[slot]
                at_work[slot] += 1
            else:
                at_work[slot] -= 1
    return found


def _arrivals(events: Mapping[str, Sequence[Event]]) -> defaultdict[str, list[tuple[int, int]]]:
    """(when, which) of every request that a slot got, in order."""
    arrived: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for slot, of_slot in events.items():
        arrived[slot] = sorted((event.at, event.number) for event in of_slot if event.step is Step.ARRIVED)
    return arrived


def _until_next(switches: Sequence[Switch]) -> list[tuple[Switch, int]]:
    """Each switch, with the time when the next one was called."""
    found = [(switch, later.called) for switch, later in pairwise(switches)]
    return [*found, (switches[-1], 1 << 63)] if switches else found


def _between(arrived: Sequence[tuple[int, int]], after: int, until: int) -> Sequence[tuple[int, int]]:
    return arrived[bisect_right(arrived, (after, 1 << 64)) : bisect_left(arrived, (until, 0))]


def _medians(answers: Iterable[Answer]) -> dict[int, float]:
    by_kind: dict[int, list[float]] = {kind: [] for kind in range(len(KINDS))}
    for answer in answers:
        if _is_ok(answer):
            by_kind[answer.kind].append(_took(answer))
    return {kind: quantile(sorted(found), 0.5) for kind, found in by_kind.items() if found}


def _is_ok(answer: Answer) -> bool:
    return answer.outcome is Outcome.OK


def _took(answer: Answer) -> float:
    return (answer.ended - answer.sent) / MS
