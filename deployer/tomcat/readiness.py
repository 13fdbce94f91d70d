"""When is a started Tomcat ready? A pure judgement over what was seen; process.py does the looking."""

from __future__ import annotations

import enum
from dataclasses import dataclass

DEFINITE_SECONDS = 5.0
"""How long an answer must stay the same until it is believed: a cache may fill for a moment after the start."""

_PASSING = frozenset(["408", "425", "429", "502", "503", "504"])
"""Statuses that say "not now": an application that warms up answers so for as long as it takes."""


class Streak:
    """The answers of a started application's probe: the same status again and again.

    passed: it was 200 `successes` times. definite: it is another one that will not change by waiting.
    """

    def __init__(self, successes: int) -> None:
        self._successes = successes
        self._status = ""
        self._count = 0
        self._since = 0.0
        self._now = 0.0

    def __repr__(self) -> str:
        return f"<Streak {self._status or 'no answer'} x{self._count}>"

    def add(self, answer: str, now: float) -> None:
        """An answer: it begins with its status, or says why there was none."""
        status = answer.partition(" ")[0]
        if status != self._status:
            self._status, self._count, self._since = status, 0, now
        self._count += 1
        self._now = now

    @property
    def passed(self) -> bool:
        """See the class."""
        return self._status == "200" and self._count >= self._successes

    @property
    def definite(self) -> bool:
        """See the class."""
        final = self._status.isdigit() and self._status != "200" and self._status not in _PASSING
        return final and self._count > self._successes and self._now - self._since >= DEFINITE_SECONDS


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
