"""Which visits there are, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from benchmarks.soak import bad_clients, visits
from benchmarks.soak.asked import KIB
from benchmarks.soak.client import connect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.soak.client import Wire
    from benchmarks.soak.visits import Visitor


@dataclass(frozen=True, slots=True)
class Kind:
    """`receive_buffer`: bytes, where the kernel's own size would take the whole answer."""

    visit: Callable[[Visitor, Wire], Awaitable[None]]
    weight: float
    receive_buffer: int = 0


KINDS: Final[Sequence[Kind]] = (
    Kind(visits.keep_alive, 50),
    Kind(visits.one_point_zero, 12),
    Kind(visits.pipeline, 8),
    Kind(visits.files, 20),
    Kind(visits.events, 2),
    Kind(visits.tunnel, 3),
    Kind(visits.slow_reader, 1, 32 * KIB),
    Kind(visits.slow_head, 1),
    Kind(visits.half_closed, 3),
    Kind(bad_clients.stalled, 0.2, 256 * KIB),
    Kind(bad_clients.aborted, 10),
    Kind(bad_clients.partial, 1),
    Kind(bad_clients.malformed, 6),
    Kind(bad_clients.idle, 0.5),
)


async def visit(visitor: Visitor) -> None:
    """One client's visit. Raises OSError when it can't connect."""
    kind = visitor.chance.choices(KINDS, [one.weight for one in KINDS])[0]
    wire = await connect(visitor.port, kind.receive_buffer)
    visitor.opened = monotonic_ns()
    try:
        await kind.visit(visitor, wire)
    finally:
        wire.close(reset=visitor.chance.random() < 0.2)
