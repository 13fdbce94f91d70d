"""Counters as plain ints; snapshots of workers are added up in the supervisor."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

BUCKETS_MS: Final = (
    1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 750.0,
    1000.0, 1500.0, 2000.0, 3000.0, 5000.0, 10000.0, 30000.0, 60000.0,
)  # fmt: skip
"""Upper bounds of a histogram's buckets; one more bucket counts what is longer."""

_BOUNDS_S: Final = tuple(bound / 1000 for bound in BUCKETS_MS)


class SlotStats:
    """What one slot has answered in this worker. `status[n]` counts the responses of n00 to n99."""

    __slots__ = ("bytes_in", "bytes_out", "hist", "status", "sum_us")

    def __init__(self) -> None:
        self.status = [0] * 6
        self.bytes_in = 0
        self.bytes_out = 0
        self.hist = [0] * (len(BUCKETS_MS) + 1)
        self.sum_us = 0

    @property
    def requests(self) -> int:
        return sum(self.status)

    def __repr__(self) -> str:
        return f"<SlotStats requests={self.requests} status={self.status}>"

    def count(self, status: int, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """One exchange has ended. `status` 0: its client got no response.

        How long a tunnel was open says nothing of how quickly the slot answers: 101 is not in the histogram.
        """
        self.status[status // 100] += 1
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        if status == 101:
            return
        self.hist[bisect_left(_BOUNDS_S, seconds)] += 1
        self.sum_us += int(seconds * 1e6)

    def snapshot(self) -> dict[str, Any]:
        """`status` lists 1xx to 5xx; `aborted` are exchanges whose client got no response."""
        return {
            "requests": self.requests,
            "status": self.status[1:],
            "aborted": self.status[0],
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "hist": list(self.hist),
            "sum_us": self.sum_us,
        }


def merge(total: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Adds `more` to `total`, number by number through nested dicts and lists of equal shape; returns `total`."""
    for key, value in more.items():
        if isinstance(value, dict):
            merge(total.setdefault(key, {}), value)
        elif isinstance(value, list):
            old = total.get(key) or [0] * len(value)
            total[key] = [a + b for a, b in zip(old, value, strict=True)]
        else:
            total[key] = total.get(key, 0) + value
    return total


def quantile_ms(hist: list[int], share: float) -> float | None:
    """The upper bound (ms) of the bucket in which the quantile lies; None without samples, inf past the last."""
    total = sum(hist)
    if not total:
        return None
    rank = share * total
    seen = 0
    for index, count in enumerate(hist):
        seen += count
        if seen >= rank and count:
            return BUCKETS_MS[index] if index < len(BUCKETS_MS) else float("inf")
    return float("inf")
