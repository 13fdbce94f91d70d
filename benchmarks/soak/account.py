"""The account: each exchange held against what it may come to, and what is not stated is a violation."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.soak.asked import BEHAVIOURS, SAFE_METHODS
from benchmarks.soak.client import Answer, End
from proxy.net.downstream import MAX_LINGER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.soak.visits import Exchange

SLACK: Final = 100_000_000
"""Nanoseconds by which the clocks' readings in two processes may differ from the order of the things they time."""
LISTED: Final = 40
_NOT_SENT: Final = frozenset(("malformed", "half a head", "silent client"))


@dataclass(slots=True)
class Seen:
    """What the backends noted of one request: the steps, and where and when it arrived."""

    arrived: list[tuple[int, int]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of time, sorted by their start, any of which may be asked for."""

    spans: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> Spans:
        return cls(tuple(sorted(spans)))

    def meets(self, began: int, ended: int) -> bool:
        """Whether any of them overlaps this one, give or take the slack."""
        last = bisect_right(self.spans, (ended + SLACK, 1 << 62))
        return any(end + SLACK >= began for _, end in self.spans[max(0, last - 2000) : last])


@dataclass(frozen=True, slots=True)
class Records:
    """The backends' log.

    `stale`: closed connections; `slams`: when new connections were ended; `refusals`: of a whole slot at once.
    """

    seen: Mapping[int, Seen]
    stale: Spans
    slams: Spans
    refusals: Spans


def read_records(text: str, slots: Sequence[Sequence[int]]) -> Records:
    seen: defaultdict[int, Seen] = defaultdict(Seen)
    stale: list[tuple[int, int]] = []
    slams: list[tuple[int, int]] = []
    refused: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for line in text.splitlines():
        kind, *rest = line.split()
        if kind == "E":
            one = seen[int(rest[0])]
            one.steps[rest[2]] += 1
            if rest[2] == "arrived":
                one.arrived.append((int(rest[3]), int(rest[1])))
        elif kind == "S":
            stale.append((int(rest[1]), int(rest[1])))
        elif rest[0] == "slam":
            slams.append((int(rest[2]), int(rest[3])))
        else:
            start = int(rest[2])
            refused[int(rest[1])].append((start, int(rest[3])))
            slams.append((start, start))  # a listener that is closed resets the connections in its queue
    both = [
        (max(a[0], b[0]), min(a[1], b[1]))
        for first, second in slots
        for a in refused[first]
        for b in refused[second]
        if a[0] < b[1] and b[0] < a[1]
    ]
    return Records(seen, Spans.of(stale), Spans.of(slams), Spans.of(both))


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed, and the client ports of the connections that it had then."""

    at: int
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Violation:
    rule: str
    exchange: str


@dataclass(slots=True)
class Account:
    """`table`: (visit, behaviour, how it ended) -> how many."""

    table: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)
    retried: int = 0


def account(
    exchanges: Sequence[Exchange], records: Records, kills: Sequence[Kill], logged: Mapping[int, int] | None = None
) -> Account:
    """`logged`: how many lines the access log has of each request; None: it is not looked at."""
    result = Account()
    for one in exchanges:
        seen = records.seen.get(one.asked.number, Seen())
        killed = any(one.port in kill.ports and one.began <= kill.at <= one.ended + SLACK for kill in kills)
        result.table[one.visit, one.asked.behaviour, _shown(one)] += 1
        rules = [*_answer_rules(one, records, killed, result.excused), *_backend_rules(one, seen)]
        if logged is not None:
            rules += _log_rules(one, logged.get(one.asked.number, 0), kills)
        if len(seen.arrived) == 2:
            result.retried += 1
        result.violations += [Violation(rule, _described(one, seen)) for rule in rules]
    numbers = Counter(one.asked.number for one in exchanges)
    result.violations += [Violation("a number was noted twice", str(n)) for n, count in numbers.items() if count > 1]
    strangers = records.seen.keys() - numbers.keys()
    result.violations += [Violation("the load knows nothing of it", str(number)) for number in sorted(strangers)]
    return result


def _shown(one: Exchange) -> str:
    answer = one.answer
    if answer.end is End.WHOLE:
        return str(answer.status)
    return f"{answer.status} {answer.end.value}" if answer.status else answer.end.value


def _answer_rules(one: Exchange, records: Records, killed: bool, excused: Counter[str]) -> list[str]:
    answer = one.answer
    if not one.right:
        return ["the content is wrong"]
    if one.visit == "aborted" or stated(one, answer):
        return []
    if one.alone and answer.end is End.NONE:
        excused["pipelined behind an announced end"] += 1
        return []
    if killed and answer.end in (End.CUT, End.NONE):
        excused["its worker was killed"] += 1
        return []
    reason = _excuse(one, answer, records)
    if reason:
        excused[reason] += 1
        return []
    return [f"{one.visit}, {one.asked.behaviour}: {_shown(one)} is not a stated answer"]


def stated(one: Exchange, answer: Answer) -> bool:
    """Whether the answer is the one that this visit and this behaviour of the backend must lead to."""
    whole = answer.end is End.WHOLE
    match one.visit:
        case "malformed":
            return whole and (400 <= answer.status < 500 or answer.status == 501)
        case "half a head" | "half a body":
            return whole and answer.status == 408
        case "silent client":
            return answer.end is End.NONE
        case "static file":
            return whole and answer.status == 200
        case "late head" if answer.status == 408:
            return whole
        case "stalled reader" if answer.end is End.CUT:
            return True
    behaviour = BEHAVIOURS[one.asked.behaviour]
    if behaviour.cut:
        # A chunk that is not valid may come with the head: then nothing was sent yet.
        early = behaviour.name == "garbage-chunk" and whole and answer.status == 502
        return early or answer.end is End.CUT
    return whole and answer.status in behaviour.statuses


def _excuse(one: Exchange, answer: Answer, records: Records) -> str:
    if answer.end in (End.CUT, End.NONE):
        # The proxy reads on for at most 1 MiB after an answer; then a client that still sends is reset, and with the
        # reset may lose what it had not read yet (RFC 9112 section 9.6).
        behaviour = BEHAVIOURS.get(one.asked.behaviour)
        answered_early = behaviour is not None and (behaviour.faulty or behaviour.name == "early")
        return (
            "it sent more than 1 MiB after an early answer"
            if answered_early and one.asked.upload > MAX_LINGER_BYTES
            else ""
        )
    if answer.end is not End.WHOLE:
        return ""
    if answer.status == 502 and records.slams.meets(one.began, one.ended):
        return "a backend ended new connections"
    again = one.method in SAFE_METHODS and not one.asked.upload
    if answer.status == 502 and not again and records.stale.meets(one.began, one.ended):
        return "a kept connection was closed under a request that can't be sent again"
    if answer.status == 503 and records.refusals.meets(one.began, one.ended):
        return "all backends of a slot refused"
    return ""


def _backend_rules(one: Exchange, seen: Seen) -> list[str]:
    rules = []
    arrivals = len(seen.arrived)
    faulty = one.asked.behaviour in BEHAVIOURS and BEHAVIOURS[one.asked.behaviour].faulty
    if arrivals > (2 if faulty and one.method in SAFE_METHODS else 1):
        rules.append(f"{one.method} {one.asked.behaviour} was sent {arrivals} times")
    if one.visit in _NOT_SENT and arrivals:
        rules.append(f"a request that must not be forwarded was: {one.visit}")
    if seen.steps["torn"]:
        rules.append("the backend got another body than was sent")
    if not arrivals and one.answer.end is End.WHOLE and one.answer.status < 400 and one.visit != "static file":
        rules.append("it was answered, and no backend knows of it")
    if one.visit == "half a body" and seen.steps["whole"]:
        rules.append("half a body became a whole one")
    return rules


def _log_rules(one: Exchange, lines: int, kills: Sequence[Kill]) -> list[str]:
    if lines > 1:
        return [f"it has {lines} lines in the access log"]
    if lines or one.visit in ("malformed", "half a head", "late head", "silent client", "aborted") or one.alone:
        return []
    if one.answer.end in (End.NONE, End.LATE):
        return []
    second = 1_000_000_000
    lost = any(one.began <= kill.at and kill.at - second <= one.ended for kill in kills)
    return [] if lost or any(one.port in kill.ports for kill in kills) else ["it has no line in the access log"]


def _described(one: Exchange, seen: Seen) -> str:
    took = (one.ended - one.began) / 1e9
    return (
        f"{one.visit} {one.method} {one.asked.target}: {_shown(one)}, {one.answer.size} bytes, {took:.3f} s, "
        f"client port {one.port}, began {one.began}; backends: {dict(seen.steps)} {seen.arrived}"
    )
