"""Are the users' sessions on the other slot too? Asked before every switch and every stop.

Tomcat's own word is not enough: it reports a finished transfer also when sessions could not be read by the new
release's classes. So the counts of both slots are compared and the log is read for sessions that were dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deployer.errors import InstanceError
from deployer.tomcat.control import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from deployer.clock import Clock
    from deployer.tomcat.log import LogRecord

_LOOK_INTERVAL = 0.2
"""Seconds between two looks: Tomcat tells nobody when a transfer has ended."""

_MOST_CAUSES = 5
_SENDING = ("java.net.", "org.apache.catalina.tribes.ChannelException")
_APART = "the slots do not see each other in the session cluster: restart the one that users are not on"


class SessionFacts(Protocol):
    """What sessions.py asks of an instance's control service."""

    def active_sessions(self) -> int | None:
        """How many sessions there are."""

    def state_transferred(self) -> bool | None:
        """Whether the peers' sessions have arrived."""

    def members(self) -> tuple[int, ...]:
        """The peers' cluster ports."""


@dataclass(frozen=True, slots=True)
class SessionCheck:
    """Whether a switch from `live` to `idle` loses no session. live, idle: sessions there, None when unknown."""

    live: int | None
    idle: int | None
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.problems

    def __str__(self) -> str:
        return "; ".join(self.problems) if self.problems else f"{self.live} sessions there, {self.idle} here"


def compare(live: int | None, idle: int | None, tolerance: float) -> SessionCheck:
    """Compares the counts of two slots. tolerance: the share of the live sessions that traffic may account for.

    Rounded down, so that of few sessions none may be missing. More sessions on the idle slot lose nobody.
    """
    if live is None or idle is None:
        which = "live" if live is None else "idle"
        return SessionCheck(live, idle, (f"the {which} slot does not tell how many sessions it has",))
    missing = live - idle
    if missing <= int(live * tolerance):
        return SessionCheck(live, idle)
    return SessionCheck(
        live, idle, (f"{missing} of {live} sessions are not on the other slot: these users would be logged out",)
    )


def dropped(records: Iterable[LogRecord]) -> list[str]:
    """What a log says of sessions that did not arrive or will not travel, in plain words, each cause once."""
    said: dict[str, int] = {}
    for record in records:
        words = _dropped(record)
        if words:
            said[words] = said.get(words, 0) + 1
    lines = [f"{words} ({count} times)" if count > 1 else words for words, count in said.items()]
    more = len(lines) - _MOST_CAUSES
    return [*lines[:_MOST_CAUSES], *([f"and {more} other causes"] if more > 0 else [])]


def _dropped(record: LogRecord) -> str:
    cause = next(iter(reversed(record.causes())), record.message)
    if not record.about_sessions or record.level == "INFO":
        return ""
    if record.source.endswith("DeltaManager.deserializeSessions"):
        if not record.severe:
            return ""  # "overload existing session": it was replicated before its transfer, which replaces it
        return f"a session could not be read by this release: {cause}"
    # Tomcat logs the same failure once more where it ends.
    if any("DeltaManager.deserializeSessions" in line for line in record.detail):
        return ""
    if record.source.endswith("waitForSendAllSessions"):
        return f"the sessions did not arrive in time: {record.message}"
    if record.source.endswith("DeltaManager.messageReceived"):
        return f"a change of a session could not be read by this release: {cause}"
    if "NotSerializableException" in cause or "NotSerializableException" in record.message:
        return f"a session cannot travel to the other slot: {cause}"
    # What this slot could not send, as to one that was stopped since, says nothing of what has arrived here.
    if not record.severe or any(one.startswith(_SENDING) for one in (record.message, *record.causes())):
        return ""
    return f"session replication reports: {cause}"


def wait_transferred(
    facts: SessionFacts,
    records: Callable[[], Sequence[LogRecord]],
    deadline: float,
    clock: Clock,
    on_progress: Callable[[str], None],
) -> None:
    """Waits until the peers' sessions have arrived at an instance that was just started, `deadline` seconds at most.

    Raises InstanceError when it has no peer (it started alone and will never ask again), when the transfer timed
    out, or when it does not end in time.
    """
    end = clock.monotonic() + deadline
    on_progress("waiting for the sessions")
    while True:
        try:
            done, peers = facts.state_transferred(), facts.members()
        except ControlError:
            done, peers = None, ()
        if done and peers:
            return
        told = next((words for words in dropped(records()) if words.startswith("the sessions did not")), "")
        if told or clock.monotonic() >= end:
            raise InstanceError(told or _why_not(done, peers, deadline), "restart this slot: it asks only at its start")
        clock.sleep(_LOOK_INTERVAL)


def _why_not(done: bool | None, peers: tuple[int, ...], deadline: float) -> str:
    if done is None:
        return "Tomcat does not tell of a session manager that replicates: is sessions.replicate on in both slots?"
    if not peers:
        return f"it found no other slot in the session cluster within {deadline:g} s"
    return f"the sessions of the other slot did not arrive within {deadline:g} s, or it started before that slot did"


def check(
    live: SessionFacts,
    idle: SessionFacts,
    idle_records: Callable[[], Sequence[LogRecord]],
    tolerance: float,
    deadline: float,
    clock: Clock,
) -> SessionCheck:
    """Compares until the counts agree, `deadline` seconds at most: users come and go between two readings.

    Sessions that the idle slot's log calls unreadable are a problem even when the counts agree, and so are slots that
    do not see each other: what changes from now on would be on one of them only. Raises ControlError when a slot
    does not answer.
    """
    end = clock.monotonic() + deadline
    while True:
        found = compare(live.active_sessions(), idle.active_sessions(), tolerance)
        if not live.members() or not idle.members():
            found = SessionCheck(found.live, found.idle, (*found.problems, _APART))
        if found.ok or clock.monotonic() >= end:
            return SessionCheck(found.live, found.idle, (*found.problems, *dropped(idle_records())))
        clock.sleep(_LOOK_INTERVAL)
