"""Merged counters: nothing that was counted is lost, nothing that is gone is still counted as there."""

from __future__ import annotations

from typing import Any

from proxy.control.counters import Counters, slot_of
from proxy.core.stats import BUCKETS_MS, SlotStats


def snapshot(requests: int, seconds: float = 0.01, *, in_flight: int = 0) -> dict[str, Any]:
    slot = SlotStats()
    for _ in range(requests):
        slot.count(500, seconds, 1, 2)
    return {
        "connections": 3,
        "connections_total": 4,
        "requests": requests,
        "rss": 1000,
        "own": {"404": 1},
        "apps": {
            "shop": {
                "held": 1,
                "slots": {
                    "temp": {
                        **slot.snapshot(),
                        "in_flight": in_flight,
                        "tunnels": 1,
                        "backends": {"127.0.0.1:1": in_flight},
                    }
                },
            }
        },
    }


def test_workers_are_added_up_and_the_newest_snapshot_counts() -> None:
    counters = Counters()
    counters.update(1, snapshot(5))
    counters.update(1, snapshot(7, in_flight=2))
    counters.update(2, snapshot(1, in_flight=1))
    totals = counters.totals()
    slot = slot_of(totals, "shop", "temp")
    assert (totals["connections"], slot["requests"], slot["status"][4], slot["in_flight"]) == (6, 8, 8, 3)
    assert slot["backends"] == {"127.0.0.1:1": 3}
    assert (counters.of(1, "requests"), counters.of(9, "requests")) == (7, 0)


def test_a_worker_that_is_gone_leaves_its_counters_and_nothing_else() -> None:
    counters = Counters()
    counters.update(1, snapshot(5, in_flight=2))
    counters.retire(1)
    counters.retire(1)
    counters.update(2, snapshot(1))
    totals = counters.totals()
    slot = slot_of(totals, "shop", "temp")
    assert (totals["connections"], totals["connections_total"], totals["rss"]) == (3, 8, 1000)
    assert (slot["requests"], slot["bytes_out"], slot["in_flight"], slot["tunnels"]) == (6, 12, 0, 1)
    assert totals["own"] == {"404": 2}
    assert totals["apps"]["shop"]["held"] == 1
    assert counters.totals() == totals, "to ask changes nothing"


def test_the_99th_percentile_counts_from_the_last_switch() -> None:
    counters = Counters()
    counters.update(1, snapshot(100, 5.0))
    slot = slot_of(counters.totals(), "shop", "temp")
    assert counters.p99_ms("shop", "temp", slot) == 5000.0
    counters.mark_switch("shop")
    assert counters.p99_ms("shop", "temp", slot) is None
    counters.update(2, snapshot(10, 0.002))
    assert counters.p99_ms("shop", "temp", slot_of(counters.totals(), "shop", "temp")) == 2.0


def test_a_percentile_past_the_last_bucket_is_a_number() -> None:
    counters = Counters()
    counters.update(1, snapshot(1, BUCKETS_MS[-1]))
    value = counters.p99_ms("shop", "temp", slot_of(counters.totals(), "shop", "temp"))
    assert value is not None
    assert BUCKETS_MS[-1] < value < float("inf")


def test_what_was_never_counted_is_zero() -> None:
    slot = slot_of(Counters().totals(), "shop", "temp")
    assert (slot["requests"], slot["status"]) == (0, [0] * 5)
    assert Counters().p99_ms("shop", "temp", slot) is None
