"""A switch, step by step: each event of a worker or of the disk, and what is done about it."""

from __future__ import annotations

import pytest

from proxy.core import orders
from proxy.core.switchover import (
    CUT_SECONDS,
    SWITCH_SECONDS,
    Action,
    Persist,
    Phase,
    Refused,
    Replace,
    Reported,
    Send,
    SwitchBusyError,
    Switchover,
)
from proxy.wire import InflightExchange

EXCHANGE = InflightExchange(
    id="r1", slot="production", method="GET", path="/slow", age_ms=9, bytes=0, client="127.0.0.1", worker=1
)


def machine(*workers: int) -> Switchover:
    switch = Switchover("shop", "production", 4)
    for worker in workers:
        assert switch.join(worker) == orders.ActiveSlot(active="production", epoch=4)
    return switch


def begin(switch: Switchover, *, now: float = 0.0, to: str = "temp") -> list[Action]:
    return switch.begin(now, to=to, hold=5.0, drain=30.0)[1]


def ack(attempt: int = 1, *busy: str, in_flight: int = 0, tunnels: int = 0) -> orders.HoldAck:
    return orders.HoldAck(app="shop", epoch=5, attempt=attempt, busy=busy, in_flight=in_flight, tunnels=tunnels)


def switched(held: int = 0, hold_ms: float = 0.0, epoch: int = 5) -> orders.SwitchAck:
    return orders.SwitchAck(app="shop", epoch=epoch, held=held, hold_ms=hold_ms)


DRAINED = orders.Drained(app="shop", epoch=5, slot="production")


def at_persist(*workers: int) -> Switchover:
    switch = machine(*workers)
    begin(switch)
    for worker in workers:
        switch.hold_ack(0.0, worker, ack())
    return switch


def at_drain(*workers: int) -> Switchover:
    switch = at_persist(*workers)
    switch.persisted(0.0, 1)
    for worker in workers:
        switch.switch_ack(1.0, worker, switched())
    return switch


def test_a_switch_of_two_workers() -> None:
    switch = machine(1, 2)
    hold = orders.Hold(app="shop", epoch=5, attempt=1, hold=5.0, staying="temp", to="temp")
    assert begin(switch) == [Send(1, hold), Send(2, hold)]
    assert switch.hold_ack(0.1, 1, ack(1, "a", "b", in_flight=3, tunnels=1)) == []
    assert not switch.decided
    assert switch.hold_ack(0.2, 2, ack(1, "b", in_flight=2)) == [Persist(1, "temp", 5)]
    assert (switch.active, switch.epoch) == ("production", 4)
    order = orders.Switch(app="shop", epoch=5, to="temp", busy={"a": 1, "b": 2})
    assert switch.persisted(0.3, 1) == [Send(1, order), Send(2, order)]
    assert (switch.active, switch.epoch) == ("temp", 5)
    assert switch.switch_ack(0.4, 1, switched(held=7, hold_ms=2.5)) == []
    drain = orders.Drain(app="shop", epoch=5, slot="production")
    assert switch.switch_ack(0.5, 2, switched(held=1, hold_ms=0.5)) == [Send(1, drain), Send(2, drain)]
    assert switch.draining == "production"
    assert switch.drained(0.6, 1, DRAINED) == []
    [done] = switch.drained(1.5, 2, DRAINED)
    assert isinstance(done, Reported)
    report = done.report
    assert (report.app, report.from_slot, report.to, report.epoch) == ("shop", "production", "temp", 5)
    assert (report.workers, report.hold_ms, report.held, report.in_flight) == (2, 2.5, 8, 5)
    assert (report.barrier_sessions, report.tunnels) == (2, 1)
    assert (report.drained, report.cut) == (True, ())
    assert report.drain_ms == pytest.approx(1000)
    assert switch.phase is Phase.IDLE


def test_sessions_that_end_are_told_to_all() -> None:
    switch = machine(1, 2)
    begin(switch)
    switch.hold_ack(0.0, 1, ack(1, "a", "b"))
    ended = orders.SessionsEnded(app="shop", epoch=5, sessions=("a", "c"))
    assert switch.sessions_ended(2, ended) == [], "worker 2 has not acknowledged: this is of an older hold"
    assert switch.sessions_ended(1, ended) == [], "not switched yet: the order to switch tells it"
    switch.hold_ack(0.0, 2, ack(1, "b"))
    sent = switch.persisted(0.0, 1)
    assert [send.order for send in sent if isinstance(send, Send)] == [
        orders.Switch(app="shop", epoch=5, to="temp", busy={"b": 2})
    ] * 2
    b_ended = orders.SessionsEnded(app="shop", epoch=5, sessions=("b",))
    assert switch.sessions_ended(1, b_ended) == [Send(1, b_ended), Send(2, b_ended)]
    assert switch.sessions_ended(1, b_ended) == [], "once"
    assert switch.join(3).busy == {"b": 1}
    assert switch.lost(0.0, 2)[:2] == [Send(1, b_ended), Send(3, b_ended)]
    assert switch.join(4).busy == {}


def test_a_worker_that_does_not_acknowledge_the_hold() -> None:
    switch = machine(1, 2)
    begin(switch)
    switch.hold_ack(0.0, 1, ack())
    assert switch.deadline == 2.5
    assert switch.expired(2.4) == []
    release = orders.ReleaseHold(app="shop", epoch=5, attempt=1)
    reason = "worker 2 did not acknowledge the hold in time"
    assert switch.expired(2.5) == [Send(1, release), Send(2, release), Refused(1, reason), Replace(2, reason)]
    assert (switch.active, switch.epoch, switch.phase) == ("production", 4, Phase.IDLE)
    assert switch.hold_ack(3.0, 2, ack()) == []


def test_an_answer_to_an_abandoned_hold_does_not_count_for_the_next() -> None:
    switch = machine(1)
    begin(switch)
    switch.expired(2.5)
    begin(switch, now=3.0)
    assert switch.hold_ack(3.0, 1, ack(1)) == []
    assert switch.persisted(3.0, 1) == []
    assert switch.hold_ack(3.0, 1, ack(2)) == [Persist(2, "temp", 5)]


def test_a_worker_that_dies_is_not_waited_for() -> None:
    switch = machine(1, 2, 3)
    begin(switch)
    switch.hold_ack(0.0, 1, ack())
    assert switch.lost(0.0, 2) == []
    assert switch.lost(0.0, 3) == [Persist(1, "temp", 5)]
    assert [action.worker for action in switch.persisted(0.0, 1) if isinstance(action, Send)] == [1]
    drain = orders.Drain(app="shop", epoch=5, slot="production")
    assert switch.join(4) == orders.ActiveSlot(active="temp", epoch=5)
    assert switch.switch_ack(0.0, 1, switched()) == [Send(1, drain), Send(4, drain)]
    switch.drained(0.0, 4, DRAINED)
    [done] = switch.lost(0.0, 1)
    assert isinstance(done, Reported)
    assert done.report.drained


def test_a_switch_without_workers() -> None:
    switch = machine()
    assert begin(switch) == [Persist(1, "temp", 5)]
    [done] = switch.persisted(0.0, 1)
    assert isinstance(done, Reported)
    assert switch.active == "temp"


def test_nothing_joins_an_undecided_switch() -> None:
    switch = at_persist(1)
    with pytest.raises(RuntimeError):
        switch.join(2)
    switch.persisted(0.0, 1)
    assert switch.join(2) == orders.ActiveSlot(active="temp", epoch=5)


def test_the_disk_refuses() -> None:
    switch = at_persist(1, 2)
    release = orders.ReleaseHold(app="shop", epoch=5, attempt=1)
    assert switch.persist_failed(1, "full") == [Send(1, release), Send(2, release), Refused(1, "full")]
    assert (switch.active, switch.epoch, switch.phase) == ("production", 4, Phase.IDLE)


def test_a_worker_that_does_not_acknowledge_the_switch_is_replaced_and_its_death_waited_for() -> None:
    switch = at_persist(1, 2)
    switch.persisted(0.0, 1)
    switch.switch_ack(0.0, 1, switched())
    [replace] = switch.expired(SWITCH_SECONDS)
    assert isinstance(replace, Replace)
    assert replace.worker == 2
    assert (switch.active, switch.phase, switch.deadline) == ("temp", Phase.SWITCHING, None)
    assert switch.lost(3.0, 2) == [Send(1, orders.Drain(app="shop", epoch=5, slot="production"))]


def test_what_outlasts_the_drain_is_cut_and_reported() -> None:
    switch = at_drain(1, 2)
    assert switch.deadline == 31.0
    switch.drained(2.0, 2, DRAINED)
    assert switch.expired(31.0) == [Send(1, orders.Cut(app="shop", epoch=5, slot="production"))]
    switch.cut_report(orders.CutReport(app="shop", epoch=5, slot="production", exchanges=(EXCHANGE,)))
    [done] = switch.drained(31.5, 1, DRAINED)
    assert isinstance(done, Reported)
    assert (done.report.drained, done.report.cut) == (False, (EXCHANGE,))
    assert done.report.drain_ms == pytest.approx(30500)


def test_a_cut_that_is_never_answered_ends() -> None:
    switch = at_drain(1)
    switch.expired(31.0)
    [done] = switch.expired(31.0 + CUT_SECONDS)
    assert isinstance(done, Reported)
    assert not done.report.drained


def test_switching_back_ends_the_drain() -> None:
    switch = at_drain(1)
    first, *rest = begin(switch, now=2.0, to="production")
    assert isinstance(first, Reported)
    assert (first.attempt, first.report.drained, first.report.to) == (1, False, "temp")
    assert rest == [
        Send(1, orders.Hold(app="shop", epoch=6, attempt=2, hold=5.0, staying="production", to="production"))
    ]
    assert switch.drained(2.0, 1, DRAINED) == []


def test_one_switch_at_a_time() -> None:
    switch = machine(1)
    begin(switch)
    with pytest.raises(SwitchBusyError):
        begin(switch, to="production")


def test_a_switch_to_the_active_slot_changes_nothing() -> None:
    switch = at_drain(1)
    number, [done] = switch.begin(2.0, to="temp", hold=1.0, drain=1.0)
    assert isinstance(done, Reported)
    assert done.attempt == number
    assert (done.report.from_slot, done.report.to, done.report.epoch) == ("temp", "temp", 5)
    assert switch.draining == "production"


def test_old_answers_are_ignored() -> None:
    switch = at_drain(1)
    begin(switch, to="production")
    assert switch.switch_ack(0.0, 1, switched()) == []
    assert switch.sessions_ended(1, orders.SessionsEnded(app="shop", epoch=5, sessions=("a",))) == []
    switch.hold_ack(0.0, 1, orders.HoldAck(app="shop", epoch=6, attempt=2))
    switch.persisted(0.0, 2)
    assert switch.switch_ack(0.0, 1, switched(epoch=5)) == []
    assert switch.phase is Phase.SWITCHING


def test_a_disk_slower_than_the_hold_has_requests_held_once_more() -> None:
    switch = at_persist(1, 2)
    hold = orders.Hold(app="shop", epoch=5, attempt=1, hold=5.0, staying="temp", to="temp")
    assert switch.persisted(4.0, 1) == [Send(1, hold), Send(2, hold)]
    assert (switch.active, switch.epoch, switch.phase, switch.deadline) == ("production", 4, Phase.HOLDING, 6.5)
    assert not switch.decided
    assert switch.hold_ack(4.1, 1, ack(1, "a", in_flight=2)) == []
    switch.sessions_ended(1, orders.SessionsEnded(app="shop", epoch=5, sessions=("a",)))
    order = orders.Switch(app="shop", epoch=5, to="temp", busy={"b": 1})
    assert switch.hold_ack(4.2, 2, ack(1, "b", in_flight=1)) == [Send(1, order), Send(2, order)]
    assert (switch.active, switch.epoch) == ("temp", 5)
    switch.switch_ack(4.3, 1, switched())
    switch.switch_ack(4.3, 2, switched())
    switch.drained(4.4, 1, DRAINED)
    [reported] = switch.drained(4.4, 2, DRAINED)
    assert isinstance(reported, Reported)
    assert (reported.report.in_flight, reported.report.barrier_sessions) == (3, 1), "as of the second hold"


def test_what_is_durable_is_not_abandoned_for_a_worker_that_does_not_answer() -> None:
    switch = at_persist(1, 2)
    switch.persisted(4.0, 1)
    switch.hold_ack(4.1, 1, ack())
    assert switch.expired(6.5) == [Replace(2, "worker 2 did not acknowledge the hold in time")]
    assert switch.deadline is None
    assert switch.lost(6.6, 2) == [Send(1, orders.Switch(app="shop", epoch=5, to="temp"))]


def test_a_second_hold_without_workers_is_over_at_once() -> None:
    switch = at_persist(1)
    switch.lost(3.0, 1)
    [reported] = switch.persisted(9.0, 1)
    assert isinstance(reported, Reported)
    assert (switch.active, switch.epoch) == ("temp", 5)
