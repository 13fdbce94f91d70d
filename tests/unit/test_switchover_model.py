"""A switch under any order of events: workers that obey, die, join and are late; links that only keep their order.

The model's workers do what proxy.core.orders says. After each step no two workers may send new requests to
different slots; a report of "drained" must be true; and whatever happened, everything comes to rest.
"""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.core import orders
from proxy.core.switchover import Action, Persist, Phase, Refused, Replace, Reported, Send, Switchover

SESSIONS = st.sampled_from(["a", "b"])
WORKERS = st.integers(0, 3)


class ModelWorker:
    """`exchanges`: (slot, session) of each outstanding one. `reported`: epoch -> slot, sessions called busy on it."""

    def __init__(self, start: orders.ActiveSlot) -> None:
        self.active, self.epoch, self.barrier = start.active, start.epoch, dict(start.busy)
        self.hold: tuple[int, int] | None = None
        self.exchanges: list[tuple[str, str]] = []
        self.reported: dict[int, tuple[str, set[str]]] = {}
        self.drain: orders.Drain | None = None
        self.inbox: deque[orders.Order] = deque()
        self.outbox: deque[orders.Event] = deque()

    def claim(self, session: str) -> None:
        if self.hold is None and not self.barrier.get(session):
            self.exchanges.append((self.active, session))

    def sessions_on(self, slot: str) -> set[str]:
        return {session for other, session in self.exchanges if other == slot}

    def end(self, index: int) -> None:
        del self.exchanges[index]
        self.after_end()

    def after_end(self) -> None:
        for epoch, (slot, sessions) in self.reported.items():
            gone = tuple(sorted(sessions - self.sessions_on(slot)))
            sessions.difference_update(gone)
            if gone:
                self.outbox.append(orders.SessionsEnded(app="shop", epoch=epoch, sessions=gone))
        drain = self.drain
        if drain is not None and not any(slot == drain.slot for slot, _ in self.exchanges):
            self.drain = None
            self.outbox.append(orders.Drained(app="shop", epoch=drain.epoch, slot=drain.slot))

    def obey(self) -> None:
        match self.inbox.popleft():
            case orders.Hold(epoch=epoch, attempt=attempt):
                self.hold = (epoch, attempt)
                busy = self.sessions_on(self.active)
                self.reported[epoch] = (self.active, set(busy))
                ack = orders.HoldAck(app="shop", epoch=epoch, attempt=attempt, busy=tuple(sorted(busy)))
                self.outbox.append(ack)
            case orders.ReleaseHold(epoch=epoch, attempt=attempt):
                if self.hold == (epoch, attempt):
                    self.hold = None
                    del self.reported[epoch]
            case orders.Switch(epoch=epoch, to=to, busy=busy):
                assert epoch == self.epoch + 1
                self.active, self.epoch, self.barrier, self.hold, self.drain = to, epoch, dict(busy), None, None
                self.reported.pop(epoch - 1, None)
                self.outbox.append(orders.SwitchAck(app="shop", epoch=epoch, held=0, hold_ms=0.0))
            case orders.SessionsEnded(epoch=epoch, sessions=sessions):
                if epoch == self.epoch:
                    for session in sessions:
                        self.barrier[session] -= 1
                        assert self.barrier[session] >= 0
            case orders.Drain() as order:
                self.drain = order
                self.after_end()
            case orders.Cut(epoch=epoch, slot=slot):
                self.exchanges = [pair for pair in self.exchanges if pair[0] != slot]
                self.outbox.append(orders.CutReport(app="shop", epoch=epoch, slot=slot, exchanges=()))
                self.after_end()


class SwitchoverMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.switch = Switchover("shop", "production", 0)
        self.workers: dict[int, ModelWorker] = {}
        self.numbers = 0
        self.disk = ("production", 0)
        self.writing: Persist | None = None
        self.attempts: set[int] = set()

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(worker, order):
                    self.workers[worker].inbox.append(order)
                case Persist():
                    assert self.writing is None
                    self.writing = action
                case Replace(worker, _):
                    self.kill(worker)
                case Reported(attempt, report):
                    self.attempts.remove(attempt)
                    assert self.disk == (self.switch.active, self.switch.epoch)
                    if report.drained and report.from_slot != report.to:
                        for member in self.workers.values():
                            assert all(slot != report.from_slot for slot, _ in member.exchanges)
                            assert member.active == report.to
                case Refused(attempt, _):
                    self.attempts.remove(attempt)

    def pick(self, index: int) -> tuple[int, ModelWorker]:
        number = sorted(self.workers)[index % len(self.workers)]
        return number, self.workers[number]

    def kill(self, number: int) -> None:
        del self.workers[number]
        self.do(self.switch.lost(self.now, number))

    @initialize(count=st.integers(1, 3))
    def start(self, count: int) -> None:
        for _ in range(count):
            self.join()

    @precondition(lambda self: len(self.workers) < 4 and self.switch.decided)
    @rule()
    def join(self) -> None:
        self.numbers += 1
        self.workers[self.numbers] = ModelWorker(self.switch.join(self.numbers))

    @precondition(lambda self: self.workers)
    @rule(index=WORKERS)
    def die(self, index: int) -> None:
        self.kill(self.pick(index)[0])

    @precondition(lambda self: self.workers)
    @rule(claims=st.lists(st.tuples(WORKERS, SESSIONS), min_size=1, max_size=8))
    def claim(self, claims: list[tuple[int, str]]) -> None:
        for index, session in claims:
            self.pick(index)[1].claim(session)

    @precondition(lambda self: any(worker.exchanges for worker in self.workers.values()))
    @rule(index=WORKERS, which=st.integers(0, 5))
    def end(self, index: int, which: int) -> None:
        _, worker = self.pick(index)
        if worker.exchanges:
            worker.end(which % len(worker.exchanges))

    @precondition(lambda self: any(worker.inbox for worker in self.workers.values()))
    @rule(index=WORKERS)
    def obey(self, index: int) -> None:
        _, worker = self.pick(index)
        if worker.inbox:
            worker.obey()

    @precondition(lambda self: any(worker.outbox for worker in self.workers.values()))
    @rule(index=WORKERS)
    def hear(self, index: int) -> None:
        number, worker = self.pick(index)
        if worker.outbox:
            self.hear_one(number, worker)

    def hear_one(self, number: int, worker: ModelWorker) -> None:
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

    @precondition(lambda self: not self.switch.switching)
    @rule(to=st.sampled_from(["production", "temp"]), drain=st.sampled_from([0.0, 10.0]))
    def begin(self, to: str, drain: float) -> None:
        number, actions = self.switch.begin(self.now, to=to, hold=4.0, drain=drain)
        self.attempts.add(number)
        self.do(actions)

    @precondition(lambda self: self.writing is not None)
    @rule(works=st.booleans())
    def write(self, works: bool) -> None:
        writing, self.writing = self.writing, None
        assert writing is not None
        if works:
            self.disk = (writing.active, writing.epoch)
            self.do(self.switch.persisted(self.now, writing.attempt))
        else:
            self.do(self.switch.persist_failed(writing.attempt, "no room"))

    @precondition(lambda self: self.switch.deadline is not None)
    @rule()
    def expire(self) -> None:
        assert self.switch.deadline is not None
        self.now = max(self.now, self.switch.deadline)
        self.do(self.switch.expired(self.now))

    @rule(count=st.integers(1, 12))
    def go_on(self, count: int) -> None:
        """Several links' next messages at once, so that most runs get as far as several switches."""
        for _ in range(count):
            for number, worker in list(self.workers.items()):
                if worker.inbox:
                    worker.obey()
                elif worker.outbox:
                    self.hear_one(number, worker)

    @invariant()
    def new_requests_go_to_one_slot(self) -> None:
        open_slots = {worker.active for worker in self.workers.values() if worker.hold is None}
        assert len(open_slots) <= 1

    @invariant()
    def no_session_runs_on_both_slots(self) -> None:
        for session in ("a", "b"):
            slots = {slot for worker in self.workers.values() for slot, owner in worker.exchanges if owner == session}
            assert len(slots) <= 1

    @invariant()
    def the_disk_is_never_behind_a_worker(self) -> None:
        assert all(worker.epoch <= self.disk[1] for worker in self.workers.values())
        assert self.switch.epoch <= self.disk[1]

    @invariant()
    def every_attempt_is_answered(self) -> None:
        assert len(self.attempts) == (self.switch.phase is not Phase.IDLE)

    def teardown(self) -> None:
        for _ in range(10_000):
            if not self.step():
                break
        assert self.switch.phase is Phase.IDLE
        assert not self.attempts
        for worker in self.workers.values():
            assert worker.hold is None
            assert (worker.active, worker.epoch) == (self.switch.active, self.switch.epoch)
            assert not any(worker.barrier.values())

    def step(self) -> bool:
        """One thing that is still to happen; False when all is at rest."""
        if self.writing is not None:
            self.write(works=True)
            return True
        for number, worker in list(self.workers.items()):
            if worker.inbox:
                worker.obey()
            elif worker.outbox:
                self.hear_one(number, worker)
            elif worker.exchanges:
                worker.end(0)
            else:
                continue
            return True
        return False


SwitchoverMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_switchover_under_any_order_of_events = SwitchoverMachine.TestCase
