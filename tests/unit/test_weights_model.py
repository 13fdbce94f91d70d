"""Changes of weights under any order of events: real gates as workers, under a real supervisor's decisions.

Links only keep their order. After each step: a request goes to a slot that its worker was told of; after a report no
worker sends any to a slot without a weight; no session that keeps its slot runs on two of them; "drained" is true.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.core import orders
from proxy.core.gate import LINGER, Effects, Gate, Ticket
from proxy.core.spread import Spread
from proxy.core.switchover import Action, Persist, Phase, Refused, Replace, Reported, Send, Switchover
from proxy.http1.head import RequestFields, RequestHead, parse_request_fields

SLOTS: Final = ("production", "temp", "third")
SESSIONS: Final = ("a", "b", "c", "d")
COOKIES: Final = {slot: f"{slot}.x" for slot in SLOTS}


def head_with(fields: RequestFields) -> RequestHead:
    return RequestHead(b"GET", b"/", 1, fields, 0, b"a")


HEADS: Final = {
    session: head_with(parse_request_fields(b"\nHost: a\r\nCookie: JSESSIONID=%b\r\n\r\n" % session.encode(), 1))
    for session in SESSIONS
}


def spread(spreading: orders.Spreading | None) -> Spread | None:
    if spreading is None:
        return None
    return Spread(
        "shop",
        spreading.weights,
        sticky=spreading.sticky,
        cookies=spreading.cookies,
        path="/",
        usable=lambda _: 1,
    )


class Request:
    """Waits or runs; `ticket` while it runs."""

    def __init__(self, worker: Worker, session: str) -> None:
        self.worker = worker
        self.session = session
        self.ticket: Ticket | None = None
        self.refused = False

    @property
    def head(self) -> RequestHead:
        return HEADS[self.session]

    def wake(self) -> None:
        assert self.ticket is None, "who is woken twice claims twice"
        self.ticket = self.worker.gate.claim(self, self.worker.model.now)
        if self.ticket is not None:
            self.worker.model.started(self.worker, self.ticket)

    def refuse(self) -> None:
        self.refused = True


class Worker:
    def __init__(self, model: WeightsModel, start: orders.ActiveSlot) -> None:
        self.model = model
        self.gate = model.gate_class(
            "shop",
            SLOTS,
            start.active,
            start.epoch,
            session_cookie="JSESSIONID",
            max_wait=1e9,
            barrier=1e9,
            spread=spread(start.spreading),
        )
        self.told = in_use(start.active, start.spreading)
        self.requests: list[Request] = []
        self.inbox: deque[orders.Order] = deque()
        self.outbox: deque[orders.Event] = deque()
        self.apply(self.gate.block(start.busy, model.now))

    def apply(self, effects: Effects | None) -> None:
        if effects is None:
            return
        for epoch, session in effects.sessions_ended:
            self.outbox.append(orders.SessionsEnded(app="shop", epoch=epoch, sessions=(session,)))
        if effects.drained is not None:
            self.outbox.append(orders.Drained(app="shop", epoch=self.gate.epoch, slot=effects.drained))
        for owner in effects.wake:
            owner.wake()
        for owner in effects.refuse:
            owner.refuse()

    def running(self) -> list[Request]:
        return [request for request in self.requests if request.ticket is not None]

    def end(self, request: Request) -> None:
        assert request.ticket is not None
        self.requests.remove(request)
        self.apply(self.gate.release(request.ticket, self.model.now))

    def obey(self) -> None:
        now = self.model.now
        match self.inbox.popleft():
            case orders.Hold(epoch=epoch, attempt=attempt, staying=staying):
                result = self.gate.hold(epoch, attempt, 1e9, now, staying)
                assert result is not None
                ack = orders.HoldAck(
                    app="shop", epoch=epoch, attempt=attempt, busy=result.busy, in_flight=result.in_flight
                )
                self.outbox.append(ack)
            case orders.ReleaseHold(epoch=epoch, attempt=attempt):
                self.apply(self.gate.release_hold(epoch, attempt))
            case orders.Switch(epoch=epoch, to=to, busy=busy, spreading=spreading):
                switched = self.gate.switch(epoch, to, busy, now, spread(spreading))
                assert switched is not None
                self.told = in_use(to, spreading)
                self.outbox.append(orders.SwitchAck(app="shop", epoch=epoch, held=switched.held, hold_ms=0.0))
                self.apply(switched.effects)
            case orders.SessionsEnded(epoch=epoch, sessions=sessions):
                self.apply(self.gate.sessions_ended(epoch, sessions))
            case orders.Drain(epoch=epoch, slot=slot):
                self.apply(self.gate.drain(epoch, slot))
            case orders.Cut(epoch=epoch, slot=slot):
                self.outbox.append(orders.CutReport(app="shop", epoch=epoch, slot=slot, exchanges=()))
                for request in self.running():
                    if request.ticket is not None and request.ticket.slot.name == slot:
                        self.end(request)


def in_use(active: str, spreading: orders.Spreading | None) -> set[str]:
    return {active} if spreading is None else {slot for slot, weight in spreading.weights.items() if weight}


class WeightsModel(RuleBasedStateMachine):
    gate_class: ClassVar[type[Gate]] = Gate

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.switch = Switchover("shop", "production", 0)
        self.workers: dict[int, Worker] = {}
        self.numbers = 0
        self.writing: Persist | None = None
        self.by_turns = False  # since then, sessions may run anywhere until all of them have ended

    def started(self, worker: Worker, ticket: Ticket) -> None:
        assert ticket.slot.name in worker.told
        if not self.switch.switching:
            assert ticket.slot.name in in_use(self.switch.active, self.switch.spreading)

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(number, order):
                    self.workers[number].inbox.append(order)
                case Persist():
                    self.writing = action
                case Replace(number, _):
                    self.kill(number)
                case Reported(_, report):
                    assert report.to == self.switch.active
                    left = set(SLOTS) - in_use(self.switch.active, self.switch.spreading)
                    if report.drained and self.drains:
                        for worker in self.workers.values():
                            for slot in left & self.drains:
                                assert not worker.gate.slots[slot].outstanding
                case Refused():
                    pass

    def kill(self, number: int) -> None:
        del self.workers[number]
        self.do(self.switch.lost(self.now, number))

    def hear(self, number: int) -> None:
        match self.workers[number].outbox.popleft():
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

    @initialize(count=st.integers(1, 3))
    def start(self, count: int) -> None:
        self.drains: set[str] = set()
        for _ in range(count):
            self.join()

    @precondition(lambda self: len(self.workers) < 3 and self.switch.decided)
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

    @rule(claims=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(SESSIONS)), min_size=1, max_size=6))
    def claim(self, claims: list[tuple[int, str]]) -> None:
        for index, session in claims:
            worker = self.workers[sorted(self.workers)[index % len(self.workers)]]
            request = Request(worker, session)
            worker.requests.append(request)
            request.wake()

    @rule(which=st.lists(st.integers(0, 20), min_size=1, max_size=4))
    def end(self, which: list[int]) -> None:
        for index in which:
            running = [request for worker in self.workers.values() for request in worker.running()]
            if running:
                request = running[index % len(running)]
                request.worker.end(request)

    @precondition(lambda self: not self.switch.switching)
    @rule(
        to=st.sampled_from(SLOTS),
        weights=st.none() | st.fixed_dictionaries({slot: st.sampled_from([0, 1, 3]) for slot in SLOTS}),
        sticky=st.sampled_from([True, True, True, True, False]),
        drain=st.sampled_from([0.0, 10.0, None]),
    )
    def begin(self, to: str, weights: dict[str, int] | None, sticky: bool, drain: float | None) -> None:
        before = in_use(self.switch.active, self.switch.spreading)
        spreading = None
        if weights is not None:
            weights = {**weights, to: max(1, weights[to])}
            spreading = orders.Spreading(weights=weights, sticky=sticky, cookies=COOKIES)
            self.by_turns = self.by_turns or not sticky
        self.drains = before - in_use(to, spreading) if drain is not None else set()
        _, actions = self.switch.begin(self.now, to=to, hold=4.0, drain=drain, spreading=spreading)
        self.do(actions)

    @precondition(lambda self: self.writing is not None)
    @rule(works=st.sampled_from([True, True, False]))
    def write(self, works: bool) -> None:
        writing, self.writing = self.writing, None
        assert writing is not None
        if works:
            self.do(self.switch.persisted(self.now, writing.attempt))
        else:
            self.do(self.switch.persist_failed(writing.attempt, "no room"))

    @rule(count=st.integers(1, 12), works=st.booleans())
    def go_on(self, count: int, works: bool = True) -> None:
        """The links' next messages, and mostly the disk, so that most runs get as far as several changes."""
        if works and self.writing is not None:
            self.write(works=True)
        for _ in range(count):
            for number, worker in list(self.workers.items()):
                if worker.inbox:
                    worker.obey()
                elif worker.outbox and number in self.workers:
                    self.hear(number)

    @rule()
    def linger(self) -> None:
        self.now += LINGER
        for worker in self.workers.values():
            worker.apply(worker.gate.look(self.now))

    @precondition(lambda self: self.switch.phase is Phase.DRAINING and self.switch.deadline is not None)
    @rule()
    def expire(self) -> None:
        self.now = max(self.now, self.switch.deadline or 0.0)
        self.do(self.switch.expired(self.now))

    @invariant()
    def who_waits_has_a_reason(self) -> None:
        """Another request of the same session would wait too; else nobody would wake the one that does."""
        for worker in self.workers.values():
            for session in {request.session for request in worker.requests if request.ticket is None}:
                another = Request(worker, session)
                assert worker.gate.claim(another, self.now) is None
                worker.gate.leave(another)

    @invariant()
    def no_session_that_keeps_its_slot_runs_on_two(self) -> None:
        running = [request for worker in self.workers.values() for request in worker.running()]
        if not running and self.switch.spreading is None and not self.switch.switching:
            self.by_turns = False
        if self.by_turns:
            return
        for session in SESSIONS:
            slots = {request.ticket.slot.name for request in running if request.ticket and request.session == session}
            assert len(slots) <= 1

    def teardown(self) -> None:
        for _ in range(300):
            if self.writing is not None:
                self.write(works=True)
            for worker in self.workers.values():
                for request in worker.running():
                    worker.end(request)
            self.go_on(5)
            self.linger()
        assert self.switch.phase is Phase.IDLE
        for worker in self.workers.values():
            assert worker.requests == [], "each request that waited was served"
            assert worker.gate.epoch == self.switch.epoch
            assert worker.told == in_use(self.switch.active, self.switch.spreading)


WeightsModel.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
test_weights_under_any_order_of_events = WeightsModel.TestCase
