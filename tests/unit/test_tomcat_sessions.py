"""When a switch would lose sessions, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from deployer.errors import InstanceError
from deployer.tomcat.control import ControlError
from deployer.tomcat.log import LogRecord
from deployer.tomcat.sessions import check, compare, dropped, wait_transferred

MANAGER = "org.apache.catalina.ha.session.DeltaManager"


class FakeClock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeFacts:
    """An instance whose answers come one after the other; the last one stays."""

    sessions: list[int | None] = field(default_factory=lambda: [0])
    transferred: list[bool | None] = field(default_factory=lambda: [True])
    peers: list[tuple[int, ...]] = field(default_factory=lambda: [(4101,)])
    down: int = 0

    def active_sessions(self) -> int | None:
        return self.sessions.pop(0) if len(self.sessions) > 1 else self.sessions[0]

    def state_transferred(self) -> bool | None:
        if self.down:
            self.down -= 1
            raise ControlError("not yet")
        return self.transferred.pop(0) if len(self.transferred) > 1 else self.transferred[0]

    def members(self) -> tuple[int, ...]:
        return self.peers.pop(0) if len(self.peers) > 1 else self.peers[0]


def severe(source: str, message: str, *detail: str) -> LogRecord:
    return LogRecord("SEVERE", source, message, detail)


def test_a_session_that_came_twice_is_not_lost() -> None:
    twice = LogRecord("WARNING", f"{MANAGER}.deserializeSessions", "overload existing session [AB12]", ())
    assert dropped([twice]) == []


UNREADABLE = severe(
    f"{MANAGER}.deserializeSessions",
    "IOException while loading persisted sessions",
    "\tjava.io.InvalidClassException: shop.Cart; local class incompatible",
)
AGAIN = severe(
    f"{MANAGER}.messageReceived",
    "Unable to receive message through TCP channel",
    "\tjava.io.InvalidClassException: shop.Cart; local class incompatible",
    f"\t\tat {MANAGER}.deserializeSessions(DeltaManager.java:716)",
)


def test_a_peer_that_was_stopped_does_not_count_against_the_slot_that_lost_it() -> None:
    sender = "org.apache.catalina.tribes.transport.nio.ParallelNioSender.sendMessage"
    refused = severe(sender, "Member send is failing", "java.net.ConnectException: Connection refused", "\tat x.Y.z(Y)")
    faulty = severe(sender, "Unable to send", "org.apache.catalina.tribes.ChannelException: Faulty members: one")
    assert dropped([refused, faulty]) == []
    other = severe("org.apache.catalina.tribes.group.GroupChannel.x", "odd", "java.lang.IllegalStateException: why")
    assert dropped([other]) == ["session replication reports: java.lang.IllegalStateException: why"]


@pytest.mark.parametrize(
    ("live", "idle", "ok"),
    [(0, 0, True), (10, 10, True), (10, 9, False), (100, 98, True), (100, 97, False), (60, 2, False), (5, 9, True)],
)
def test_few_sessions_must_all_be_there(live: int, idle: int, ok: bool) -> None:
    assert compare(live, idle, 0.02).ok is ok


def test_what_is_missing_is_said() -> None:
    assert str(compare(60, 2, 0.02)) == ("58 of 60 sessions are not on the other slot: these users would be logged out")
    assert "live slot does not tell" in str(compare(None, 2, 0.02))
    assert "idle slot does not tell" in str(compare(2, None, 0.02))


def test_the_log_tells_of_sessions_that_tomcat_dropped_silently() -> None:
    assert dropped([UNREADABLE, AGAIN, UNREADABLE, AGAIN]) == [
        "a session could not be read by this release: java.io.InvalidClassException: shop.Cart; "
        "local class incompatible (2 times)"
    ]
    stuck = severe(f"{MANAGER}.requestCompleted", "Unable to serialize", "\tjava.io.NotSerializableException: shop.Db")
    assert dropped([stuck]) == ["a session cannot travel to the other slot: java.io.NotSerializableException: shop.Db"]
    assert dropped([severe("shop.Orders", "no orders")]) == []
    assert dropped([LogRecord("INFO", f"{MANAGER}.waitForSendAllSessions", "received in [12] ms")]) == []


def test_many_causes_are_counted_and_not_all_told() -> None:
    many = [
        severe(f"{MANAGER}.requestCompleted", "no", f"\tjava.io.NotSerializableException: shop.C{n}") for n in range(9)
    ]
    assert len(dropped(many)) == 6
    assert dropped(many)[-1] == "and 4 other causes"


def test_check_waits_until_the_counts_agree() -> None:
    clock = FakeClock()
    found = check(FakeFacts([100]), FakeFacts([90, 95, 100]), list, 0.0, 5, clock)
    assert found.ok
    assert (found.live, found.idle) == (100, 100)
    assert clock.now < 1


def test_check_gives_up_and_a_bad_log_counts_even_when_the_counts_agree() -> None:
    found = check(FakeFacts([100]), FakeFacts([90]), list, 0.0, 5, FakeClock())
    assert not found.ok
    found = check(FakeFacts([100]), FakeFacts([100]), lambda: [UNREADABLE], 0.0, 5, FakeClock())
    assert not found.ok
    assert "shop.Cart" in str(found)


def test_slots_that_do_not_see_each_other_are_no_match() -> None:
    found = check(FakeFacts([5]), FakeFacts([5], peers=[()]), list, 0.0, 5, FakeClock())
    assert "do not see each other" in str(found)
    assert check(FakeFacts([5], peers=[(), (4102,)]), FakeFacts([5]), list, 0.0, 5, FakeClock()).ok


def test_a_transfer_is_waited_for_through_a_control_service_that_is_not_up_yet() -> None:
    facts = FakeFacts(transferred=[False, False, True], down=2)
    wait_transferred(facts, list, 5, FakeClock(), lambda stage: None)
    assert facts.transferred == [True]


@pytest.mark.parametrize(
    ("facts", "records", "why"),
    [
        (FakeFacts(transferred=[False]), [], "did not arrive within 5 s"),
        (FakeFacts(peers=[()]), [], "found no other slot"),
        (FakeFacts(transferred=[None]), [], "sessions.replicate"),
        (
            FakeFacts(transferred=[False]),
            [LogRecord("WARNING", f"{MANAGER}.waitForSendAllSessions", "timing out after [30,000] ms")],
            "timing out",
        ),
    ],
)
def test_a_transfer_that_fails_says_why(facts: FakeFacts, records: list[LogRecord], why: str) -> None:
    with pytest.raises(InstanceError, match=why) as error:
        wait_transferred(facts, lambda: records, 5, FakeClock(), lambda stage: None)
    assert "restart" in error.value.advice
