"""The gate of one app in one worker: which slot a request goes to, and who must wait.

Nothing here waits or sends. A call changes the state in one synchronous step and returns what is to be done: whom to
wake, what to tell the supervisor, when to look again. A woken waiter claims again, so it is always the state of that
moment which decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.core.admission import GateFullError, Maintenance, MaintenanceError, NotAdmittedError
from proxy.core.barrier import Barrier
from proxy.core.busy import LINGER, BusySessions
from proxy.core.sessions import session_of
from proxy.core.tickets import Effects, HoldResult, Owner, Slot, SwitchResult, Ticket
from proxy.core.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.core.spread import Spread
    from proxy.http1.head import RequestHead

_SEMICOLON: Final = ord(";")  # `int in bytes` takes a third of the time of `bytes in bytes`

__all__ = [
    "LINGER",
    "Effects",
    "Gate",
    "GateFullError",
    "HoldResult",
    "Maintenance",
    "MaintenanceError",
    "NotAdmittedError",
    "Owner",
    "Slot",
    "SwitchResult",
    "Ticket",
]


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
        self._barrier_seconds = barrier
        self._closed = False  # whether a claim must look further than the active slot
        self._hold: _Hold | None = None
        self._waiting = Waiting(max_held, max_wait)
        self._barrier = Barrier()
        self._busy = BusySessions(self._session, barrier)
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
                (repr(self._barrier), self._barrier or None),
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
            admitted = self._admit(owner, now)
            if admitted is None:
                return None
            slot = admitted
        if self._waiting.places:
            self._waiting.remove(owner)
        ticket = Ticket(slot, owner)
        slot.outstanding.add(ticket)
        return ticket

    def leave(self, owner: Owner) -> None:
        """The waiting request has gone away."""
        self._waiting.remove(owner)

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
        if self._cookie is not None and (head.fields.cookies or _SEMICOLON in head.target):
            # Also on a slot that drains: a switch may go back to it, and away again, before the session is replicated.
            recent = slot.recent
            recent.append((now, head))
            while recent[0][0] < now - LINGER:
                recent.popleft()
        if ticket.busy is None and not self._draining:
            return None
        effects = Effects()
        if self._busy.ended(ticket, now):
            effects.look_again = self._next_look()
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
        busy = self._busy.count(epoch, now, left)
        self._hold = _Hold(epoch, attempt, since, now + seconds)
        self._closed = True
        in_flight = sum(len(slot.outstanding) for slot in left)
        return HoldResult(busy, in_flight, sum(slot.tunnels for slot in left), self._next_look())

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
        self._busy.decided()
        held = len(self._waiting)
        self.epoch = epoch
        self.active = self.slots[to]
        self.spread = spread
        self._draining.clear()
        self._hold = None
        self.block(busy, now)
        return SwitchResult(held, hold_ms, Effects(wake=self._waiting.all(), look_again=self._next_look()))

    def block(self, busy: dict[str, int] | None, now: float) -> Effects:
        """The barrier of a switch that was ordered before this gate existed. `busy`: see `switch`."""
        self._barrier.put(busy, now + self._barrier_seconds)
        self._set_closed()
        return Effects(look_again=self._barrier.until if self._barrier else None)

    def sessions_ended(self, epoch: int, sessions: Iterable[str]) -> Effects:
        """One worker less has an exchange of these sessions on the old slot. Wakes those who wait for that alone."""
        if epoch != self.epoch:
            return Effects()
        free = self._barrier.ended(sessions)
        self._set_closed()
        return Effects(wake=self._waiting.of(free))

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
        return Effects(wake=self._waiting.all(), look_again=self._next_look())

    def look(self, now: float) -> Effects:
        """What has come due: patience, the end of a hold, a pause or the barrier, sessions that have lingered."""
        effects = Effects(sessions_ended=self._busy.due(now))
        for slot in self.slots.values():
            while slot.recent and slot.recent[0][0] < now - LINGER:
                slot.recent.popleft()
        if self._open_what_is_due(now):
            effects.wake = self._waiting.all()  # once, whatever has ended: who is woken twice claims twice
        else:
            effects.refuse = self._waiting.expire(now)
        effects.look_again = self._next_look()
        return effects

    def set_slots(self, names: Iterable[str]) -> None:
        """Adds the slots that are new."""
        for name in names:
            self.slots.setdefault(name, Slot(name))

    # --- parts ---------------------------------------------------------------------------------------------------

    def _admit(self, owner: Owner, now: float) -> Slot | None:
        """The slot for a request; None when it waits from now on. Raises GateFullError, MaintenanceError."""
        if self._maintenance is not None:
            self._waiting.remove(owner)
            raise MaintenanceError(self._maintenance)
        if self._hold is not None or self._paused_until is not None:
            self._waiting.add(owner, None, now)
            return None
        session = self._session(owner.head)
        if session is not None and self._barrier.blocks(session):
            self._waiting.add(owner, session, now)
            return None
        if self.spread is None:
            return self.active
        return self.slots[self.spread.assign(owner.head.fields.cookies, session)]

    def _set_closed(self) -> None:
        self._closed = bool(self._hold or self._barrier or self._maintenance or self.spread) or (
            self._paused_until is not None
        )

    def _open_what_is_due(self, now: float) -> bool:
        """Whether something that let requests wait is over."""
        hold = self._hold is not None and self._hold.until <= now
        pause = self._paused_until is not None and self._paused_until <= now
        barrier = bool(self._barrier) and self._barrier.until <= now
        if hold:
            # The supervisor is gone, or slower than its bound: go on with what is known.
            self._hold = None
            self._busy.abandoned()
        if pause:
            self._paused_until = None
        if barrier:
            self._barrier.lift()
        if hold or pause or barrier:
            self._set_closed()
            return True
        return False

    def _session(self, head: RequestHead) -> str | None:
        return None if self._cookie is None else session_of(head.fields.cookies, head.target, self._cookie)

    def _next_look(self) -> float | None:
        due = (
            self._busy.next_due(),
            self._hold.until if self._hold is not None else None,
            self._barrier.until if self._barrier else None,
            self._paused_until,
        )
        return min((time for time in due if time is not None), default=None)

    def _end_hold(self) -> Effects:
        self._hold = None
        self._busy.abandoned()
        self._set_closed()
        return Effects(wake=self._waiting.all())


@dataclass(frozen=True, slots=True)
class _Hold:
    epoch: int
    attempt: int
    since: float
    until: float
