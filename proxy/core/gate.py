"""The gate of one app in one worker: which slot a request goes to, and who must wait.

Nothing here waits or sends. A call changes the state in one synchronous step and returns what is to be done: whom to
wake, what to tell the supervisor, when to look again. A woken waiter claims again, so it is always the state of that
moment which decides.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from proxy.core.sessions import session_of
from proxy.core.stats import SlotStats
from proxy.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.core.spread import Spread
    from proxy.http1.head import RequestHead

LINGER: Final = 0.05
"""Seconds that a session stays busy after its exchange. An application that finishes its response itself answers
before Tomcat has replicated the session; 5 ms were enough in 500 of 500 trials, none in 366."""


_NEVER: Final = math.inf


class Owner(Protocol):
    """What holds a ticket: an exchange. `wake` has it claim again; `refuse` has it answered 503."""

    @property
    def head(self) -> RequestHead: ...

    def wake(self) -> None: ...

    def refuse(self) -> None: ...


class Slot:
    """One slot's outstanding tickets and counters in this worker. `recent`: what has ended within LINGER, and when."""

    __slots__ = ("name", "outstanding", "recent", "stats", "tunnels")

    def __init__(self, name: str) -> None:
        self.name = name
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
        self.busy: tuple[tuple[_Busy, str], ...] | None = None
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


class NotAdmittedError(RequestError):
    """The request gets no slot, and does not wait for one."""

    status = 503


class GateFullError(NotAdmittedError):
    """More requests wait than the bound allows."""

    part = "the queue of waiting requests"


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What requests are answered instead of being served. `page`: HTML. `retry_after`: seconds."""

    page: bytes
    retry_after: int


class MaintenanceError(NotAdmittedError):
    """The app is under maintenance."""

    part = "the application, which is being maintained"

    def __init__(self, maintenance: Maintenance) -> None:
        super().__init__("it will be back soon")
        self.maintenance = maintenance


class Gate:
    """Claim, hold, switch, drain and session barrier of one app (design: the switch).

    New requests go to the active slot, or, while the app has weights, to one of several. A change of weights is a
    switch too, with an epoch of its own: it comes to all workers as one step, and a session with an exchange on a slot
    that it may have to leave waits for it. The weights may still give the session a slot of its own at any time: when
    its slot fails. Without stickiness there is no barrier, as each of a session's requests may go anywhere.

    `now` is a monotonic time in seconds. `max_wait` bounds the time that a request waits here, for whatever reason.
    """

    def __init__(
        self,
        app: str,
        slots: Iterable[str],
        active: str,
        epoch: int,
        *,
        session_cookie: str | None = None,
        max_held: int = 10_000,
        max_wait: float = 10.0,
        barrier: float = 2.0,
        spread: Spread | None = None,
    ) -> None:
        self.app = app
        self.epoch = epoch
        self.slots = {name: Slot(name) for name in slots}
        self.active = self.slots[active]
        self.spread = spread
        self._cookie = session_cookie
        self._max_held = max_held
        self._max_wait = max_wait
        self._barrier = barrier
        self._closed = False  # whether a claim must look further than the active slot
        self._hold: _Hold | None = None
        self._waiting: dict[Owner, float] = {}  # in the order of arrival; value: when its patience ends
        self._blocked: Counter[str] = Counter()  # sessions with an exchange on the old slot, by number of workers
        self._all_blocked = False  # whether it is unknown which ones they are
        self._blocked_until = 0.0
        self._busy: _Busy | None = None  # what this worker has of them
        self._lingering: deque[tuple[float, _Busy, str]] = deque()  # ended, and to be told at that time
        self._draining: set[str] = set()
        self._paused_until: float | None = None
        self._maintenance: Maintenance | None = None
        self._set_closed()

    def __repr__(self) -> str:
        held = f" held={len(self._waiting)}" if self._waiting else ""
        doing = [
            name
            for name, on in (
                ("holding", self._hold),
                ("paused", self._paused_until),
                ("maintenance", self._maintenance),
                (repr(self.spread), self.spread),
            )
            if on is not None
        ]
        return " ".join([f"<Gate {self.app} epoch={self.epoch} active={self.active.name}{held}", *doing]) + ">"

    @property
    def held(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    # --- requests ----------------------------------------------------------------------------------------------

    def claim(self, owner: Owner, now: float) -> Ticket | None:
        """A ticket for a slot, or None: then `owner` waits until it is woken or refused.

        Choosing the slot and counting the request are one step. Raises GateFullError, MaintenanceError.
        """
        slot = self.active
        if self._closed:
            admitted = self._admit(owner)
            if admitted is None:
                if owner not in self._waiting:
                    if len(self._waiting) >= self._max_held:
                        raise GateFullError("too many requests wait for it")
                    self._waiting[owner] = now + self._max_wait
                return None
            slot = admitted
        if self._waiting:
            self._waiting.pop(owner, None)
        ticket = Ticket(slot, owner)
        slot.outstanding.add(ticket)
        return ticket

    def leave(self, owner: Owner) -> None:
        """The waiting request has gone away."""
        self._waiting.pop(owner, None)

    def release(self, ticket: Ticket, now: float) -> Effects | None:
        """Ends the ticket; None when nothing is to be done. A second release is an error of the caller."""
        if ticket.released:
            raise AssertionError(f"{ticket!r} was released twice")
        ticket.released = True
        slot = ticket.slot
        slot.outstanding.discard(ticket)
        if ticket.tunnel:
            slot.tunnels -= 1
        head = ticket.owner.head
        if (head.fields.cookies or b";" in head.target) and self._cookie is not None:
            # Also on a slot that drains: a switch may go back to it, and away again, before the session is replicated.
            recent = slot.recent
            recent.append((now, head))
            while recent[0][0] < now - LINGER:
                recent.popleft()
        if ticket.busy is None and not self._draining:
            return None
        effects = Effects()
        if ticket.busy is not None:
            for busy, session in ticket.busy:
                self._session_left(busy, session, now, effects)
        if slot.name in self._draining and not slot.outstanding:
            effects.drained = slot.name
            self._draining.discard(slot.name)
        return effects

    def move(self, ticket: Ticket, to: str, now: float) -> tuple[Ticket, Effects | None] | None:
        """A ticket for another slot instead of this one, whose backends can't be reached, and what the release did.

        None during a hold, as that has counted what runs where.
        """
        if self._hold is not None:
            return None
        moved = Ticket(self.slots[to], ticket.owner)
        moved.slot.outstanding.add(moved)
        return moved, self.release(ticket, now)

    def tunnel(self, ticket: Ticket) -> None:
        """The exchange has become a tunnel."""
        ticket.tunnel = True
        ticket.slot.tunnels += 1

    # --- orders -------------------------------------------------------------------------------------------------

    def hold(
        self, epoch: int, attempt: int, seconds: float, now: float, staying: str | None = None
    ) -> HoldResult | None:
        """New claims wait, at most `seconds`; None when the epoch is old. What is busy then is what can stay busy.

        `staying`: the slot that no session has to leave. All others count, also one that was left by an earlier switch
        and still drains: its barrier ends with the coming switch.
        """
        if epoch <= self.epoch:
            return None
        since = self._hold.since if self._hold is not None else now
        left = [slot for slot in self.slots.values() if slot.name != staying]
        busy = self._busy_sessions(epoch, now, left)
        self._hold = _Hold(epoch, attempt, since, now + seconds, busy)
        self._closed = True
        in_flight = sum(len(slot.outstanding) for slot in left)
        return HoldResult(tuple(busy.counts), in_flight, sum(slot.tunnels for slot in left), self._next_look())

    def release_hold(self, epoch: int, attempt: int) -> Effects:
        """The hold is abandoned; all go on to the slot that is still active."""
        if self._hold is None or (self._hold.epoch, self._hold.attempt) != (epoch, attempt):
            return Effects()
        return self._end_hold()

    def orders_ended(self) -> Effects:
        """No order will come any more. A hold that nobody can end is over; all go on to what is known as active."""
        return self._end_hold() if self._hold is not None else Effects()

    def switch(
        self, epoch: int, to: str, busy: dict[str, int] | None, now: float, spread: Spread | None = None
    ) -> SwitchResult | None:
        """`to` is active from now on; None when the epoch is old. Sessions in `busy` wait for `sessions_ended`.

        `busy` None: nobody can tell which they are, so all sessions wait until the barrier's end. `spread`: the app's
        weights from now on.
        """
        if epoch <= self.epoch:
            return None
        hold_ms = (now - self._hold.since) * 1000 if self._hold is not None else 0.0
        self._busy = self._hold.busy if self._hold is not None else None
        held = len(self._waiting)
        self.epoch = epoch
        self.active = self.slots[to]
        self.spread = spread
        self._draining.clear()
        self._hold = None
        self._blocked.clear()
        self._all_blocked = False
        self._set_closed()
        effects = self.block(busy, now)
        effects.wake = self._all_waiting()
        effects.look_again = self._next_look()
        return SwitchResult(held, hold_ms, effects)

    def block(self, busy: dict[str, int] | None, now: float) -> Effects:
        """The barrier of a switch that was ordered before this gate existed. `busy`: see `switch`."""
        self._all_blocked = busy is None
        if busy is not None and not busy:
            return Effects()
        self._blocked = Counter(busy)
        self._blocked_until = now + self._barrier
        self._closed = True
        return Effects(look_again=self._blocked_until)

    def sessions_ended(self, epoch: int, sessions: Iterable[str]) -> Effects:
        """One worker less has an exchange of these sessions on the old slot."""
        if epoch != self.epoch or not self._blocked:
            return Effects()
        for session in sessions:
            if self._blocked[session] <= 1:
                del self._blocked[session]
            else:
                self._blocked[session] -= 1
        self._set_closed()
        return Effects(wake=self._all_waiting())

    def drain(self, epoch: int, slot: str) -> Effects:
        """`drained` follows as soon as the slot has no ticket outstanding."""
        if epoch != self.epoch:
            return Effects()
        if not self.slots[slot].outstanding:
            return Effects(drained=slot)
        self._draining.add(slot)
        return Effects()

    def admit(self, pause: float | None, maintenance: Maintenance | None, now: float) -> Effects:
        """What becomes of new requests, whatever else is the case, from now on.

        `pause`: they wait, for so many seconds at most; each is refused when its own patience ends. `maintenance`:
        they are answered with its page, and so are those that wait. Without either they are served.
        """
        self._paused_until = None if pause is None else now + pause
        self._maintenance = maintenance
        self._set_closed()
        return Effects(wake=self._all_waiting(), look_again=self._next_look())

    def look(self, now: float) -> Effects:
        """What has come due: patience, the end of a hold, a pause or the barrier, sessions that have lingered."""
        effects = Effects()
        while self._lingering and self._lingering[0][0] <= now:
            _, busy, session = self._lingering.popleft()
            if self._is_known(busy):
                effects.sessions_ended.append((busy.epoch, session))
        for slot in self.slots.values():
            while slot.recent and slot.recent[0][0] < now - LINGER:
                slot.recent.popleft()
        if self._open_what_is_due(now):
            effects.wake = self._all_waiting()  # once, whatever has ended: who is woken twice claims twice
        if self._waiting:
            woken = set(effects.wake)
            late = [owner for owner, until in self._waiting.items() if until <= now and owner not in woken]
            for owner in late:
                del self._waiting[owner]
            effects.refuse += late
        effects.look_again = self._next_look()
        return effects

    def set_slots(self, names: Iterable[str]) -> None:
        """Adds the slots that are new."""
        for name in names:
            self.slots.setdefault(name, Slot(name))

    # --- parts ---------------------------------------------------------------------------------------------------

    def _admit(self, owner: Owner) -> Slot | None:
        """The slot for a request; None when it must wait. Raises MaintenanceError."""
        if self._maintenance is not None:
            self._waiting.pop(owner, None)
            raise MaintenanceError(self._maintenance)
        if self._hold is not None or self._paused_until is not None:
            return None
        session = self._session(owner.head)
        if session is not None and (self._all_blocked or session in self._blocked):
            return None
        if self.spread is None:
            return self.active
        return self.slots[self.spread.assign(owner.head.fields.cookies, session)]

    def _set_closed(self) -> None:
        barrier = self._blocked or self._all_blocked
        self._closed = bool(self._hold or barrier or self._maintenance or self.spread) or (
            self._paused_until is not None
        )

    def _open_what_is_due(self, now: float) -> bool:
        """Whether something that let requests wait is over."""
        hold = self._hold is not None and self._hold.until <= now
        pause = self._paused_until is not None and self._paused_until <= now
        barrier = bool(self._blocked or self._all_blocked) and self._blocked_until <= now
        if hold:
            # The supervisor is gone, or slower than its bound: go on with what is known.
            self._hold = None
        if pause:
            self._paused_until = None
        if barrier:
            self._blocked.clear()
            self._all_blocked = False
        if hold or pause or barrier:
            self._set_closed()
            return True
        return False

    def _session(self, head: RequestHead) -> str | None:
        return None if self._cookie is None else session_of(head.fields.cookies, head.target, self._cookie)

    def _next_look(self) -> float | None:
        due = [self._lingering[0][0]] if self._lingering else []
        due += [self._hold.until] if self._hold is not None else []
        due += [self._blocked_until] if self._blocked or self._all_blocked else []
        due += [self._paused_until] if self._paused_until is not None else []
        return min(due, default=None)

    def _busy_sessions(self, epoch: int, now: float, slots: Iterable[Slot]) -> _Busy:
        """Sessions with an exchange on one of the slots, or with one that has ended so lately that it may replicate.

        A tunnel, or a response that has been streaming for longer than the barrier, is not expected to end.
        """
        busy = _Busy(epoch)
        for ticket in (ticket for slot in slots for ticket in slot.outstanding):
            kept = tuple(pair for pair in ticket.busy or () if pair[0] is self._busy)
            ticket.busy = kept or None
            if not ticket.tunnel and ticket.streaming_since > now - self._barrier:
                session = self._session(ticket.owner.head)
                if session is not None:
                    busy.counts[session] += 1
                    ticket.busy = (*kept, (busy, session))
        for ended, head in (ending for slot in slots for ending in slot.recent):
            session = self._session(head) if ended >= now - LINGER else None
            if session is not None and session not in busy.counts:
                busy.counts[session] = 0
                self._lingering.append((now + LINGER, busy, session))
        return busy

    def _session_left(self, busy: _Busy, session: str, now: float, effects: Effects) -> None:
        busy.counts[session] -= 1
        if busy.counts[session] == 0 and self._is_known(busy):
            self._lingering.append((now + LINGER, busy, session))
            effects.look_again = self._next_look()

    def _is_known(self, busy: _Busy) -> bool:
        """Whether the supervisor still goes by it: not after a later switch, nor after its hold was abandoned."""
        return busy is self._busy or (self._hold is not None and busy is self._hold.busy)

    def _end_hold(self) -> Effects:
        self._hold = None
        self._set_closed()
        return Effects(wake=self._all_waiting())

    def _all_waiting(self) -> list[Owner]:
        return list(self._waiting)


class _Busy:
    """The sessions that this worker called busy for one epoch, with the number of their exchanges."""

    __slots__ = ("counts", "epoch")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.counts: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<_Busy epoch={self.epoch} sessions={len(self.counts)}>"


@dataclass(frozen=True, slots=True)
class _Hold:
    epoch: int
    attempt: int
    since: float
    until: float
    busy: _Busy
