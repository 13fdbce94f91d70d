"""When is a started Tomcat ready? A pure judgement over what was seen; process.py does the looking."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.Enum):
    """What to do now."""

    WAIT = "wait"
    PROBE = "probe"
    DIED = "died"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a Tomcat that starts.

    control: its control service answered. application, service: their lifecycle states, None when Tomcat has none.
    """

    alive: bool
    control: bool = False
    application: str | None = None
    service: str | None = None

    def __str__(self) -> str:
        if not self.alive:
            return "the process has ended"
        if not self.control:
            return "the JVM starts"
        if self.application is None:
            return "Tomcat starts"
        return f"the application is {self.application}"


_ENDED = frozenset(["FAILED", "STOPPING", "STOPPED", "DESTROYING", "DESTROYED"])


def judge(seen: Seen) -> Verdict:
    """The service's state must have been read before the application's.

    Tomcat reports "Server startup" also when the application failed, and stays alive then: so the application's own
    state counts, and once the service has started an application that is not STARTED will never be.
    """
    if not seen.alive:
        return Verdict.DIED
    if not seen.control:
        return Verdict.WAIT
    if seen.application == "STARTED":
        return Verdict.PROBE if seen.service == "STARTED" else Verdict.WAIT
    if seen.application in _ENDED or seen.service in _ENDED or seen.service == "STARTED":
        return Verdict.FAILED
    return Verdict.WAIT
