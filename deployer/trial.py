"""The trial of a switch: what the proxy is told to watch for, and what its end says of the release.

The proxy itself switches back when the new slot passes a bound or nobody confirms in time; so a release that
misbehaves is undone even when the deployer is dead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.wire import Guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.wire import AppStatus, RecentRequest, TrialOutcome, TrialStatus

FEWEST_REQUESTS = 20
"""Requests from which on a share of errors is judged; below it one error would say too much."""
FEWEST_FOR_P99 = 100
LONGEST = 86_400.0
"""Seconds that a switch may be unconfirmed (proxy.wire.SwitchRequest)."""
LONGEST_WINDOW = 60.0
"""Seconds that are judged at once: in a long watch, what was good at first must not outweigh what is bad now."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class TrialTerms:
    """watch: seconds that the slot is watched. confirm_within: seconds from the switch on, so with drain and hooks."""

    watch: float
    confirm_within: float
    max_error_ratio: float
    max_p99: float

    def guard(self) -> Guard:
        """What the proxy judges by itself."""
        return Guard(
            max_error_ratio=self.max_error_ratio,
            max_p99=self.max_p99,
            min_requests=FEWEST_REQUESTS,
            min_requests_p99=FEWEST_FOR_P99,
            window=min(LONGEST_WINDOW, max(1.0, self.watch)),
        )

    def __str__(self) -> str:
        return (
            f"on trial: the proxy switches back by itself at more than {self.max_error_ratio:.1%} answers of 500 and "
            f"above, at a p99 over {self.max_p99:g} s, or when it is not confirmed within {self.confirm_within:g} s"
        )


def open_trial(app: AppStatus, slot: str) -> TrialStatus | None:
    """The trial of this slot, while it is open."""
    return app.trial if app.trial is not None and app.trial.to == slot else None


def switched_back(app: AppStatus, slot: str) -> TrialOutcome | None:
    """How the slot's trial ended, when the proxy has switched back from it."""
    last = app.last_trial
    if app.active == slot or last is None or last.to != slot or last.outcome != "reverted":
        return None
    return last


def ended_text(active: str, last: TrialOutcome) -> str:
    """One sentence about a trial that was not passed."""
    if last.reason.startswith("nobody confirmed"):
        return f"the trial of {last.to} was not confirmed: {active} is active again"
    return f"the trial of {last.to} failed ({last.reason}): {active} is active again"


def bad_requests(recent: Sequence[RecentRequest], slot: str, max_p99: float) -> list[str]:
    """The slot's requests that were answered with 500 and above or took too long, the most frequent first."""
    failed = [one for one in recent if one.slot == slot and one.status >= 500]
    slow = [one for one in recent if one.slot == slot and one.status < 500 and one.slowest_ms > max_p99 * 1000]
    failed.sort(key=lambda one: -one.count)
    slow.sort(key=lambda one: -one.slowest_ms)
    lines = [f"{one.method} {one.path}: {one.status}, {_times(one.count)}" for one in failed]
    lines += [f"{one.method} {one.path}: {one.status} after {one.slowest_ms / 1000:.1f} s" for one in slow]
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
