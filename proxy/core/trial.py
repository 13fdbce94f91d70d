"""Whether a switch on trial stays: its time to be confirmed, and its guard's bounds on what the new slot does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.core.stats import BUCKETS_MS, quantile_ms
from proxy.wire import Figures

if TYPE_CHECKING:
    from proxy.wire import Guard

_LONGER_MS: Final = 3_600_000.0
"""What stands for "longer than the last bucket": JSON has no infinity."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a slot has done so far: exchanges ended, of these 5xx, and their durations by bucket of BUCKETS_MS."""

    requests: int
    errors: int
    hist: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Revert:
    """The trial has failed."""

    reason: str


@dataclass(frozen=True, slots=True)
class Confirm:
    """The trial has been passed without anybody's word: its guard has seen a whole window within the bounds."""

    reason: str


class Trial:
    """One switch on trial. Times are Unix times, so that the deadline holds in the next supervisor too.

    `confirm_by` None: the guard alone decides. The guard judges the last `window` seconds, so what a slot did long
    before a fault hides nothing of it.
    """

    def __init__(self, started: float, confirm_by: float | None, guard: Guard | None) -> None:
        self._started = started
        self._confirm_by = confirm_by
        self._guard = guard
        self._watched_from: float | None = None
        self._samples: deque[tuple[float, Counts]] = deque()

    def look(self, now: float, counts: Counts | None) -> Revert | Confirm | None:
        """What is to be done now. `counts`: the new slot's, None when they are not known."""
        if counts is not None:
            self._add(now, counts)
        breach = self._breach()
        if breach is not None:
            return Revert(breach)
        if self._confirm_by is not None:
            if now >= self._confirm_by:
                return Revert(f"nobody confirmed it within {self._confirm_by - self._started:g} s")
            return None
        guard, watched_from = self._guard, self._watched_from
        if guard is None or (watched_from is not None and now >= watched_from + guard.window):
            return Confirm(f"its guard's bounds held for {guard.window:g} s" if guard else "it has no condition")
        return None

    def figures(self) -> Figures | None:
        """Of the guard's window as far as it has been watched; without a guard of the last 10 seconds."""
        if len(self._samples) < 2:
            return None
        seconds, requests, errors, hist = self._window()
        p99 = quantile_ms(hist, 0.99)
        return Figures(
            seconds=round(seconds, 1),
            requests=requests,
            errors_5xx=errors,
            p99_ms=None if p99 is None else min(p99, _LONGER_MS),
        )

    def _add(self, now: float, counts: Counts) -> None:
        if self._samples and now <= self._samples[-1][0]:
            # The wall clock was set back: what was seen before can't be set against what comes.
            self._samples.clear()
        if not self._samples:
            self._watched_from = now
        self._samples.append((now, counts))
        start = now - (self._guard.window if self._guard is not None else 10.0)
        while len(self._samples) > 2 and self._samples[1][0] <= start:
            self._samples.popleft()

    def _window(self) -> tuple[float, int, int, list[int]]:
        (begin, before), (end, after) = self._samples[0], self._samples[-1]
        old = before.hist or (0,) * len(after.hist)
        hist = [new - was for new, was in zip(after.hist, old, strict=True)]
        return end - begin, after.requests - before.requests, after.errors - before.errors, hist

    def _breach(self) -> str | None:
        guard = self._guard
        if guard is None or len(self._samples) < 2:
            return None
        seconds, requests, errors, hist = self._window()
        if requests < guard.min_requests:
            return None
        within = f"in {seconds:.0f} s"
        if guard.max_error_ratio is not None and errors > guard.max_error_ratio * requests:
            return (
                f"{errors} of {requests} answers {within} were 5xx ({errors / requests:.1%}); "
                f"the guard allows {guard.max_error_ratio:.1%}"
            )
        if guard.max_p99 is not None and requests >= guard.min_requests_p99:
            at_least = _p99_at_least(hist)
            if at_least is not None and at_least >= guard.max_p99 * 1000:
                return (
                    f"the 99th percentile of {requests} answers {within} was over {at_least:g} ms; "
                    f"the guard allows {guard.max_p99 * 1000:g} ms"
                )
        return None

    def __repr__(self) -> str:
        return f"<Trial confirm_by={self._confirm_by} guard={self._guard is not None} samples={len(self._samples)}>"


def _p99_at_least(hist: list[int]) -> float | None:
    """The lower bound (ms) of the bucket of the 99th percentile: it is longer for certain. None without samples."""
    upper = quantile_ms(hist, 0.99)
    if upper is None:
        return None
    index = BUCKETS_MS.index(upper) if upper in BUCKETS_MS else len(BUCKETS_MS)
    return BUCKETS_MS[index - 1] if index else 0.0
