"""What load and backends write down, in files of fixed records. Times are CLOCK_MONOTONIC in nanoseconds."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER: Final = struct.Struct("<QQQBHBBh")
_EVENT: Final = struct.Struct("<QQBBh")
NO_SLOT: Final = 0


class Outcome(IntEnum):
    """What became of a request, as its client saw it."""

    OK = 0
    REFUSED = 1  # no connection
    CLOSED = 2  # the connection ended before the answer began
    CUT = 3  # the connection ended within the answer
    STATUS = 4  # an answer that is not 200
    WRONG = 5  # 200 with other bytes than the right ones
    LATE = 6  # no answer within the client's bound


@dataclass(frozen=True, slots=True)
class Answer:
    """One request in the client's eyes. `slot` is the slot's letter as a number, NO_SLOT when no answer named one.

    `session` below 0: none. `ended` is when the answer was whole, or when the client knew that it would not be.
    """

    number: int
    sent: int
    ended: int
    outcome: Outcome
    status: int
    slot: int
    kind: int
    session: int

    def pack(self) -> bytes:
        return _ANSWER.pack(
            *(self.number, self.sent, self.ended, self.outcome, self.status, self.slot, self.kind, self.session)
        )


class Step(IntEnum):
    """What happened to a request in a backend."""

    ARRIVED = 1  # its head was read
    ANSWERED = 2  # the whole answer was written
    CUT = 3  # the connection ended before


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one request in one backend. `whole`: the upload came as the client's checksum says."""

    number: int
    at: int
    step: Step
    whole: bool
    session: int

    def pack(self) -> bytes:
        return _EVENT.pack(self.number, self.at, self.step, self.whole, self.session)


def read_answers(path: Path) -> list[Answer]:
    """A record that is not whole, at the end of what a killed process left, is dropped."""
    return [
        Answer(number, sent, ended, Outcome(outcome), status, slot, kind, session)
        for number, sent, ended, outcome, status, slot, kind, session in _ANSWER.iter_unpack(_whole(path, _ANSWER.size))
    ]


def read_events(path: Path) -> list[Event]:
    """As `read_answers`."""
    return [
        Event(number, at, Step(step), bool(whole), session)
        for number, at, step, whole, session in _EVENT.iter_unpack(_whole(path, _EVENT.size))
    ]


def _whole(path: Path, size: int) -> bytes:
    data = path.read_bytes()
    return data[: len(data) - len(data) % size]
