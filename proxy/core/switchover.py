"""The supervisor's side of a switch: events of workers and of the state file -> orders and other actions, by epoch.

    idle -> holding -> persisting -> switching -> draining -> cutting -> idle
             ^ |            | |                        |
             | +-- refused -+ |                        +-> idle, when all is drained
             +----------------+ when the disk was so slow that holds may have run out: held once more, then switched

Every method decides at once and returns what is to be done, in that order; the caller does it. `now` is a
monotonic time in seconds. After each call the caller looks at `deadline` and calls `expired` when it has come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from proxy.core import orders
from proxy.wire import InflightExchange, SwitchReport

if TYPE_CHECKING:
    from collections.abc import Iterable

SWITCH_SECONDS: Final = 2.0
CUT_SECONDS: Final = 5.0
MAX_CUT_LISTED: Final = 1000
_HELD_SHARE: Final = 0.75
"""Of a hold's time, since it was ordered: then there is still time for the switch to reach the workers."""


class Phase(Enum):
    IDLE = "idle"
    HOLDING = "holding"
    PERSISTING = "persisting"
    SWITCHING = "switching"
    DRAINING = "draining"
    CUTTING = "cutting"


_UNDECIDED: Final = (Phase.HOLDING, Phase.PERSISTING)
_BUSY: Final = (Phase.HOLDING, Phase.PERSISTING, Phase.SWITCHING)


@dataclass(frozen=True, slots=True)
class Send:
    worker: int
    order: orders.Order


@dataclass(frozen=True, slots=True)
class Persist:
    """Write it where whoever reads the state finds it, then call `persisted` or `persist_failed` with the attempt."""

    attempt: int
    active: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Replace:
    """Kill the worker, then call `lost`: it no longer does as ordered."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reported:
    """The attempt is over: the switch was made."""

    attempt: int
    report: SwitchReport


@dataclass(frozen=True, slots=True)
class Refused:
    """The attempt is over: nothing was changed."""

    attempt: int
    reason: str


Action: TypeAlias = Send | Persist | Replace | Reported | Refused


class SwitchBusyError(Exception):
    """Another switch of the app is not decided yet."""


@dataclass(slots=True)
class _Attempt:
    """What one switch wants and has seen. `pending`: workers whose answer the phase waits for.

    `hold` seconds are how long requests may wait, `held_until` a time until which they surely do; `durable`: it can no
    longer be abandoned. `drains`: the slots that get no request any more; `undrained`: which of them each worker has
    not emptied yet.
    """

    number: int
    old: str
    to: str
    drain: float | None
    workers: int
    pending: set[int]
    spreading: orders.Spreading | None = None
    hold: float = 0.0
    held_until: float = 0.0
    durable: bool = False
    drains: tuple[str, ...] = ()
    undrained: dict[int, set[str]] = field(default_factory=dict)
    in_flight: int = 0
    tunnels: int = 0
    barrier_sessions: int = 0
    held: int = 0
    hold_ms: float = 0.0
    drain_from: float = 0.0
    cut: list[InflightExchange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A Switchover between two switches, or draining after one, but for what its maker knows. Times as in `now`."""

    phase: Phase
    deadline: float | None
    attempts: int
    current: _Attempt | None
    members: list[int]
    busy: dict[int, set[str]]


class Switchover:
    """One app's active slot and weights, and the switch under way, if any. At most one is under way at a time.

    A change of weights is a switch: to a slot that has a weight, with the weights as `spreading`.
    """

    def __init__(self, app: str, active: str, epoch: int, spreading: orders.Spreading | None = None) -> None:
        self.app = app
        self.active = active
        self.epoch = epoch
        self.spreading = spreading
        self.phase = Phase.IDLE
        self.deadline: float | None = None
        self._attempts = 0
        self._current: _Attempt | None = None
        self._members: dict[int, None] = {}
        # Sessions that each worker has still busy on the slot that was active before this epoch; and, while a
        # switch is undecided, on the slot that is active now. The first must outlive an abandoned switch.
        self._busy: dict[int, set[str]] = {}
        self._next_busy: dict[int, set[str]] = {}

    @property
    def decided(self) -> bool:
        """Whether a worker may join now. While a switch is undecided, it has to wait for the outcome."""
        return self.phase not in _UNDECIDED

    @property
    def switching(self) -> bool:
        """Whether some worker may not know yet what is active."""
        return self.phase in _BUSY

    @property
    def draining(self) -> str | None:
        """The slot whose exchanges a switch waits for; the first, where weights have left several."""
        attempt = self._current
        if attempt is None or self.phase not in (Phase.DRAINING, Phase.CUTTING):
            return None
        left = set().union(*(attempt.undrained[worker] for worker in attempt.pending))
        return next((slot for slot in attempt.drains if slot in left), attempt.drains[0])

    def join(self, worker: int) -> orders.ActiveSlot:
        """The worker takes part from now on, beginning with the answer. Only while `decided`."""
        if not self.decided:
            raise RuntimeError(f"worker {worker} joined {self!r}")
        self._members[worker] = None
        return orders.ActiveSlot(
            active=self.active, epoch=self.epoch, busy=_counts(self._busy), spreading=self.spreading
        )

    def begin(
        self, now: float, *, to: str, hold: float, drain: float | None, spreading: orders.Spreading | None = None
    ) -> tuple[int, list[Action]]:
        """Starts an attempt; its number comes back in Reported or Refused. `hold`, `drain`: seconds.

        `drain` None: what runs on a slot that is left may go on, and is not waited for. A drain that is still under
        way ends here, reported as not drained. A switch to what is already so is reported at once and disturbs
        nothing. Raises SwitchBusyError while another switch is under way.
        """
        if self.phase in _BUSY:
            raise SwitchBusyError(f"app {self.app} is being switched to {self._current and self._current.to}")
        self._attempts += 1
        number = self._attempts
        members = set(self._members)
        attempt = _Attempt(number, self.active, to, drain, len(members), members, spreading, hold)
        if to == self.active and spreading == self.spreading:
            return number, [Reported(number, self._report(attempt, drained=True, drain_ms=0.0))]
        actions = self._finish(now) if self._current is not None else []
        self._current = attempt
        before, after = _in_use(self.active, self.spreading), _in_use(to, spreading)
        attempt.drains = tuple(slot for slot in before if slot not in after)
        return number, actions + self._hold(now, attempt)

    def hold_ack(self, now: float, worker: int, ack: orders.HoldAck) -> list[Action]:
        attempt = self._current
        if attempt is None or self.phase is not Phase.HOLDING or ack.attempt != attempt.number:
            return []
        if worker not in attempt.pending:
            return []
        attempt.pending.discard(worker)
        attempt.in_flight += ack.in_flight
        attempt.tunnels += ack.tunnels
        # Where each request may go anywhere, there is nothing to wait for.
        barrier = attempt.spreading is None or attempt.spreading.sticky
        self._next_busy[worker] = set(ack.busy) if barrier else set()
        return self._advance(now)

    def persisted(self, now: float, number: int) -> list[Action]:
        attempt = self._current
        if attempt is None or self.phase is not Phase.PERSISTING or number != attempt.number:
            return []
        attempt.durable = True
        if now >= attempt.held_until:
            # Some worker may already let requests go on to the old slot, and what they keep busy is not known.
            return self._hold(now, attempt)
        return self._switch(now, attempt)

    def _hold(self, now: float, attempt: _Attempt) -> list[Action]:
        self.phase = Phase.HOLDING
        # A worker has half of the hold to answer, so that what it held can still go on if another one does not.
        self.deadline = now + attempt.hold / 2
        attempt.held_until = now + attempt.hold * _HELD_SHARE
        attempt.pending = set(self._members)
        attempt.in_flight = attempt.tunnels = 0
        self._next_busy = {}
        order = orders.Hold(
            app=self.app,
            epoch=self.epoch + 1,
            attempt=attempt.number,
            hold=attempt.hold,
            staying=attempt.to if attempt.spreading is None else None,
            to=attempt.to,
            spreading=attempt.spreading,
        )
        return self._to_all(order) + self._advance(now)

    def _switch(self, now: float, attempt: _Attempt) -> list[Action]:
        self.epoch += 1
        self.active = attempt.to
        self.spreading = attempt.spreading
        self.phase = Phase.SWITCHING
        self.deadline = now + SWITCH_SECONDS
        attempt.pending = set(self._members)
        self._busy, self._next_busy = self._next_busy, {}
        busy = _counts(self._busy)
        order = orders.Switch(app=self.app, epoch=self.epoch, to=attempt.to, busy=busy, spreading=attempt.spreading)
        return self._to_all(order) + self._advance(now)

    def persist_failed(self, number: int, reason: str) -> list[Action]:
        attempt = self._current
        if attempt is None or self.phase is not Phase.PERSISTING or number != attempt.number:
            return []
        return self._abandon(attempt, reason)

    def switch_ack(self, now: float, worker: int, ack: orders.SwitchAck) -> list[Action]:
        attempt = self._current
        if attempt is None or self.phase is not Phase.SWITCHING or ack.epoch != self.epoch:
            return []
        if worker not in attempt.pending:
            return []
        attempt.pending.discard(worker)
        attempt.held += ack.held
        attempt.hold_ms = max(attempt.hold_ms, ack.hold_ms)
        return self._advance(now)

    def sessions_ended(self, worker: int, event: orders.SessionsEnded) -> list[Action]:
        """What a worker has reported busy is over there; if a switch told it to all workers, they are told this too.

        Before the worker has acknowledged the hold of this attempt, what it says of the next epoch is of an older
        attempt, and is ignored.
        """
        if event.epoch == self.epoch + 1 and self.phase in _UNDECIDED:
            self._next_busy.get(worker, set()).difference_update(event.sessions)
            return []
        if event.epoch != self.epoch:
            return []
        return self._ended(worker, event.sessions)

    def drained(self, now: float, worker: int, event: orders.Drained) -> list[Action]:
        attempt = self._current
        if attempt is None or self.draining is None or event.epoch != self.epoch:
            return []
        undrained = attempt.undrained.get(worker, set())
        undrained.discard(event.slot)
        if not undrained:
            attempt.pending.discard(worker)
        return self._advance(now)

    def cut_report(self, event: orders.CutReport) -> None:
        attempt = self._current
        if attempt is None or self.phase is not Phase.CUTTING or event.epoch != self.epoch:
            return
        attempt.cut += event.exchanges[: MAX_CUT_LISTED - len(attempt.cut)]

    def lost(self, now: float, worker: int) -> list[Action]:
        """The worker is dead: it has no exchange any more, and no answer of it is waited for."""
        self._members.pop(worker, None)
        self._next_busy.pop(worker, None)
        actions = self._ended(worker, tuple(self._busy.get(worker, ())))
        self._busy.pop(worker, None)
        if self._current is not None:
            self._current.pending.discard(worker)
            actions += self._advance(now)
        return actions

    def expired(self, now: float) -> list[Action]:
        """Call it when `deadline` has come."""
        attempt = self._current
        if attempt is None or self.deadline is None or now < self.deadline:
            return []
        self.deadline = None
        late = sorted(attempt.pending)
        if self.phase is Phase.HOLDING:
            reason = f"{_workers(late)} did not acknowledge the hold in time"
            if attempt.durable:
                return [Replace(worker, reason) for worker in late]
            return self._abandon(attempt, reason) + [Replace(worker, reason) for worker in late]
        if self.phase is Phase.SWITCHING:
            # Without a further deadline: until such a worker is dead, it may send requests to the old slot.
            return [Replace(worker, "it did not acknowledge the switch in time") for worker in late]
        if self.phase is Phase.DRAINING:
            self.phase = Phase.CUTTING
            self.deadline = now + CUT_SECONDS
            return [
                Send(worker, orders.Cut(app=self.app, epoch=self.epoch, slot=slot))
                for worker in late
                for slot in attempt.drains
                if slot in attempt.undrained[worker]
            ]
        return self._finish(now)

    def snapshot(self) -> Snapshot:
        """For a machine that goes on in this one's stead. Only while not `switching`."""
        if self.switching:
            raise RuntimeError(f"{self!r} can't be handed over")
        return Snapshot(self.phase, self.deadline, self._attempts, self._current, list(self._members), self._busy)

    def resume(self, snapshot: Snapshot) -> int | None:
        """Goes on as another did; the number of the attempt that is still to be reported, if any."""
        self.phase = snapshot.phase
        self.deadline = snapshot.deadline
        self._attempts = snapshot.attempts
        self._current = snapshot.current
        self._members = dict.fromkeys(snapshot.members)
        self._busy = snapshot.busy
        return None if self._current is None else self._current.number

    def _advance(self, now: float) -> list[Action]:
        """Goes to the next phase when nothing is pending."""
        attempt = self._current
        if attempt is None or attempt.pending:
            return []
        if self.phase is Phase.HOLDING:
            attempt.barrier_sessions = len(_counts(self._next_busy))
            if attempt.durable:
                return self._switch(now, attempt)
            self.phase = Phase.PERSISTING
            self.deadline = None
            return [Persist(attempt.number, attempt.to, self.epoch + 1)]
        if self.phase is Phase.SWITCHING:
            attempt.drain_from = now
            if attempt.drain is None or not attempt.drains:
                return self._finish(now)
            self.phase = Phase.DRAINING
            self.deadline = now + attempt.drain
            attempt.pending = set(self._members)
            attempt.undrained = {worker: set(attempt.drains) for worker in self._members}
            drains = [orders.Drain(app=self.app, epoch=self.epoch, slot=slot) for slot in attempt.drains]
            return [action for order in drains for action in self._to_all(order)] + self._advance(now)
        if self.phase in (Phase.DRAINING, Phase.CUTTING):
            return self._finish(now)
        return []

    def _finish(self, now: float) -> list[Action]:
        attempt = self._current
        if attempt is None:
            return []
        drained = not attempt.pending and not attempt.cut
        report = self._report(attempt, drained=drained, drain_ms=(now - attempt.drain_from) * 1000)
        self._rest()
        return [Reported(attempt.number, report)]

    def _abandon(self, attempt: _Attempt, reason: str) -> list[Action]:
        order = orders.ReleaseHold(app=self.app, epoch=self.epoch + 1, attempt=attempt.number)
        self._next_busy = {}
        self._rest()
        return [*self._to_all(order), Refused(attempt.number, reason)]

    def _rest(self) -> None:
        self.phase = Phase.IDLE
        self.deadline = None
        self._current = None

    def _report(self, attempt: _Attempt, *, drained: bool, drain_ms: float) -> SwitchReport:
        return SwitchReport.model_validate(
            {
                "app": self.app,
                "from": attempt.old,
                "to": attempt.to,
                "epoch": self.epoch,
                "workers": attempt.workers,
                "hold_ms": attempt.hold_ms,
                "held": attempt.held,
                "in_flight": attempt.in_flight,
                "barrier_sessions": attempt.barrier_sessions,
                "drained": drained,
                "drain_ms": drain_ms,
                "cut": tuple(attempt.cut),
                "tunnels": attempt.tunnels,
            }
        )

    def _ended(self, worker: int, sessions: Iterable[str]) -> list[Action]:
        busy = self._busy.get(worker, set())
        ended = tuple(session for session in sessions if session in busy)
        busy.difference_update(ended)
        if not ended:
            return []
        return self._to_all(orders.SessionsEnded(app=self.app, epoch=self.epoch, sessions=ended))

    def _to_all(self, order: orders.Order) -> list[Action]:
        return [Send(worker, order) for worker in self._members]

    def __repr__(self) -> str:
        pending = sorted(self._current.pending) if self._current else []
        return f"<Switchover {self.app} active={self.active} epoch={self.epoch} {self.phase.value} pending={pending}>"


def _in_use(active: str, spreading: orders.Spreading | None) -> tuple[str, ...]:
    """The slots that new requests go to."""
    return (active,) if spreading is None else tuple(slot for slot, weight in spreading.weights.items() if weight)


def _counts(busy: dict[int, set[str]]) -> dict[str, int]:
    """Session -> number of workers that have it."""
    counts: dict[str, int] = {}
    for sessions in busy.values():
        for session in sessions:
            counts[session] = counts.get(session, 0) + 1
    return counts


def _workers(numbers: list[int]) -> str:
    return f"worker{'s' if len(numbers) > 1 else ''} {', '.join(str(number) for number in numbers)}"
