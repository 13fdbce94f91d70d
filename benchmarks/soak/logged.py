"""The proxy's access log held against what the clients met: each request has its line, and each line its request."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.soak.client import End
from benchmarks.soak.visits import Sent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.soak.visits import Exchange

FLUSH: Final = 1_000_000_000
"""Nanoseconds after which a line is written, at the latest: a killed worker's last ones never are."""
LEFT: Final = 7_000_000_000
"""Nanoseconds for which a request may go on when its client has left: one that has ended its side may still wait for
the answer (RFC 9112 section 9.6), for as long as a backend may take here."""
_NUMBER: Final = re.compile(r"/soak/(\d+)/")
_BEGIN: Final = '{"time":'
_SEQUENCE: Final = 6
"""Hexadecimal digits at an id's end that count a worker's requests; what is before them is the worker's own."""
_UNREAD: Final = frozenset(("malformed", "half a head", "late head"))
"""Visits whose request need not have a target that could be logged."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `number`: the load's, of the target; `backend`: its port. None: there is none."""

    id: str
    number: int | None
    status: int
    slot: str = "-"
    backend: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines by request number, and by id."""

    all: tuple[Line, ...] = ()
    numbered: Mapping[int, Sequence[Line]] = field(default_factory=dict)
    identified: Mapping[str, Sequence[Line]] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Lines:
        numbered: defaultdict[int, list[Line]] = defaultdict(list)
        identified: defaultdict[str, list[Line]] = defaultdict(list)
        for line in lines:
            identified[line.id].append(line)
            if line.number is not None:
                numbered[line.number].append(line)
        return cls(tuple(lines), numbered, identified)

    def of_exchange(self, one: Exchange) -> Sequence[Line]:
        """By the id that the client was told, or else by the number."""
        return self.identified.get(one.answer.id, ()) or self.numbered.get(one.asked.number, ())


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed, the client ports of the connections that it had then, and what its ids begin with.

    `stopped`: when it had been held still, before it was looked at and killed; 0 when it was not.
    """

    at: int
    ports: frozenset[int]
    life: str
    stopped: int = 0

    def met(self, one: Exchange) -> bool:
        """Whether the exchange's connection was this worker's, and not over yet.

        A client may begin one more exchange on it before it sees that it has ended.
        """
        return one.port in self.ports and one.opened <= self.at <= one.ended

    def unlogged(self, one: Exchange) -> bool:
        """Whether the line of an exchange of its worker's may not have been written yet."""
        goes_on = LEFT if one.visit == "aborted" else 0
        return one.began <= self.at and (self.stopped or self.at) <= one.ended + goes_on + FLUSH


@dataclass(frozen=True, slots=True)
class Killed:
    """The kills, and by the lives that they ended."""

    kills: Sequence[Kill] = ()
    lives: Mapping[str, Kill] = field(default_factory=dict)

    @classmethod
    def of(cls, kills: Sequence[Kill]) -> Killed:
        return cls(kills, {kill.life: kill for kill in kills})

    def unlogged(self, one: Exchange, request_id: str) -> bool:
        """Whether the exchange may have no line because of a kill. `request_id`: empty when nobody was told it."""
        if not request_id:
            return any(kill.met(one) or kill.unlogged(one) for kill in self.kills)
        kill = self.lives.get(life_of(request_id))
        return kill is not None and kill.unlogged(one)


def life_of(request_id: str) -> str:
    """What the ids of one worker's requests have in common."""
    return request_id[:-_SEQUENCE]


def read_lines(text: str) -> Lines:
    """A line of which a killed worker wrote only a part is left out; in another's log that leaves a gap."""
    lines = []
    for text_line in text.splitlines():
        try:
            one = json.loads(text_line[max(0, text_line.rfind(_BEGIN)) :])
        except ValueError:
            continue
        found = _NUMBER.search(one["target"])
        _, colon, port = one["backend"].rpartition(":")
        number = int(found[1]) if found else None
        backend = int(port) if colon else None
        lines.append(Line(one["id"], number, one["status"], one["slot"], backend, one.get("cut", False)))
    return Lines.of(lines)


def log_rules(one: Exchange, lines: Lines, killed: Killed, *, arrived: bool, request_id: str = "") -> list[str]:
    """What the log says wrongly of one exchange. `arrived`: a backend has seen the request, with this id."""
    found = lines.numbered.get(one.asked.number, ())
    answered = lines.identified.get(one.answer.id, ()) if one.answer.id else ()
    count = len({line.id for line in (*found, *answered)})
    if len(found) > 1 or count > 1:
        return [f"it has {max(len(found), count)} lines in the access log"]
    if count:
        if may_have_none(one) and not arrived and one.sent is Sent.HEAD:
            return [f"{one.visit}: it has a line in the access log, and was no request"]
        return _line_rules(one, (*answered, *found)[0], request_id)
    if may_have_none(one) and not arrived:
        return []
    if killed.unlogged(one, one.answer.id or request_id):
        return []
    return ["it has no line in the access log"]


def may_have_none(one: Exchange) -> bool:
    """Whether the proxy may never have read a whole head, and answered nothing."""
    if one.answer.id:
        return False
    return one.alone or one.visit in ("silent client", "half a head") or one.sent is not Sent.HEAD


def _line_rules(one: Exchange, line: Line, request_id: str) -> list[str]:
    rules = []
    answer = one.answer
    if one.sent is Sent.PART:
        rules.append("a part of a head has a line in the access log")
    if {line.id, answer.id or line.id, request_id or line.id} != {line.id}:
        rules.append("the access log, its answer and the backend have it under different ids")
    if answer.status and line.status != answer.status:
        rules.append(f"the access log says {line.status}, the client got {answer.status}")
    if answer.end is End.WHOLE and line.cut:
        rules.append("the access log says cut, and the client got a whole answer")
    if line.number != one.asked.number and not (line.number is None and one.visit in _UNREAD):
        rules.append("the access log has another target")
    return rules


def stray_rules(exchanges: Sequence[Exchange], lines: Lines) -> list[tuple[str, str]]:
    """(rule, line) of each line that is no request's of the load."""
    numbers = {one.asked.number for one in exchanges}
    ids = {one.answer.id for one in exchanges if one.answer.id}
    return [
        ("the load knows nothing of a line in the access log", repr(line))
        for line in lines.all
        if line.id not in ids and line.number not in numbers
    ]


def life_rules(
    exchanges: Sequence[Exchange], lines: Lines, killed: Killed, living: Sequence[int], counted: int | None
) -> list[tuple[str, str]]:
    """(rule, what) of the sums: of each worker's life, and of all.

    A worker counts its requests from 1 on in their ids, so that a life whose log is whole has each of 1 to the last
    once. `living`: the requests of each worker that there is at the end, by its counter. `counted`: by the counters
    of all workers, of which a killed one's may lack what came after they were last asked for.
    """
    logged: defaultdict[str, list[int]] = defaultdict(list)
    for line in lines.all:
        logged[life_of(line.id)].append(int(line.id[-_SEQUENCE:], 16))
    last = {life: max(sequence) for life, sequence in logged.items()}
    for one in exchanges:
        if one.answer.id:
            life, sequence = life_of(one.answer.id), int(one.answer.id[-_SEQUENCE:], 16)
            last[life] = max(last.get(life, 0), sequence)
    found = [
        ("a worker's log is not whole", f"life {life}: {len(logged[life])} lines, the last request is {most}")
        for life, most in last.items()
        if life not in killed.lives and sorted(logged[life]) != list(range(1, most + 1))
    ]
    sums = Counter(len(sequence) for life, sequence in logged.items() if life not in killed.lives)
    found += [
        ("a worker has another count of requests than its log", f"{count} requests, lives have {sorted(sums)}")
        for count in living
        if count and not sums[count]
    ]
    least = sum(len(sequence) for life, sequence in logged.items() if life not in killed.lives)
    most = least + sum(last[life] for life in killed.lives if life in last)
    if counted is None:
        found.append(("sums", "the metrics do not tell how many requests were counted"))
    elif not least <= counted <= most:
        found.append(("sums", f"{counted} requests were counted; by the log it is {least} to {most}"))
    return found
