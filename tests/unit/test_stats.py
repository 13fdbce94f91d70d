"""Counters of a slot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.stats import BUCKETS_MS, SlotStats, merge, quantile_ms

EXCHANGES = st.lists(
    st.tuples(
        st.sampled_from([0, 101, 200, 204, 304, 404, 502, 599]),
        st.floats(0, 100),
        st.integers(0, 10**12),
        st.integers(0, 10**12),
    ),
    max_size=20,
)


def counted(exchanges: list[tuple[int, float, int, int]]) -> SlotStats:
    stats = SlotStats()
    for exchange in exchanges:
        stats.count(*exchange)
    return stats


def test_an_exchange_is_counted() -> None:
    stats = counted([(200, 0.004, 10, 20), (503, 0.0, 1, 2), (0, 61.0, 0, 0)])
    snapshot = stats.snapshot()
    assert snapshot["requests"] == 3
    assert snapshot["status"] == [0, 1, 0, 0, 1]
    assert snapshot["aborted"] == 1
    assert (snapshot["bytes_in"], snapshot["bytes_out"]) == (11, 22)
    assert snapshot["sum_us"] == 61_004_000
    assert [(index, count) for index, count in enumerate(snapshot["hist"]) if count] == [(0, 1), (3, 1), (25, 1)]
    assert repr(stats) == "<SlotStats requests=3 status=[1, 0, 1, 0, 0, 1]>"


@pytest.mark.parametrize("index", range(len(BUCKETS_MS)))
def test_a_bucket_includes_its_bound(index: int) -> None:
    bound = BUCKETS_MS[index] / 1000
    assert counted([(200, bound, 0, 0)]).hist[index] == 1
    assert counted([(200, bound * 1.001, 0, 0)]).hist[index + 1] == 1


def test_a_snapshot_does_not_change_afterwards() -> None:
    stats = counted([(200, 0.1, 1, 1)])
    snapshot = stats.snapshot()
    before = {key: list(value) if isinstance(value, list) else value for key, value in snapshot.items()}
    stats.count(500, 0.1, 1, 1)
    assert snapshot == before


@given(EXCHANGES, EXCHANGES)
def test_workers_added_up_are_as_one(
    first: list[tuple[int, float, int, int]], second: list[tuple[int, float, int, int]]
) -> None:
    total = merge(merge({}, counted(first).snapshot()), counted(second).snapshot())
    assert total == counted(first + second).snapshot()


def test_merge_goes_into_nested_tables_and_changes_only_its_first() -> None:
    more = {"slots": {"a": {"n": 1, "hist": [1, 2]}}}
    total = merge(merge({"held": 1}, more), {"held": 2, "slots": {"a": {"n": 5, "hist": [0, 1]}, "b": {"n": 1}}})
    assert total == {"held": 3, "slots": {"a": {"n": 6, "hist": [1, 3]}, "b": {"n": 1}}}
    assert more == {"slots": {"a": {"n": 1, "hist": [1, 2]}}}


def test_lists_of_other_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        merge({"hist": [1, 2]}, {"hist": [1]})


def test_quantiles() -> None:
    hist = counted([(200, ms / 1000, 0, 0) for ms in (1, 1, 1, 1, 1, 1, 1, 1, 9, 70_000)]).hist
    assert [quantile_ms(hist, share) for share in (0.0, 0.5, 0.8, 0.9, 1.0)] == [1.0, 1.0, 1.0, 10.0, float("inf")]
    assert quantile_ms([0] * len(hist), 0.5) is None


@given(st.lists(st.floats(0.0001, 59), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_is_no_less_than_the_sample(seconds: list[float], share: float) -> None:
    found = quantile_ms(counted([(200, value, 0, 0) for value in seconds]).hist, share)
    assert found is not None
    assert sum(value * 1000 <= found + 1e-9 for value in seconds) >= share * len(seconds) - 1e-9
