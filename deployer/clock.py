"""Time, passed in so that tests need not wait."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Unix seconds, seconds that never go back, and waiting."""

    def time(self) -> float:
        """Unix seconds; may jump."""

    def monotonic(self) -> float:
        """Seconds from some fixed moment; for spans and deadlines."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        """See Clock."""
        return time.time()

    def monotonic(self) -> float:
        """See Clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See Clock."""
        time.sleep(seconds)
