"""Ctrl-C and SIGTERM during a release: the first one undoes, the second one leaves everything as it is.

The first is only noted and met between two steps or at the next wait, so that it never tears a step at a place that
nobody thought of. A lost terminal (SIGHUP) does not end a release: the journal and `deployer status` know of it.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import ReleaseFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from deployer.clock import Clock


class Abandoned(BaseException):
    """The operator asked twice: leave everything as it is."""


class Interrupts:
    """Counts the operator's signals. tell: gets a sentence at the first one."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._count = 0
        self._undoing = False
        self._settled = False

    def __repr__(self) -> str:
        return f"<Interrupts {self._count} undoing={self._undoing}>"

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles SIGINT and SIGTERM, and ignores SIGHUP, for the time of a with-block."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raises ReleaseFailed when the operator asked to stop and nothing is undone yet."""
        if self._count and not self._undoing:
            raise ReleaseFailed("interrupted by the operator")

    def undoing(self) -> None:
        """From now on the first signal is answered."""
        self._undoing = True

    def settled(self) -> None:
        """The outcome is certain; what comes now changes nothing."""
        self._settled = True

    def interrupt(self) -> None:
        """One signal came. Raises Abandoned at the second one, or at the first one during an undo."""
        if self._settled:
            return
        self._count += 1
        if self._count > 1 or self._undoing:
            raise Abandoned
        self._tell("interrupted: undoing as soon as this step can stop; once more leaves everything as it is now")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.interrupt()


@dataclass(frozen=True, slots=True)
class InterruptibleClock:
    """A clock whose waits end when the operator asks to stop."""

    clock: Clock
    interrupts: Interrupts
    slice: float = 0.5

    def time(self) -> float:
        """See Clock."""
        return self.clock.time()

    def monotonic(self) -> float:
        """See Clock."""
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """See Clock. Raises ReleaseFailed when interrupted."""
        left = seconds
        while True:
            self.interrupts.check()
            if left <= 0:
                return
            self.clock.sleep(min(left, self.slice))
            left -= self.slice
