"""What the load asks for: each target says how the backend shall behave, and with that what the answer must be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB: Final = 1024
BLOCK: Final = 4096
_FILL: Final = bytes(range(33, 127)) * 44
SAFE_METHODS: Final = frozenset(("GET", "HEAD", "PUT"))
"""The load's methods that may be sent a second time (RFC 9110 section 9.2.2)."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the backend answers. `statuses`: of a whole answer; `cut`: the answer must be cut off instead.

    `faulty`: a fault of the backend, after which a request that may be sent twice may have been.
    """

    name: str
    weight: int
    statuses: frozenset[int] = frozenset((200,))
    cut: bool = False
    faulty: bool = False
    bodiless: bool = False


def _fault(name: str, status: int) -> Behaviour:
    return Behaviour(name, 2, frozenset((status,)), faulty=True)


def _cut(name: str) -> Behaviour:
    return Behaviour(name, 2, cut=True, faulty=True)


SIZED: Final = Behaviour("sized", 40)
CHUNKED: Final = Behaviour("chunked", 16)
UNTIL_CLOSE: Final = Behaviour("until-close", 8)
SLOW: Final = Behaviour("slow", 4)
EVENTS: Final = Behaviour("events", 0)
ECHO: Final = Behaviour("echo", 0, frozenset((101,)))
EARLY: Final = Behaviour("early", 4)
GOOD: Final = (
    SIZED,
    CHUNKED,
    UNTIL_CLOSE,
    SLOW,
    EARLY,
    Behaviour("empty", 4, frozenset((204,)), bodiless=True),
    Behaviour("interim", 4),
    Behaviour("surplus", 3),
    Behaviour("stale", 3),
)
FAULTS: Final = (
    _fault("reset", 502),
    _fault("close", 502),
    _fault("reset-in-head", 502),
    _fault("garbage", 502),
    _fault("two-lengths", 502),
    _fault("flood", 502),
    Behaviour("silent", 1, frozenset((504,)), faulty=True),
    _cut("cut-sized"),
    _cut("cut-chunked"),
    _cut("reset-until-close"),
    _cut("garbage-chunk"),
    Behaviour("stall", 1, cut=True, faulty=True),
)
BEHAVIOURS: Final = {one.name: one for one in (*GOOD, *FAULTS, EVENTS, ECHO)}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its number, the behaviour, and the bytes of the answer's body and of the request's."""

    number: int
    behaviour: str
    size: int
    upload: int = 0

    @property
    def target(self) -> str:
        return f"/soak/{self.number}/{self.behaviour}/{self.size}/{self.upload}"

    @property
    def late(self) -> bool:
        """Whether the backend reads the whole request before it answers, where it could do either."""
        return self.number % 2 == 0


def asked(target: str) -> Asked | None:
    """What a target asks for; None for one that isn't the load's."""
    parts = target.split("/")
    if len(parts) != 6 or parts[1] != "soak":
        return None
    return Asked(int(parts[2]), parts[3], int(parts[4]), int(parts[5]))


def content(number: int, size: int) -> bytes:
    """A body that tells in every block whose it is and where in it the block belongs."""
    return b"".join(blocks(number, size))


def blocks(number: int, size: int) -> Iterator[bytes]:
    for start in range(0, size, BLOCK):
        yield (b"%010d:%06d " % (number, start // BLOCK) + _FILL)[: min(BLOCK, size - start)]
