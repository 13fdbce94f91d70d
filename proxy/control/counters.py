"""All workers' counters, merged. What a worker has counted stays in the totals when it is gone."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from proxy.control.handover import CountersPart
from proxy.core.stats import merge, quantile_ms

_GAUGES: Final = frozenset({"connections", "rss", "tasks", "held", "in_flight", "tunnels", "backends"})
NO_SLOT: Final[dict[str, Any]] = {
    "requests": 0,
    "status": [0] * 5,
    "aborted": 0,
    "bytes_in": 0,
    "bytes_out": 0,
    "hist": [],
    "sum_us": 0,
    "in_flight": 0,
    "tunnels": 0,
    "backends": {},
}


class Counters:
    """`proxy.net.server.Server.snapshot` has the shape of a snapshot."""

    def __init__(self) -> None:
        self._live: dict[int, dict[str, Any]] = {}
        self._gone: dict[str, Any] = {}
        self._at_switch: dict[str, dict[str, list[int]]] = {}

    def update(self, worker: int, snapshot: dict[str, Any]) -> None:
        """The worker's newest snapshot; it replaces the one before."""
        self._live[worker] = snapshot

    def retire(self, worker: int) -> None:
        """The worker is gone: its counters stay, what it was doing does not."""
        snapshot = self._live.pop(worker, None)
        if snapshot is not None:
            merge(self._gone, _without_gauges(snapshot))

    def of(self, worker: int, key: str) -> int:
        """One number of a worker's last snapshot; 0 while there is none."""
        return int(self._live.get(worker, {}).get(key, 0))

    def totals(self) -> dict[str, Any]:
        """All snapshots added up."""
        total = deepcopy(self._gone)
        for snapshot in self._live.values():
            merge(total, snapshot)
        return total

    def hand_over(self) -> CountersPart:
        return CountersPart(live=self._live, gone=self._gone, at_switch=self._at_switch)

    def take_over(self, part: CountersPart) -> None:
        self._live, self._gone, self._at_switch = dict(part.live), dict(part.gone), dict(part.at_switch)

    def mark_switch(self, app: str) -> None:
        """From now on `p99_ms` of the app's slots counts anew."""
        slots = self.totals().get("apps", {}).get(app, {}).get("slots", {})
        self._at_switch[app] = {name: list(slot["hist"]) for name, slot in slots.items()}

    def p99_ms(self, app: str, slot: str, counted: dict[str, Any]) -> float | None:
        """99th percentile since the app's last switch, in milliseconds. `counted`: the slot's part of `totals`."""
        hist = counted["hist"]
        before = self._at_switch.get(app, {}).get(slot) or [0] * len(hist)
        value = quantile_ms([new - old for new, old in zip(hist, before, strict=True)], 0.99)
        return None if value is None else min(value, _LONGER)

    def __repr__(self) -> str:
        return f"<Counters workers={sorted(self._live)}>"


_LONGER: Final = 3_600_000.0
"""What stands for "longer than the last bucket": JSON has no infinity."""


def slot_of(totals: dict[str, Any], app: str, slot: str) -> dict[str, Any]:
    """The slot's part of the totals; zeros when nothing was counted."""
    counted: dict[str, Any] = totals.get("apps", {}).get(app, {}).get("slots", {}).get(slot, NO_SLOT)
    return counted


def _without_gauges(snapshot: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in snapshot.items():
        if key in _GAUGES:
            kept[key] = {} if isinstance(value, dict) else 0
        else:
            kept[key] = _without_gauges(value) if isinstance(value, dict) else value
    return kept
