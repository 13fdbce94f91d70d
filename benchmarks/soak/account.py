"""The account: each exchange held against what it may come to, and what is not stated is a violation."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.soak.asked import BEHAVIOURS, SAFE_METHODS
from benchmarks.soak.client import Answer, End
from benchmarks.soak.logged import Line, log_rules, stray_rules
from proxy.net.downstream import MAX_LINGER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.soak.logged import Killed, Lines
    from benchmarks.soak.visits import Exchange

LISTED: Final = 40
RECEIVE_WINDOW: Final = 64 * 1024
"""Bytes that a client's kernel takes at least before the client reads (Linux, loopback)."""
_NOT_SENT: Final = frozenset(("malformed", "half a head", "silent client"))
_OWN: Final = frozenset((*_NOT_SENT, "static file"))
"""Visits that the proxy answers itself."""


@dataclass(slots=True)
class Seen:
    """What the backends noted of one request: the steps, and where and when it arrived.

    `id` is the proxy's for it; `missed` and `slammed` are the ports where it came on a kept connection that the backend
    had ended, or on a new one that it ended.
    """

    id: str = ""
    arrived: list[tuple[int, int]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    missed: set[int] = field(default_factory=set)
    slammed: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time in which a backend refused new connections ("refuse") or ended them ("slam")."""

    kind: str
    port: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Records:
    """The backends' log; `slots` are the ports of each slot's backends."""

    seen: Mapping[int, Seen]
    windows: Mapping[int, Sequence[Window]]
    slots: Mapping[str, Sequence[int]]

    def kinds(self, port: int, one: Exchange) -> set[str]:
        """Of the backend's windows that overlap the exchange."""
        return {window.kind for window in self.windows.get(port, ()) if _overlaps(window, one)}


def _overlaps(window: Window, one: Exchange) -> bool:
    return window.start <= one.ended and one.began <= window.end


def read_records(text: str, slots: Mapping[str, Sequence[int]]) -> Records:
    seen: defaultdict[int, Seen] = defaultdict(Seen)
    windows: defaultdict[int, list[Window]] = defaultdict(list)
    for line in text.splitlines():
        kind, *rest = line.split()
        if kind == "W":
            window = Window(rest[0], int(rest[1]), int(rest[2]), int(rest[3]))
            windows[window.port].append(window)
            continue
        number, port, step, at = int(rest[0]), int(rest[1]), rest[2], int(rest[3])
        one = seen[number]
        one.steps[step] += 1
        one.id = rest[4] if len(rest) > 4 else one.id
        if step == "arrived":
            one.arrived.append((at, port))
        elif step == "missed":
            one.missed.add(port)
        elif step == "slammed":
            one.slammed.add(port)
    return Records(seen, windows, slots)


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


def account(exchanges: Sequence[Exchange], records: Records, killed: Killed, lines: Lines) -> Account:
    """`lines`: the access log's."""
    result = Account()
    for one in exchanges:
        seen = records.seen.get(one.asked.number, Seen())
        result.table[one.visit, one.asked.behaviour, _shown(one)] += 1
        line = next(iter(lines.of_exchange(one)), None)
        rules = [
            *_answer_rules(one, seen, [line] if line else _lost(one, seen, records, killed), records, killed, result),
            *_backend_rules(one, seen, line, records),
            *log_rules(one, lines, killed, arrived=bool(seen.steps), request_id=seen.id),
        ]
        if len(seen.arrived) == 2:
            result.retried += 1
        result.violations += [Violation(rule, _described(one, seen, line)) for rule in rules]
    numbers = Counter(one.asked.number for one in exchanges)
    result.violations += [Violation("a number was noted twice", str(n)) for n, count in numbers.items() if count > 1]
    strangers = records.seen.keys() - numbers.keys()
    result.violations += [Violation("the load knows nothing of it", str(number)) for number in sorted(strangers)]
    result.violations += [Violation(rule, text) for rule, text in stray_rules(exchanges, lines)]
    return result


def _shown(one: Exchange) -> str:
    answer = one.answer
    if answer.end is End.WHOLE:
        return str(answer.status)
    return f"{answer.status} {answer.end.value}" if answer.status else answer.end.value


def _answer_rules(
    one: Exchange, seen: Seen, lines: Sequence[Line], records: Records, killed: Killed, result: Account
) -> list[str]:
    """`lines`: its line in the access log, or each that a killed worker may have owed."""
    answer, excused = one.answer, result.excused
    if not one.right:
        return ["the content is wrong"]
    if one.visit == "aborted" or (stated(one, answer) and (seen.arrived or _own_answer(one))):
        return []
    if one.alone and answer.end is End.NONE:
        excused["pipelined behind an announced end"] += 1
        return []
    if answer.end in (End.CUT, End.NONE) and any(kill.met(one) for kill in killed.kills):
        excused["its worker was killed"] += 1
        return []
    reason = next((reason for line in lines if (reason := _excuse(one, seen, line, records))), "")
    if reason:
        excused[reason] += 1
        return []
    return [f"{one.visit}, {one.asked.behaviour}: {_shown(one)} is not a stated answer"]


def _lost(one: Exchange, seen: Seen, records: Records, killed: Killed) -> list[Line]:
    """What the line of an exchange may have said that a killed worker did not write any more."""
    request_id, number, status = one.answer.id, one.asked.number, one.answer.status
    if not killed.unlogged(one, request_id or seen.id):
        return []
    return [
        Line(request_id, number, status, slot, backend)
        for slot, ports in records.slots.items()
        for backend in (None, *ports)
    ]


def _own_answer(one: Exchange) -> bool:
    """Whether the proxy may have given the answer without a backend."""
    return one.visit in _OWN or one.answer.status == 408


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
        return early or (answer.end is End.CUT and answer.status == 200)
    return whole and answer.status in behaviour.statuses


def _excuse(one: Exchange, seen: Seen, line: Line, records: Records) -> str:
    """Why this request may have come to this; empty: it may not. Each reason is what happened to just this request."""
    answer = one.answer
    if answer.end is End.CUT:
        # The proxy reads on for at most 1 MiB after an answer; then a client that still sends is reset, and what was
        # still on its way to the client is lost with that (RFC 9112 section 9.6).
        behaviour = BEHAVIOURS.get(one.asked.behaviour)
        early = behaviour is not None and behaviour.name == "early" and one.asked.size > RECEIVE_WINDOW
        sent_on = early and one.asked.upload > MAX_LINGER_BYTES and not line.cut
        return "it sent more than 1 MiB after an early answer that it had not read" if sent_on else ""
    if answer.end is not End.WHOLE or answer.status not in (502, 503) or (seen.arrived and not _retried(one, seen)):
        return ""
    if line.backend is None:
        return _unreachable(one, records, line.slot)
    if answer.status == 502 and line.backend in seen.slammed:
        return "a backend ended the new connection that it was sent on"
    again = one.method in SAFE_METHODS and not one.asked.upload
    if answer.status == 502 and line.backend in seen.missed and not again:
        return "a backend ended the kept connection that it was sent on, and it can't be sent again"
    return ""


def _retried(one: Exchange, seen: Seen) -> bool:
    """Whether its one arrival met a fault after which it may be sent once more: what counts is how that went."""
    behaviour = BEHAVIOURS.get(one.asked.behaviour)
    again = one.method in SAFE_METHODS and not one.asked.upload
    return again and behaviour is not None and behaviour.faulty and not behaviour.cut and len(seen.arrived) == 1


def _unreachable(one: Exchange, records: Records, slot: str) -> str:
    """Whether each backend of the slot refused or ended new connections meanwhile, one of them in the answer's way."""
    kinds = [records.kinds(port, one) for port in records.slots.get(slot, ())]
    wanted = "refuse" if one.answer.status == 503 else "slam"
    reached = not kinds or not all(kinds) or not any(wanted in some for some in kinds)
    return "" if reached else "all backends of its slot refused, or ended new connections"


def _backend_rules(one: Exchange, seen: Seen, line: Line | None, records: Records) -> list[str]:
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
    if one.alone and seen.steps:
        rules.append("a request behind an announced end was forwarded")
    ports = {port for _, port in seen.arrived}
    if line is not None and not ports <= set(records.slots.get(line.slot, ())):
        rules.append("a backend of another slot got it than the access log says")
    if line is not None and one.answer.end is End.WHOLE and one.answer.status < 400 and ports - {line.backend}:
        rules.append("another backend got it than the access log says")
    return rules


def _described(one: Exchange, seen: Seen, line: Line | None) -> str:
    took = (one.ended - one.began) / 1e9
    return (
        f"{one.visit} {one.method} {one.asked.target}: {_shown(one)}, {one.answer.size} bytes, {took:.3f} s, "
        f"client port {one.port}, began {one.began}; backends: {dict(seen.steps)} {seen.arrived}; "
        f"{line}"
    )
