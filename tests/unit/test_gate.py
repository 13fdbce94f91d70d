"""The gate's rules one by one; test_gate_model.py has them in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest

from proxy.core.gate import LINGER, Effects, Gate, GateFullError, Maintenance, MaintenanceError, Ticket
from proxy.core.sessions import session_of
from proxy.http1.head import RequestHead, parse_request

NOW = 1000.0
BARRIER = 2.0


@dataclass(eq=False)
class Owner:
    """A request. `log`: what the gate's effects would have done to it."""

    head: RequestHead
    log: list[str] = field(default_factory=list)

    def wake(self) -> None:
        self.log.append("wake")

    def refuse(self) -> None:
        self.log.append("refuse")


def request(session: str | None = None, path: str = "/") -> Owner:
    cookie = f"Cookie: x=y; JSESSIONID={session}\r\n" if session else ""
    head = parse_request(f"GET {path} HTTP/1.1\r\nHost: a\r\n{cookie}\r\n".encode())
    assert head is not None
    return Owner(head)


def key(session: str) -> str:
    found = session_of(f"JSESSIONID={session}".encode(), b"/", "JSESSIONID")
    assert found is not None
    return found


def make_gate(**options: object) -> Gate:
    settings: dict[str, object] = {"session_cookie": "JSESSIONID", "barrier": BARRIER, "max_wait": 10.0, **options}
    return Gate("shop", ("production", "temp"), "production", 0, **settings)  # type: ignore[arg-type]


def granted(gate: Gate, owner: Owner, now: float = NOW) -> Ticket:
    ticket = gate.claim(owner, now)
    assert ticket is not None
    return ticket


@pytest.fixture
def gate() -> Gate:
    return make_gate()


# --- requests ------------------------------------------------------------------------------------------------------


def test_a_claim_gets_the_active_slot_and_is_counted(gate: Gate) -> None:
    ticket = granted(gate, request())
    assert ticket.slot is gate.active is gate.slots["production"]
    assert gate.active.outstanding == {ticket}
    assert gate.release(ticket, NOW) is None
    assert gate.active.outstanding == set()


def test_a_second_release_is_an_error_and_changes_nothing(gate: Gate) -> None:
    ticket, other = granted(gate, request()), granted(gate, request())
    gate.release(ticket, NOW)
    with pytest.raises(AssertionError, match="released twice"):
        gate.release(ticket, NOW)
    assert gate.active.outstanding == {other}


def test_tunnels_are_counted_until_their_release(gate: Gate) -> None:
    ticket = granted(gate, request())
    gate.tunnel(ticket)
    assert (gate.active.tunnels, repr(ticket)) == (1, "<Ticket production tunnel>")
    gate.release(ticket, NOW)
    assert (gate.active.tunnels, repr(ticket)) == (0, "<Ticket production tunnel released>")


def test_an_unheld_gate_with_max_held_zero_still_admits() -> None:
    gate = make_gate(max_held=0)
    granted(gate, request())
    gate.hold(1, 1, 5.0, NOW)
    with pytest.raises(GateFullError) as refused:
        gate.claim(request(), NOW)
    assert refused.value.status == 503


# --- holds ---------------------------------------------------------------------------------------------------------


def test_a_held_request_waits_until_the_switch_and_gets_the_new_slot(gate: Gate) -> None:
    gate.hold(1, 1, 5.0, NOW)
    first, second = request(), request()
    assert gate.claim(first, NOW) is None
    assert gate.claim(second, NOW + 0.001) is None
    result = gate.switch(1, "temp", {}, NOW + 0.003)
    assert result is not None
    assert (result.held, result.effects.wake) == (2, [first, second])
    assert result.hold_ms == pytest.approx(3.0)
    assert granted(gate, first).slot.name == "temp"
    assert gate.held == 1
    assert granted(gate, second).slot.name == "temp"
    assert gate.held == 0


def test_waiting_is_bounded_and_the_bound_does_not_lose_a_place(gate: Gate) -> None:
    gate = make_gate(max_held=2)
    gate.hold(1, 1, 5.0, NOW)
    first = request()
    gate.claim(first, NOW)
    gate.claim(request(), NOW)
    with pytest.raises(GateFullError):
        gate.claim(request(), NOW)
    assert gate.claim(first, NOW + 1) is None  # it claims again, and waits on in its place
    assert gate.held == 2
    gate.leave(first)
    assert gate.claim(request(), NOW + 1) is None


def test_who_has_left_is_not_woken(gate: Gate) -> None:
    gate.hold(1, 1, 5.0, NOW)
    gone, stays = request(), request()
    gate.claim(gone, NOW)
    gate.claim(stays, NOW)
    gate.leave(gone)
    assert gate.release_hold(1, 1).wake == [stays]


def test_patience_ends_at_its_own_time_and_is_not_renewed_by_a_second_claim(gate: Gate) -> None:
    gate.hold(1, 1, 60.0, NOW)
    first, second = request(), request()
    gate.claim(first, NOW)
    gate.claim(second, NOW + 4)
    gate.claim(first, NOW + 9)
    assert gate.look(NOW + 9.9).refuse == []
    assert gate.look(NOW + 10).refuse == [first]
    assert gate.look(NOW + 10).refuse == []
    assert gate.look(NOW + 14).refuse == [second]
    assert gate.held == 0


def test_a_hold_that_nobody_ends_ends_by_itself(gate: Gate) -> None:
    result = gate.hold(1, 1, 2.0, NOW)
    assert result is not None
    assert result.look_again == NOW + 2
    owner = request()
    gate.claim(owner, NOW)
    assert gate.look(NOW + 1.9).wake == []
    assert gate.look(NOW + 2).wake == [owner]
    assert granted(gate, owner).slot.name == "production"


def test_a_hold_ends_when_no_order_can_end_it_any_more(gate: Gate) -> None:
    assert gate.orders_ended() == Effects()
    gate.hold(1, 1, 5.0, NOW)
    waiting = request()
    assert gate.claim(waiting, NOW) is None
    assert gate.orders_ended().wake == [waiting]
    assert granted(gate, waiting).slot is gate.slots["production"]


def test_only_the_hold_that_is_abandoned_ends(gate: Gate) -> None:
    owner = request()
    gate.hold(1, 1, 5.0, NOW)
    gate.claim(owner, NOW)
    assert gate.release_hold(1, 2) == Effects()
    assert gate.release_hold(2, 1) == Effects()
    gate.hold(1, 2, 5.0, NOW)
    assert gate.release_hold(1, 1) == Effects()
    assert gate.claim(owner, NOW) is None
    assert gate.release_hold(1, 2).wake == [owner]


def test_the_second_of_two_holds_still_counts_the_wait_from_the_first(gate: Gate) -> None:
    gate.hold(1, 1, 5.0, NOW)
    gate.hold(1, 2, 5.0, NOW + 0.5)
    result = gate.switch(1, "temp", {}, NOW + 1)
    assert result is not None
    assert result.hold_ms == pytest.approx(1000.0)


def test_orders_of_an_old_epoch_are_ignored(gate: Gate) -> None:
    gate.hold(5, 1, 5.0, NOW)
    gate.switch(5, "temp", {key("a"): 1}, NOW)
    before = repr(gate)
    for epoch in (0, 4, 5):
        assert gate.hold(epoch, 9, 5.0, NOW) is None
        assert gate.switch(epoch, "production", {}, NOW) is None
    for epoch in (4, 6):
        assert gate.sessions_ended(epoch, [key("a")]) == Effects()
        assert gate.drain(epoch, "production") == Effects()
    assert repr(gate) == before
    assert gate.active.name == "temp"
    assert gate.claim(request("a"), NOW) is None


# --- the session barrier ---------------------------------------------------------------------------------------------


def test_a_hold_tells_the_busy_sessions_and_what_is_in_flight(gate: Gate) -> None:
    for session in ("a", "a", "b", None):
        granted(gate, request(session))
    gate.tunnel(granted(gate, request("c")))
    endless, fresh = granted(gate, request("d")), granted(gate, request("e"))
    endless.streaming_since, fresh.streaming_since = NOW - BARRIER, NOW - BARRIER + 0.1
    result = gate.hold(1, 1, 5.0, NOW)
    assert result is not None
    assert set(result.busy) == {key("a"), key("b"), key("e")}
    assert (result.in_flight, result.tunnels) == (7, 1)


def test_without_a_session_cookie_there_is_no_barrier() -> None:
    gate = make_gate(session_cookie=None)
    granted(gate, request("a"))
    result = gate.hold(1, 1, 5.0, NOW)
    assert result is not None
    assert result.busy == ()


def test_a_session_waits_until_every_worker_has_ended_it(gate: Gate) -> None:
    gate.hold(1, 1, 5.0, NOW)
    gate.switch(1, "temp", {key("a"): 2, key("b"): 1}, NOW)
    owner = request("a")
    assert gate.claim(owner, NOW) is None
    granted(gate, request())
    granted(gate, request("c"))
    gate.sessions_ended(1, [key("a")])
    assert gate.claim(owner, NOW) is None
    assert gate.sessions_ended(1, [key("a"), key("unknown")]).wake == [owner]
    assert granted(gate, owner).slot.name == "temp"
    assert gate.claim(request("b"), NOW) is None


def test_the_end_of_one_session_wakes_its_requests_alone(gate: Gate) -> None:
    gate.switch(1, "temp", {key(session): 1 for session in "abc"}, NOW)
    owners = {number: request(session) for number, session in enumerate("abacab")}
    for owner in owners.values():
        assert gate.claim(owner, NOW) is None
    assert gate.sessions_ended(1, [key("c"), key("c")]).wake == [owners[3]]
    woken = gate.sessions_ended(1, [key("b"), key("a")]).wake
    assert woken == [owners[number] for number in (0, 1, 2, 4, 5)], "in the order of their arrival"
    assert gate.sessions_ended(1, [key("a"), key("b")]).wake == []


def test_who_has_left_is_not_woken_by_the_end_of_its_session(gate: Gate) -> None:
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    gone, stays, served = request("a"), request("a"), request("a")
    for owner in (gone, stays, served):
        assert gate.claim(owner, NOW) is None
    gate.leave(gone)
    assert gate.sessions_ended(1, [key("a")]).wake == [stays, served]
    granted(gate, served)
    assert gate.held == 1


def test_a_request_that_waited_for_its_session_waits_for_a_hold_then_and_the_reverse(gate: Gate) -> None:
    gate.switch(1, "temp", {key("a"): 1, key("b"): 1}, NOW)
    first, second = request("a"), request("b")
    assert gate.claim(first, NOW) is None
    gate.hold(2, 2, 5.0, NOW)
    assert gate.claim(second, NOW) is None
    assert gate.sessions_ended(1, [key("a")]).wake == [first]
    assert gate.claim(first, NOW) is None
    assert gate.release_hold(2, 2).wake == [first, second]
    granted(gate, first)
    assert gate.claim(second, NOW) is None
    assert gate.sessions_ended(1, [key("b")]).wake == [second]
    granted(gate, second)


def test_the_claims_of_a_crowd_that_waits_for_its_sessions_are_two_for_each_request(gate: Gate) -> None:
    sessions = [f"s{number}" for number in range(500)]
    gate.switch(1, "temp", {key(session): 1 for session in sessions}, NOW)
    crowd = [request(session) for session in sessions for _ in range(2)]
    for owner in crowd:
        assert gate.claim(owner, NOW) is None
    claims = len(crowd)
    for session in sessions:
        for owner in gate.sessions_ended(1, [key(session)]).wake:
            claims += 1
            assert gate.claim(owner, NOW) is not None
    assert (claims, gate.held) == (2 * len(crowd), 0)


def test_the_barrier_ends_at_its_bound(gate: Gate) -> None:
    result = gate.switch(1, "temp", {key("a"): 1}, NOW)
    assert result is not None
    assert result.effects.look_again == NOW + BARRIER
    owner = request("a")
    gate.claim(owner, NOW)
    assert gate.look(NOW + BARRIER - 0.1).wake == []
    assert gate.look(NOW + BARRIER).wake == [owner]
    granted(gate, owner)


def test_a_gate_made_after_the_switch_has_its_barrier_too(gate: Gate) -> None:
    assert gate.block({key("a"): 1}, NOW).look_again == NOW + BARRIER
    owner = request("a")
    assert gate.claim(owner, NOW) is None
    assert gate.sessions_ended(0, [key("a")]).wake == [owner]


def test_an_ended_session_is_told_once_it_can_be_replicated(gate: Gate) -> None:
    first, second = granted(gate, request("a")), granted(gate, request("a"))
    gate.hold(1, 1, 5.0, NOW)
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    assert gate.release(first, NOW + 1) == Effects()
    effects = gate.release(second, NOW + 1.5)
    assert effects is not None
    assert effects.sessions_ended == []
    assert effects.look_again == NOW + 1.5 + LINGER
    assert gate.look(NOW + 1.5 + LINGER / 2).sessions_ended == []
    assert gate.look(NOW + 1.5 + LINGER).sessions_ended == [(1, key("a"))]
    assert gate.look(NOW + 3).sessions_ended == []


def test_when_nobody_can_tell_who_is_busy_all_sessions_wait_for_the_barrier(gate: Gate) -> None:
    gate.hold(1, 1, 5.0, NOW)
    switched = gate.switch(1, "temp", None, NOW)
    assert switched is not None
    assert switched.effects.look_again == NOW + BARRIER
    assert granted(gate, request()).slot.name == "temp", "who has no session does not wait"
    waiting = request("one")
    assert gate.claim(waiting, NOW) is None
    assert gate.sessions_ended(1, [key("one")]).wake == [], "others may have it too"
    assert gate.look(NOW + BARRIER / 2).wake == []
    assert gate.look(NOW + BARRIER).wake == [waiting]
    assert granted(gate, waiting, NOW + BARRIER).slot.name == "temp"


def test_a_later_switch_knows_again_who_is_busy(gate: Gate) -> None:
    gate.switch(1, "temp", None, NOW)
    gate.switch(2, "production", {key("two"): 1}, NOW)
    granted(gate, request("one"))
    assert gate.claim(request("two"), NOW) is None


def test_a_session_that_ended_just_before_the_hold_is_busy_for_as_long_as_its_replication_takes(gate: Gate) -> None:
    gate.release(granted(gate, request("old")), NOW - LINGER - 0.01)
    gate.release(granted(gate, request("a")), NOW - 0.01)
    result = gate.hold(1, 1, 5.0, NOW)
    assert result is not None
    assert result.busy == (key("a"),)
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    assert gate.look(NOW + LINGER - 0.01).sessions_ended == []
    assert gate.look(NOW + LINGER).sessions_ended == [(1, key("a"))]


def test_what_ended_lately_is_remembered_no_longer_than_it_matters(gate: Gate) -> None:
    for number in range(100):
        gate.release(granted(gate, request("a")), NOW + number)
    assert len(gate.active.recent) == 1


def test_an_abandoned_hold_is_not_told_of_and_does_not_count_in_the_next(gate: Gate) -> None:
    """A stream that the first hold counted, and the second does not, must not end the session for the others."""
    stream, other = granted(gate, request("a")), granted(gate, request("a"))
    stream.streaming_since = NOW
    gate.hold(1, 1, 5.0, NOW)
    gate.release_hold(1, 1)
    later = NOW + BARRIER + 1
    gate.hold(1, 2, 5.0, later)
    gate.switch(1, "temp", {key("a"): 1}, later)
    gate.release(stream, later)
    assert gate.look(later + LINGER).sessions_ended == []
    gate.release(other, later + 0.5)
    assert gate.look(later + 0.5 + LINGER).sessions_ended == [(1, key("a"))]


def test_a_session_that_ends_during_the_hold_is_told_for_its_epoch(gate: Gate) -> None:
    ticket = granted(gate, request("a"))
    gate.hold(1, 1, 5.0, NOW)
    gate.release(ticket, NOW + 1)
    assert gate.look(NOW + 1 + LINGER).sessions_ended == [(1, key("a"))]


def test_of_an_abandoned_hold_nothing_is_told(gate: Gate) -> None:
    first, second = granted(gate, request("a")), granted(gate, request("b"))
    gate.hold(1, 1, 5.0, NOW)
    gate.release(first, NOW)
    gate.release_hold(1, 1)
    gate.release(second, NOW)
    assert gate.look(NOW + LINGER).sessions_ended == []


def test_a_slot_that_gets_no_requests_soon_remembers_no_sessions(gate: Gate) -> None:
    before, after = granted(gate, request("a")), granted(gate, request("b"))
    gate.release(before, NOW)
    gate.switch(1, "temp", {}, NOW)
    gate.release(after, NOW)
    gate.look(NOW + 2 * LINGER)
    assert not gate.slots["production"].recent


def test_a_session_that_ended_on_a_slot_that_drains_is_waited_for_too(gate: Gate) -> None:
    ticket = granted(gate, request("a"))
    gate.switch(1, "temp", {}, NOW)
    gate.release(ticket, NOW)
    gate.hold(2, 2, 5.0, NOW, "production")
    gate.switch(2, "production", {}, NOW + 0.01)
    assert gate.hold(3, 3, 5.0, NOW + 0.02, "temp").busy == (key("a"),)  # type: ignore[union-attr]


def test_a_third_slot_is_no_way_around_the_barrier(gate: Gate) -> None:
    gate.set_slots(("third",))
    ticket = granted(gate, request("a"))
    gate.hold(1, 1, 5.0, NOW, "temp")
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    assert gate.hold(2, 2, 5.0, NOW + 0.01, "third").busy == (key("a"),)  # type: ignore[union-attr]
    gate.release(ticket, NOW + 0.02)
    ended = gate.look(NOW + 0.02 + LINGER).sessions_ended
    assert sorted(ended) == [(1, key("a")), (2, key("a"))], "the barrier in force, and the one to come if it does"


def test_the_old_barrier_is_still_reported_during_the_next_hold(gate: Gate) -> None:
    ticket = granted(gate, request("a"))
    gate.hold(1, 1, 5.0, NOW)
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    waiting = request("a")
    assert gate.claim(waiting, NOW) is None
    gate.hold(2, 2, 5.0, NOW + 1, "production")
    gate.release(ticket, NOW + 1)
    assert gate.look(NOW + 1 + LINGER).sessions_ended == [(1, key("a"))]
    gate.sessions_ended(1, [key("a")])
    assert gate.claim(waiting, NOW + 1.1) is None  # for the hold now
    assert gate.release_hold(2, 2).wake == [waiting]
    granted(gate, waiting)


def test_an_abandoned_hold_leaves_the_old_barrier(gate: Gate) -> None:
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    owner = request("a")
    gate.hold(2, 1, 5.0, NOW)
    gate.release_hold(2, 1)
    assert gate.claim(owner, NOW) is None
    assert gate.sessions_ended(1, [key("a")]).wake == [owner]


def test_a_hold_during_the_barrier_holds_all(gate: Gate) -> None:
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    gate.hold(2, 1, 5.0, NOW)
    gate.sessions_ended(1, [key("a")])
    assert gate.claim(request("a"), NOW) is None
    assert gate.claim(request(), NOW) is None


def test_the_next_switch_forgets_the_barrier_before(gate: Gate) -> None:
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    gate.switch(2, "production", {}, NOW)
    granted(gate, request("a"))


def test_hold_and_barrier_that_end_together_wake_once(gate: Gate) -> None:
    gate.switch(1, "temp", {key("a"): 1}, NOW)
    owner = request("a")
    gate.claim(owner, NOW)
    gate.hold(2, 1, BARRIER, NOW)
    effects = gate.look(NOW + BARRIER)
    assert effects.wake == [owner]
    assert effects.look_again is None


def test_who_is_woken_is_not_refused_at_the_same_time(gate: Gate) -> None:
    gate = make_gate(max_wait=2.0)
    gate.hold(1, 1, 2.0, NOW)
    owner = request()
    gate.claim(owner, NOW)
    effects = gate.look(NOW + 2)
    assert (effects.wake, effects.refuse) == ([owner], [])


# --- drains --------------------------------------------------------------------------------------------------------


def test_an_empty_slot_is_drained_at_once(gate: Gate) -> None:
    gate.switch(1, "temp", {}, NOW)
    assert gate.drain(1, "production").drained == "production"


def test_a_slot_is_drained_with_its_last_ticket(gate: Gate) -> None:
    first, tunnel = granted(gate, request()), granted(gate, request())
    gate.tunnel(tunnel)
    gate.switch(1, "temp", {}, NOW)
    other = granted(gate, request())
    assert gate.drain(1, "production") == Effects()
    assert gate.release(other, NOW) == Effects()
    assert gate.release(first, NOW) == Effects()
    effects = gate.release(tunnel, NOW)
    assert effects is not None
    assert effects.drained == "production"


def test_a_drain_is_told_once_and_forgotten_by_the_next_switch(gate: Gate) -> None:
    ticket = granted(gate, request())
    gate.switch(1, "temp", {}, NOW)
    gate.drain(1, "production")
    gate.switch(2, "production", {}, NOW)
    assert gate.release(ticket, NOW) is None
    again = granted(gate, request())
    gate.switch(3, "temp", {}, NOW)
    gate.drain(3, "production")
    effects = gate.release(again, NOW)
    assert effects is not None
    assert effects.drained == "production"
    assert gate.release(granted(gate, request()), NOW) is None


# --- admission -----------------------------------------------------------------------------------------------------


def test_a_pause_holds_all_until_it_is_over(gate: Gate) -> None:
    assert gate.admit(5.0, None, NOW).look_again == NOW + 5
    first, second = request(), request()
    gate.claim(first, NOW)
    assert gate.admit(None, None, NOW + 1).wake == [first]
    granted(gate, first)
    gate.admit(5.0, None, NOW + 1)
    gate.claim(second, NOW + 1)
    assert gate.look(NOW + 6).wake == [second]
    granted(gate, second)


def test_a_pause_outlives_a_switch(gate: Gate) -> None:
    gate.admit(60.0, None, NOW)
    gate.hold(1, 1, 5.0, NOW)
    gate.switch(1, "temp", {}, NOW)
    assert gate.claim(request(), NOW) is None


def test_maintenance_answers_all_also_those_that_wait(gate: Gate) -> None:
    page = Maintenance(b"<p>soon</p>", 30)
    gate.hold(1, 1, 5.0, NOW)
    owner = request()
    gate.claim(owner, NOW)
    assert gate.admit(None, page, NOW).wake == [owner]
    with pytest.raises(MaintenanceError) as refused:
        gate.claim(owner, NOW)
    assert refused.value.maintenance is page
    assert gate.held == 0
    gate.admit(None, None, NOW)
    assert gate.claim(owner, NOW) is None  # the hold is still there


# --- facts ---------------------------------------------------------------------------------------------------------


def test_new_slots_are_added_and_old_ones_keep_their_tickets(gate: Gate) -> None:
    ticket = granted(gate, request())
    gate.set_slots(["production", "blue"])
    assert set(gate.slots) == {"production", "temp", "blue"}
    assert gate.slots["production"].outstanding == {ticket}


def test_representations_say_what_is(gate: Gate) -> None:
    assert repr(gate) == "<Gate shop epoch=0 active=production>"
    ticket = granted(gate, request())
    assert ticket.streaming_since == math.inf
    gate.hold(1, 1, 5.0, NOW)
    gate.claim(request(), NOW)
    assert repr(gate) == "<Gate shop epoch=0 active=production held=1 holding>"
    assert repr(gate.active) == "<Slot production outstanding=1 tunnels=0>"
    gate.switch(1, "temp", {key("a"): 2, key("b"): 1}, NOW)
    assert repr(gate) == "<Gate shop epoch=1 active=temp held=1 <Barrier sessions=2>>"
    gate.switch(2, "temp", None, NOW)
    assert repr(gate) == "<Gate shop epoch=2 active=temp held=1 <Barrier all sessions>>"
