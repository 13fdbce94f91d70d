"""The CPU at once, for the few milliseconds in which a switch lets requests wait.

A switch is five times some process's turn to run; where every core is busy, each of them waits for its turn as long as
any other process does. Real-time scheduling (sched(7)) takes that wait away, for URGENT_SECONDS at most. It needs root
at the start, or RLIMIT_RTPRIO; without either all goes on as it is, and a switch only takes longer.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

URGENT_SECONDS: Final = 0.1
WORKER: Final = 1
SUPERVISOR: Final = 2
"""Above the workers: it must not wait for one that has much to do."""
# What is started meanwhile is scheduled as usual.
_URGENT: Final = os.SCHED_RR | os.SCHED_RESET_ON_FORK
_USUAL: Final = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK


class Timer(Protocol):
    def cancel(self) -> None: ...


def allow(most: int) -> None:
    """From now on this process and its children may hurry up to this priority, as whoever they run, if it may now."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_RTPRIO, (most, most))


def hurry(priority: int, process: int = 0) -> bool:
    """Whether the process (0: this thread) runs before all usual ones now. One that is scheduled otherwise stays so."""
    with suppress(OSError):
        if os.sched_getscheduler(process) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER:
            os.sched_setscheduler(process, _URGENT, os.sched_param(priority))
            return True
    return False


class Haste:
    """This thread's own haste, which ends by itself. `call_later`: the event loop's."""

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Timer]) -> None:
        self._call_later = call_later
        self._end: Timer | None = None

    def begin(self, priority: int) -> bool:
        """See `hurry`."""
        self.bound()
        return hurry(priority)

    def bound(self) -> None:
        """It may have been begun for this thread by another process; now it has URGENT_SECONDS."""
        if self._end is not None:
            self._end.cancel()
        self._end = self._call_later(URGENT_SECONDS, self.end)

    def end(self) -> None:
        """Also when there is none."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        with suppress(OSError):
            if os.sched_getscheduler(0) == _URGENT:
                os.sched_setscheduler(0, _USUAL, os.sched_param(0))

    def __repr__(self) -> str:
        return f"<Haste {'on' if self._end is not None else 'off'}>"
