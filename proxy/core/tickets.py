"""What a gate and its caller hand each other: tickets for slots, and what the caller is to do."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from proxy.core.stats import SlotStats

if TYPE_CHECKING:
    from proxy.core.busy import Busy
    from proxy.http1.head import RequestHead

_NEVER: Final = math.inf


class Owner(Protocol):
    """What holds a ticket: an exchange. `wake` has it claim again; `refuse` has it answered 503."""

    @property
    def head(self) -> RequestHead: ...

    def wake(self) -> None: ...

    def refuse(self) -> None: ...


class Slot:
    """One slot's outstanding tickets and counters in this worker.

    `recent`: what has ended within LINGER, and when. `label` is the name as the log writes it.
    """

    __slots__ = ("label", "name", "outstanding", "recent", "stats", "tunnels")

    def __init__(self, name: str) -> None:
        self.name = name
        self.label = name.encode()
        self.outstanding: set[Ticket] = set()
        self.recent: deque[tuple[float, RequestHead]] = deque()
        self.tunnels = 0
        self.stats = SlotStats()

    def __repr__(self) -> str:
        return f"<Slot {self.name} outstanding={len(self.outstanding)} tunnels={self.tunnels}>"


class Ticket:
    """One request's right to one slot, from its claim to its release.

    `streaming_since`: when the response's head was sent. `tunnel`: it has become a byte stream. `busy`: where holds
    have counted it, and for which session: for the barrier that is in force, and for a switch that is undecided.
    """

    __slots__ = ("busy", "owner", "released", "slot", "streaming_since", "tunnel")

    def __init__(self, slot: Slot, owner: Owner) -> None:
        self.slot = slot
        self.owner = owner
        self.streaming_since = _NEVER
        self.tunnel = False
        self.busy: tuple[tuple[Busy, str], ...] | None = None
        self.released = False

    def __repr__(self) -> str:
        return f"<Ticket {self.slot.name}{' tunnel' if self.tunnel else ''}{' released' if self.released else ''}>"


@dataclass(slots=True)
class Effects:
    """What the caller is to do now.

    `sessions_ended` (epoch, session) and `drained` go to the supervisor; `look_again` is a time.
    """

    wake: list[Owner] = field(default_factory=list)
    refuse: list[Owner] = field(default_factory=list)
    sessions_ended: list[tuple[int, str]] = field(default_factory=list)
    drained: str | None = None
    look_again: float | None = None


@dataclass(frozen=True, slots=True)
class HoldResult:
    """What a worker answers to a hold: `busy` are the sessions that may have to be waited for."""

    busy: tuple[str, ...]
    in_flight: int
    tunnels: int
    look_again: float | None


@dataclass(frozen=True, slots=True)
class SwitchResult:
    """`held` requests waited, `hold_ms` long; `effects` wakes them."""

    held: int
    hold_ms: float
    effects: Effects
