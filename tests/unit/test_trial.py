"""When a trial is confirmed and when it is called back: by the clock, and by what the guard sees in its window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.stats import BUCKETS_MS, SlotStats
from proxy.core.trial import Confirm, Counts, Revert, Trial
from proxy.wire import Guard


class Slot:
    """Counts what it is told it has answered."""

    def __init__(self) -> None:
        self.stats = SlotStats()

    def answer(self, count: int, status: int = 200, seconds: float = 0.01) -> Counts:
        for _ in range(count):
            self.stats.count(status, seconds, 0, 0)
        snapshot = self.stats.snapshot()
        return Counts(snapshot["requests"], snapshot["status"][4], tuple(snapshot["hist"]))


def guard(max_error_ratio: float | None = None, max_p99: float | None = None, **more: float) -> Guard:
    return Guard.model_validate({"max_error_ratio": max_error_ratio, "max_p99": max_p99, **more})


def test_without_a_word_it_is_called_back_at_the_deadline() -> None:
    slot, trial = Slot(), Trial(100.0, 160.0, None)
    assert trial.look(101.0, slot.answer(5)) is None
    assert trial.look(159.9, slot.answer(5)) is None
    assert trial.look(160.0, slot.answer(5)) == Revert("nobody confirmed it within 60 s")
    assert trial.look(99999.0, None) == Revert("nobody confirmed it within 60 s"), "even long after"


def test_errors_over_the_bound() -> None:
    slot, trial = Slot(), Trial(0.0, 60.0, guard(0.1, min_requests=20))
    slot.answer(1000, 500)
    assert trial.look(1.0, slot.answer(0)) is None, "what was before the trial is not the trial's"
    assert trial.look(2.0, slot.answer(9, 500)) is None, "too few requests to judge"
    slot.answer(81)
    assert trial.look(3.0, slot.answer(1, 500)) == Revert(
        "10 of 91 answers in 2 s were 5xx (11.0%); the guard allows 10.0%"
    )


def test_a_share_that_equals_the_bound_is_allowed() -> None:
    slot, trial = Slot(), Trial(0.0, 60.0, guard(0.1))
    trial.look(0.0, slot.answer(0))
    slot.answer(90)
    assert trial.look(1.0, slot.answer(10, 503)) is None
    assert isinstance(trial.look(2.0, slot.answer(1, 503)), Revert)


def test_no_error_is_allowed_with_zero() -> None:
    slot, trial = Slot(), Trial(0.0, 60.0, guard(0.0, min_requests=1))
    trial.look(0.0, slot.answer(0))
    assert trial.look(1.0, slot.answer(1000)) is None
    assert isinstance(trial.look(2.0, slot.answer(1, 500)), Revert)


@pytest.mark.parametrize(
    ("bound", "seconds", "called_back"),
    [
        (2.0, 1.9, False),
        (2.0, 2.0, False),
        (2.0, 2.1, True),
        (1.8, 1.9, False),  # between two buckets: counts as 2 s
        (1.8, 2.1, True),
        (60.0, 59.0, False),
        (60.0, 61.0, True),
        (0.0005, 0.0008, False),
        (0.0005, 0.0012, True),
    ],
)
def test_the_99th_percentile_over_the_bound(bound: float, seconds: float, called_back: bool) -> None:
    slot, trial = Slot(), Trial(0.0, 600.0, guard(max_p99=bound))
    trial.look(0.0, slot.answer(0))
    assert isinstance(trial.look(1.0, slot.answer(100, seconds=seconds)), Revert) is called_back


def test_one_slow_answer_of_a_hundred_is_within_the_99th_percentile() -> None:
    slot, trial = Slot(), Trial(0.0, 600.0, guard(max_p99=1.0))
    trial.look(0.0, slot.answer(0))
    slot.answer(99)
    assert trial.look(1.0, slot.answer(1, seconds=5.0)) is None
    verdict = trial.look(2.0, slot.answer(1, seconds=5.0))
    assert verdict == Revert("the 99th percentile of 101 answers in 2 s was over 3000 ms; the guard allows 1000 ms")


def test_the_window_slides_so_that_old_successes_hide_nothing() -> None:
    slot, trial = Slot(), Trial(0.0, 1000.0, guard(0.5, window=10))
    for second in range(100):
        assert trial.look(float(second), slot.answer(1000)) is None
    verdicts = [trial.look(100.0 + second, slot.answer(100, 500)) for second in range(10)]
    assert any(isinstance(verdict, Revert) for verdict in verdicts)
    figures = trial.figures()
    assert figures is not None
    assert figures.seconds <= 11
    assert figures.errors_5xx == 1000


def test_a_guard_alone_confirms_after_a_window_within_the_bounds() -> None:
    slot, trial = Slot(), Trial(0.0, None, guard(0.1, window=30))
    assert trial.look(5.0, slot.answer(10)) is None
    assert trial.look(34.9, slot.answer(10)) is None
    assert trial.look(35.0, slot.answer(10)) == Confirm("its guard's bounds held for 30 s")


def test_a_guard_alone_calls_back_in_its_last_moment() -> None:
    slot, trial = Slot(), Trial(0.0, None, guard(0.1, window=30))
    assert trial.look(5.0, slot.answer(10)) is None
    assert isinstance(trial.look(35.0, slot.answer(30, 500)), Revert)


def test_a_clock_that_is_set_back_begins_a_new_window() -> None:
    slot, trial = Slot(), Trial(1000.0, None, guard(0.1, window=30))
    trial.look(1000.0, slot.answer(10))
    trial.look(1020.0, slot.answer(10))
    assert trial.look(900.0, slot.answer(50, 500)) is None, "nothing to compare with yet"
    assert trial.figures() is None
    assert trial.look(925.0, slot.answer(50)) is None
    assert isinstance(trial.look(930.0, slot.answer(50)), Confirm)


def test_figures() -> None:
    slot, trial = Slot(), Trial(0.0, 60.0, None)
    assert trial.figures() is None
    trial.look(0.0, slot.answer(7))
    trial.look(2.0, slot.answer(0))
    figures = trial.figures()
    assert figures is not None
    assert (figures.requests, figures.p99_ms) == (0, None)
    trial.look(4.0, slot.answer(3, 500, seconds=100.0))
    figures = trial.figures()
    assert figures is not None
    assert (figures.seconds, figures.requests, figures.errors_5xx, figures.p99_ms) == (4.0, 3, 3, 3_600_000.0)


STEPS = st.lists(
    st.tuples(
        st.floats(-5, 20), st.integers(0, 200), st.sampled_from([200, 404, 500]), st.sampled_from([0.001, 0.1, 3.0])
    ),
    max_size=30,
)


@given(STEPS, st.floats(0, 1), st.integers(1, 100))
def test_a_verdict_is_always_true_of_its_window(
    steps: list[tuple[float, int, int, float]], ratio: float, min_requests: int
) -> None:
    slot, trial = Slot(), Trial(0.0, 1e9, guard(ratio, min_requests=min_requests))
    now = 0.0
    for passed, count, status, seconds in steps:
        now += passed
        verdict = trial.look(now, slot.answer(count, status, seconds))
        figures = trial.figures()
        if figures is None:
            assert verdict is None
            continue
        over = figures.requests >= min_requests and figures.errors_5xx > ratio * figures.requests
        assert isinstance(verdict, Revert) is over
        assert figures.requests <= slot.stats.requests
        assert figures.p99_ms is None or figures.p99_ms in BUCKETS_MS
