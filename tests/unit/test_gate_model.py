"""Real gates as workers, under a real supervisor's decisions: any order of requests, orders, losses and deadlines.

The links keep their order; nothing else is certain. After each step: a ticket is released once; no session has
exchanges on two slots, nor within the time that its replication takes, while its barrier holds; after a switch no
request goes to the old slot; the waiting are bounded, have a reason, and each is woken, refused or has left; "drained"
is true; during a pause and under maintenance nothing goes on. The supervisor may die: then its workers go by the state
file, and so does its successor, whose workers serve beside them.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.core import orders
from proxy.core.gate import LINGER, Effects, Gate, GateFullError, Maintenance, MaintenanceError, Ticket
from proxy.core.switchover import Action, Persist, Phase, Refused, Replace, Reported, Send, Switchover
from proxy.http1.head import RequestHead, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

SLOTS: Final = ("production", "temp")
SESSIONS: Final = ("a", "b", "a", None)
MAX_HELD: Final = 4
MAX_WAIT: Final = 3.0
BARRIER: Final = 2.0
HOLD: Final = 4.0


def head_of(session: str | None) -> RequestHead:
    """A session is known by its cookie, but "b" by its path."""
    path = b"/;jsessionid=b" if session == "b" else b"/"
    cookie = b"Cookie: JSESSIONID=%b\r\n" % session.encode() if session and session != "b" else b""
    head = parse_request(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path, cookie))
    assert head is not None
    return head


HEADS: Final = {session: head_of(session) for session in set(SESSIONS)}


@dataclass(eq=False)
class Exchange:
    """An owner of a ticket. `excused`: no barrier is expected to hold for it any more."""

    worker: Worker
    session: str | None
    state: str = "new"  # waiting, running, ended, refused, left, full, maintained
    since: float = 0.0
    ticket: Ticket | None = None
    excused: bool = False

    @property
    def head(self) -> RequestHead:
        return HEADS[self.session]

    def claim(self) -> None:
        assert self.state in ("new", "waiting")
        try:
            self.ticket = self.worker.gate.claim(self, self.worker.machine.now)
        except GateFullError:
            assert self.state == "new", "it has its place in the queue"
            self.state = "full"
            return
        except MaintenanceError:
            assert self.worker.maintained
            self.state = "maintained"
            return
        if self.state == "new":
            self.since = self.worker.machine.now
        self.state = "waiting" if self.ticket is None else "running"
        if self.ticket is not None:
            self.worker.machine.started(self, self.ticket)

    def wake(self) -> None:
        assert self.state == "waiting", "who is woken twice claims twice"
        self.claim()

    def refuse(self) -> None:
        assert self.state == "waiting"
        self.state = "refused"

    def end(self) -> None:
        assert self.ticket is not None
        self.state = "ended"
        self.worker.machine.ended(self, self.ticket)
        effects = self.worker.gate.release(self.ticket, self.worker.machine.now)
        if effects is not None:
            self.worker.apply(effects)


class Worker:
    """What a worker process does with its gate: proxy.net.app without sockets."""

    def __init__(self, machine: GateMachine, start: orders.ActiveSlot) -> None:
        self.machine = machine
        self.gate = machine.gate_class(
            "shop",
            SLOTS,
            start.active,
            start.epoch,
            session_cookie="JSESSIONID",
            max_held=MAX_HELD,
            max_wait=MAX_WAIT,
            barrier=BARRIER,
        )
        self.looked = machine.now
        self.barrier_until = machine.now + BARRIER
        self.hold: orders.Hold | None = None
        self.hold_until = 0.0
        self.lost_hold = False
        self.last_hold: orders.Hold | None = None
        self.active = start.active
        self.paused_until = -1.0
        self.maintained = False
        self.heard_the_end = False
        self.exchanges: list[Exchange] = []
        self.inbox: deque[orders.Order] = deque()
        self.outbox: deque[orders.Event] = deque()
        self.obeyed: list[orders.Order] = []
        self.apply(self.gate.block(start.busy, machine.now))

    def those(self, state: str) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.state == state]

    def apply(self, effects: Effects) -> None:
        for epoch, session in effects.sessions_ended:
            self.outbox.append(orders.SessionsEnded(app="shop", epoch=epoch, sessions=(session,)))
        if effects.drained is not None:
            assert not self.gate.slots[effects.drained].outstanding
            assert effects.drained != self.gate.active.name
            self.outbox.append(orders.Drained(app="shop", epoch=self.gate.epoch, slot=effects.drained))
        for owner in effects.wake:
            owner.wake()
        for owner in effects.refuse:
            owner.refuse()

    def look(self) -> None:
        now = self.machine.now
        if now >= self.barrier_until or (self.hold is not None and now >= self.hold_until):
            self.machine.excuse_all()
            if self.hold is not None and now >= self.hold_until:
                self.hold, self.lost_hold = None, True
        self.apply(self.gate.look(now))
        self.apply(self.gate.look(now))  # who is woken and has to wait on is not refused before the next look
        self.looked = now

    def obey(self) -> None:
        order = self.inbox.popleft()
        self.obeyed.append(order)
        now = self.machine.now
        match order:
            case orders.Hold(epoch=epoch, attempt=attempt, hold=seconds, staying=staying):
                result = self.gate.hold(epoch, attempt, seconds, now, staying)
                assert result is not None
                self.hold, self.hold_until, self.lost_hold = order, now + seconds, False
                self.last_hold = order
                self.outbox.append(
                    orders.HoldAck(
                        app="shop",
                        epoch=epoch,
                        attempt=attempt,
                        busy=result.busy,
                        in_flight=result.in_flight,
                        tunnels=result.tunnels,
                    )
                )
            case orders.ReleaseHold(epoch=epoch, attempt=attempt):
                self.hold, self.lost_hold = None, False
                self.apply(self.gate.release_hold(epoch, attempt))
            case orders.Switch(epoch=epoch, to=to, busy=busy):
                switched = self.gate.switch(epoch, to, busy, now)
                assert switched is not None
                self.hold, self.lost_hold, self.active = None, False, to
                self.barrier_until = now + BARRIER
                ack = orders.SwitchAck(app="shop", epoch=epoch, held=switched.held, hold_ms=switched.hold_ms)
                self.outbox.append(ack)
                self.apply(switched.effects)
            case orders.SessionsEnded(epoch=epoch, sessions=sessions):
                self.apply(self.gate.sessions_ended(epoch, sessions))
            case orders.Drain(epoch=epoch, slot=slot):
                self.apply(self.gate.drain(epoch, slot))
            case orders.Cut(epoch=epoch, slot=slot):
                self.cut(epoch, slot)

    def admit(self, pause: float | None, maintained: bool) -> None:
        now = self.machine.now
        self.paused_until = -1.0 if pause is None else now + pause
        self.maintained = maintained
        self.apply(self.gate.admit(pause, Maintenance(b"soon", 1) if maintained else None, now))

    def hear_the_end(self, decided: int) -> None:
        """The link has ended, and all that had come on it is done: proxy.net.app.App.orders_ended."""
        assert not self.inbox
        order, now = self.last_hold, self.machine.now
        self.heard_the_end = True
        if order is None or order.epoch <= self.gate.epoch or order.epoch != decided:
            self.hold = None
            self.apply(self.gate.orders_ended())
            return
        assert order.to is not None
        switched = self.gate.switch(order.epoch, order.to, None, now)
        assert switched is not None
        self.hold, self.lost_hold, self.active = None, False, order.to
        self.barrier_until = now + BARRIER
        self.apply(switched.effects)

    def cut(self, epoch: int, slot: str) -> None:
        if epoch == self.gate.epoch:
            self.outbox.append(orders.CutReport(app="shop", epoch=epoch, slot=slot, exchanges=()))
            for ticket in list(self.gate.slots[slot].outstanding):
                assert isinstance(ticket.owner, Exchange)
                ticket.owner.end()


class GateMachine(RuleBasedStateMachine):
    gate_class: ClassVar[type[Gate]] = Gate

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.switch = Switchover("shop", "production", 0)
        self.workers: dict[int, Worker] = {}
        self.numbers = 0
        self.writing: Persist | None = None
        self.excused = False
        self.last_end: dict[str, tuple[str, float, Worker]] = {}
        self.durable = ("production", 0)
        self.orphans: list[Worker] = []
        self.alive = True

    # --- what the gates' exchanges tell --------------------------------------------------------------------------

    def started(self, exchange: Exchange, ticket: Ticket) -> None:
        worker = exchange.worker
        assert ticket.slot.name == worker.active, "a claim goes to the slot that the last switch has ordered"
        assert worker.hold is None, "no claim during a hold"
        assert not worker.maintained
        assert worker.paused_until <= self.now, "no claim during a pause"
        if not self.switch.switching and all(orphan.heard_the_end for orphan in self.orphans):
            assert ticket.slot.name == self.switch.active, "after the report no request goes to the old slot"
        exchange.excused = worker.lost_hold
        if exchange.session in self.last_end and not exchange.excused:
            slot, ended, _ = self.last_end[exchange.session]
            assert slot == ticket.slot.name or self.now - ended >= LINGER - 1e-9, "before it can be replicated"

    def ended(self, exchange: Exchange, ticket: Ticket) -> None:
        if exchange.session is not None and not self.is_excused(exchange):
            self.last_end[exchange.session] = (ticket.slot.name, self.now, exchange.worker)

    def is_excused(self, exchange: Exchange) -> bool:
        ticket = exchange.ticket
        assert ticket is not None
        return exchange.excused or ticket.tunnel or ticket.streaming_since <= self.now - BARRIER

    def excuse_all(self) -> None:
        """A bound has passed at which a gate goes on by itself: what runs now is not covered by its barrier."""
        self.excused = True
        self.last_end.clear()
        for exchange in self.running():
            exchange.excused = True

    def running(self) -> list[Exchange]:
        return [exchange for worker in self.everybody() for exchange in worker.those("running")]

    def everybody(self) -> list[Worker]:
        return [*self.workers.values(), *self.orphans]

    # --- the supervisor ------------------------------------------------------------------------------------------

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(worker, order):
                    self.workers[worker].inbox.append(order)
                case Persist():
                    self.writing = action
                case Replace(worker, _):
                    self.kill(worker)
                case Reported(_, report):
                    if report.drained and report.from_slot != report.to:
                        for member in self.workers.values():
                            assert not member.gate.slots[report.from_slot].outstanding
                case Refused():
                    pass

    def kill(self, number: int) -> None:
        worker = self.workers.pop(number)
        # What it knew of sessions that had just ended is lost with it.
        self.last_end = {session: end for session, end in self.last_end.items() if end[2] is not worker}
        self.do(self.switch.lost(self.now, number))

    def pick(self, index: int) -> Worker:
        return self.workers[sorted(self.workers)[index % len(self.workers)]]

    def hear(self, number: int, worker: Worker) -> None:
        match worker.outbox.popleft():
            case orders.HoldAck() as event:
                self.do(self.switch.hold_ack(self.now, number, event))
            case orders.SwitchAck() as event:
                self.do(self.switch.switch_ack(self.now, number, event))
            case orders.SessionsEnded() as event:
                self.do(self.switch.sessions_ended(number, event))
            case orders.Drained() as event:
                self.do(self.switch.drained(self.now, number, event))
            case orders.CutReport() as event:
                self.switch.cut_report(event)

    # --- what may happen -----------------------------------------------------------------------------------------

    @initialize(count=st.integers(1, 3))
    def start(self, count: int) -> None:
        for _ in range(count):
            self.join()

    @precondition(lambda self: self.alive and len(self.workers) < 3 and self.switch.decided)
    @rule()
    def join(self) -> None:
        self.numbers += 1
        self.workers[self.numbers] = Worker(self, self.switch.join(self.numbers))

    @precondition(lambda self: len(self.workers) > 1)
    @rule(index=st.integers(0, 9))
    def die(self, index: int) -> None:
        if index > 2:
            return  # so that most workers live for long
        self.kill(sorted(self.workers)[index % len(self.workers)])

    @precondition(lambda self: self.workers)
    @rule(claims=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SESSIONS)), min_size=1, max_size=4))
    def claim(self, claims: list[tuple[int, str | None]]) -> None:
        for index, session in claims:
            worker = self.pick(index)
            exchange = Exchange(worker, session)
            worker.exchanges.append(exchange)
            exchange.claim()

    @rule(which=st.lists(st.integers(0, 20), min_size=1, max_size=4))
    def end(self, which: list[int]) -> None:
        for index in which:
            running = self.running()
            if running:
                running[index % len(running)].end()

    @precondition(lambda self: self.workers)
    @rule(
        index=st.integers(0, 2),
        pause=st.sampled_from([None, None, 0.5, 5.0]),
        maintained=st.sampled_from([False, False, False, True]),
    )
    def admit(self, index: int, pause: float | None, maintained: bool) -> None:
        self.pick(index).admit(pause, maintained)

    @precondition(lambda self: self.alive and not self.orphans)
    @rule(renamed=st.booleans())
    def supervisor_dies(self, renamed: bool) -> None:
        """`renamed`: a write that was under way has reached the file."""
        if self.writing is not None and renamed:
            self.durable = (self.writing.active, self.writing.epoch)
        self.writing = None
        self.alive = False
        self.orphans = list(self.workers.values())
        self.workers = {}
        active, epoch = self.durable
        self.switch = Switchover("shop", active, epoch)

    @precondition(lambda self: self.alive and self.workers and not self.orphans and not self.switch.switching)
    @rule(
        renamed=st.booleans(),
        before=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SESSIONS)), min_size=1, max_size=4),
        after=st.lists(st.sampled_from(SESSIONS), max_size=4),
    )
    def supervisor_dies_while_it_writes(
        self, renamed: bool, before: list[tuple[int, str | None]], after: list[str | None]
    ) -> None:
        """So that many runs get there."""
        self.claim(before)
        self.begin(other=True, drain=0.0, count=0)
        self.go_on_until_it_writes()
        self.supervisor_dies(renamed=renamed)
        for orphan in self.orphans:
            orphan.hear_the_end(self.durable[1])
        for session in after:
            for index in range(len(self.orphans)):
                self.orphan_goes_on(index=index, session=session)

    def go_on_until_it_writes(self) -> None:
        while self.writing is None and any(worker.inbox or worker.outbox for worker in self.workers.values()):
            for number, worker in list(self.workers.items()):
                if worker.inbox:
                    worker.obey()
                elif worker.outbox:
                    self.hear(number, worker)

    @precondition(lambda self: self.orphans)
    @rule(index=st.integers(0, 2), session=st.sampled_from(SESSIONS))
    def orphan_goes_on(self, index: int, session: str | None) -> None:
        """It does what it was told last, or serves."""
        orphan = self.orphans[index % len(self.orphans)]
        if orphan.inbox:
            orphan.obey()
        elif not orphan.heard_the_end:
            orphan.hear_the_end(self.durable[1])
        else:
            exchange = Exchange(orphan, session)
            orphan.exchanges.append(exchange)
            exchange.claim()

    @precondition(lambda self: not self.alive)
    @rule(count=st.integers(1, 2))
    def successor_starts(self, count: int) -> None:
        """It waits for the barrier's time (proxy.control.orphans.barrier_left); its workers serve beside the others."""
        self.orphans_hear()
        assert {orphan.active for orphan in self.orphans} <= {self.switch.active}, "all go by the file"
        self.now += BARRIER
        self.look()
        self.excuse_all()
        self.alive = True
        for _ in range(count):
            self.join()

    @precondition(lambda self: self.alive and self.orphans)
    @rule()
    def orphan_leaves(self) -> None:
        orphan = self.orphans.pop()
        for exchange in orphan.those("running"):
            exchange.end()
        for exchange in orphan.those("waiting"):
            exchange.state = "left"
            orphan.gate.leave(exchange)
        self.last_end = {session: end for session, end in self.last_end.items() if end[2] is not orphan}

    def orphans_hear(self) -> None:
        for orphan in self.orphans:
            while orphan.inbox:
                orphan.obey()
            if not orphan.heard_the_end:
                orphan.hear_the_end(self.durable[1])

    @rule(which=st.integers(0, 20))
    def leave(self, which: int) -> None:
        waiting = [exchange for worker in self.everybody() for exchange in worker.those("waiting")]
        if waiting:
            exchange = waiting[which % len(waiting)]
            exchange.state = "left"
            exchange.worker.gate.leave(exchange)

    @rule(which=st.integers(0, 20), tunnel=st.booleans())
    def respond(self, which: int, tunnel: bool) -> None:
        """A response begins to stream, or an exchange becomes a tunnel."""
        running = self.running()
        if running:
            ticket = running[which % len(running)].ticket
            assert ticket is not None
            if tunnel and not ticket.tunnel:
                running[which % len(running)].worker.gate.tunnel(ticket)
            else:
                ticket.streaming_since = min(ticket.streaming_since, self.now)

    @precondition(lambda self: self.alive and not self.orphans and not self.switch.switching)
    @rule(other=st.sampled_from([True, True, True, False]), drain=st.sampled_from([0.0, 10.0]), count=st.integers(0, 8))
    def begin(self, other: bool, drain: float, count: int) -> None:
        to = next(slot for slot in SLOTS if (slot != self.switch.active) is other)
        _, actions = self.switch.begin(self.now, to=to, hold=HOLD, drain=drain)
        self.do(actions)
        self.go_on(count)

    @precondition(lambda self: self.alive and self.workers and not self.orphans and not self.switch.switching)
    @rule(
        before=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SESSIONS)), min_size=2, max_size=4),
        after=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SESSIONS)), min_size=1, max_size=3),
        ended=st.lists(st.integers(0, 20), min_size=1, max_size=3),
        seconds=st.sampled_from([0.0, LINGER]),
        early=st.booleans(),
        again=st.booleans(),
    )
    def switch_between(
        self,
        before: list[tuple[int, str | None]],
        after: list[tuple[int, str | None]],
        ended: list[int],
        seconds: float,
        early: bool,
        again: bool,
    ) -> None:
        """So that many runs have exchanges of one session before and after a switch.

        `early`: some end before it. `again`: it has been tried before, and the state could not be written.
        """
        self.claim(before)
        if again:
            self.begin(other=True, drain=10.0, count=0)
            self.go_on_until_it_writes()
            self.end(ended)
            if self.writing is not None:
                self.write(works=False)
            self.claim(before)
        if self.switch.switching:
            return
        if early:
            self.end(ended)
        self.begin(other=True, drain=10.0, count=8)
        self.claim(after)
        if not early:
            self.end(ended)
        self.time_passes(seconds=seconds, look=True)
        self.go_on(8)

    @precondition(lambda self: self.writing is not None)
    @rule(works=st.sampled_from([True, True, True, False]))
    def write(self, works: bool) -> None:
        writing, self.writing = self.writing, None
        assert writing is not None
        if works:
            self.durable = (writing.active, writing.epoch)
            self.do(self.switch.persisted(self.now, writing.attempt))
        else:
            self.do(self.switch.persist_failed(writing.attempt, "no room"))

    @precondition(lambda self: self.workers)
    @rule(index=st.integers(0, 2))
    def obey(self, index: int) -> None:
        worker = self.pick(index)
        if worker.inbox:
            worker.obey()

    @rule(count=st.integers(1, 8))
    def go_on(self, count: int) -> None:
        """The links' next messages, so that most runs get as far as several switches."""
        for _ in range(count):
            if self.writing is not None:
                self.write(works=True)
            for number, worker in list(self.workers.items()):
                if worker.inbox:
                    worker.obey()
                elif worker.outbox and number in self.workers:
                    self.hear(number, worker)

    @rule(seconds=st.sampled_from([0.0, 0.02, LINGER, LINGER, 0.5, 0.5, BARRIER, MAX_WAIT, HOLD]), look=st.booleans())
    def time_passes(self, seconds: float, look: bool) -> None:
        self.now += seconds
        if look:
            self.look()

    @rule()
    def look(self) -> None:
        for worker in self.everybody():
            worker.look()

    @precondition(lambda self: any(worker.hold is not None for worker in self.workers.values()))
    @rule(seldom=st.sampled_from([False, False, False, True]))
    def hold_is_over(self, seldom: bool) -> None:
        """Nobody has ended it in time."""
        if seldom:
            self.time_passes(seconds=HOLD, look=True)
            self.claim([(index, None) for index in range(len(self.workers))])

    @precondition(lambda self: self.switch.deadline is not None)
    @rule()
    def expire(self) -> None:
        if self.switch.deadline is not None and self.switch.deadline <= self.now:
            self.do(self.switch.expired(self.now))

    @precondition(lambda self: self.workers)
    @rule(index=st.integers(0, 2), which=st.integers(0, 50))
    def old_order_again(self, index: int, which: int) -> None:
        worker = self.pick(index)
        old = [order for order in worker.obeyed if order.epoch < worker.gate.epoch]  # type: ignore[union-attr]
        if not old:
            return
        gate, before = worker.gate, self.facts(worker)
        match old[which % len(old)]:
            case orders.Hold(epoch=epoch, attempt=attempt, hold=seconds):
                assert gate.hold(epoch, attempt, seconds, self.now) is None
            case orders.ReleaseHold(epoch=epoch, attempt=attempt):
                assert gate.release_hold(epoch, attempt) == Effects()
            case orders.Switch(epoch=epoch, to=to, busy=busy):
                assert gate.switch(epoch, to, busy, self.now) is None
            case orders.SessionsEnded(epoch=epoch, sessions=sessions):
                assert gate.sessions_ended(epoch, sessions) == Effects()
            case orders.Drain(epoch=epoch, slot=slot):
                assert gate.drain(epoch, slot) == Effects()
        assert self.facts(worker) == before

    def facts(self, worker: Worker) -> object:
        gate = worker.gate
        return repr(gate), gate.held, gate.epoch, gate.active, [len(slot.outstanding) for slot in gate.slots.values()]

    # --- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def each_ticket_is_outstanding_until_its_end(self) -> None:
        for worker in self.everybody():
            tickets = {exchange.ticket for exchange in worker.those("running")}
            assert tickets == {ticket for slot in worker.gate.slots.values() for ticket in slot.outstanding}
            for slot in worker.gate.slots.values():
                assert slot.tunnels == sum(ticket.tunnel for ticket in slot.outstanding)

    @invariant()
    def waiting_requests_are_bounded_and_not_lost(self) -> None:
        for worker in self.everybody():
            assert worker.gate.held == len(worker.those("waiting")) <= MAX_HELD

    @invariant()
    def who_waits_has_a_reason(self) -> None:
        """Another request of the same session would wait too; else nobody would wake the one that does."""
        for worker in self.everybody():
            for exchange in worker.those("waiting"):
                barrier = exchange.session is not None and worker.barrier_until > worker.looked
                assert worker.hold is not None or worker.paused_until > worker.looked or barrier, "that has not ended"
                assert exchange.since + MAX_WAIT > worker.looked, "and it has not waited for too long"
            for session in {exchange.session for exchange in worker.those("waiting")}:
                another = Exchange(worker, session)
                with suppress(GateFullError):
                    assert worker.gate.claim(another, self.now) is None
                worker.gate.leave(another)

    @invariant()
    def no_session_runs_on_two_slots(self) -> None:
        for session in ("a", "b"):
            slots = {
                exchange.ticket.slot.name
                for exchange in self.running()
                if exchange.ticket is not None and exchange.session == session and not self.is_excused(exchange)
            }
            assert len(slots) <= 1

    def teardown(self) -> None:
        """Everything comes to rest: no request waits for longer than its reason lasts. Old orders come in vain."""
        for index in range(len(self.workers)):
            for which in range(10):
                self.old_order_again(index=index, which=which)
        if not self.alive:
            self.successor_starts(1)
        while self.orphans:
            self.orphan_leaves()
        if not self.workers:
            return
        for worker in self.workers.values():
            worker.admit(None, False)
        for _ in range(10):
            self.settle(lambda worker: bool(worker.inbox or worker.outbox))
            self.now += LINGER / 2
            self.look()
        if not self.excused:
            assert not any(worker.those("waiting") for worker in self.workers.values())
        self.now += MAX_WAIT
        self.look()
        self.settle(lambda worker: bool(worker.inbox or worker.outbox))
        assert self.switch.phase is Phase.IDLE
        for worker in self.workers.values():
            assert (worker.active, worker.gate.epoch) == (self.switch.active, self.switch.epoch)
            for exchange in worker.exchanges:
                assert exchange.state in ("ended", "refused", "left", "full", "maintained")

    def settle(self, has_messages: Callable[[Worker], bool]) -> None:
        while True:
            if self.writing is not None:
                self.write(works=True)
            for exchange in self.running():
                exchange.end()
            talking = [pair for pair in self.workers.items() if has_messages(pair[1])]
            if not talking and self.writing is None and not self.running():
                return
            for number, worker in talking:
                if worker.inbox:
                    worker.obey()
                elif worker.outbox and number in self.workers:
                    self.hear(number, worker)


GateMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
test_gates_under_any_order_of_events = GateMachine.TestCase
