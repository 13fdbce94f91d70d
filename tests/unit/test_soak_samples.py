"""What the soak takes for a leak, and that a figure that is not told is not taken for none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.soak.samples import Sample, Worker, counted, leaks, tasks_of

WORKER = Worker(1, 1000, 19, 0, 1, 10)
QUIET = Sample(0.0, (WORKER, replace(WORKER, pid=2)), 0, 0, 0, 0)
METRICS = """# TYPE switchyard_worker_tasks gauge
switchyard_worker_tasks{worker="1"} 1.0
switchyard_worker_tasks{worker="11"} 7.0
switchyard_worker_tasks{worker="2"} 0.0
# TYPE switchyard_own_answers_total counter
switchyard_own_answers_total{status="404"} 2.0
switchyard_own_answers_total{status="200"} 3.0
# TYPE switchyard_requests_total counter
switchyard_requests_total{app="soak",slot="temp",status_class="2xx"} 40.0
switchyard_requests_total{app="soak",slot="temp",status_class="none"} 1.0
"""


def test_tasks_that_are_not_told_are_none() -> None:
    assert tasks_of(METRICS, 1) == 1
    assert tasks_of(METRICS, 11) == 7
    assert tasks_of(METRICS, 2) is None
    assert tasks_of(METRICS, 3) is None


def test_requests_are_counted_of_both_counters_and_not_when_one_is_missing() -> None:
    assert counted(METRICS) == 46
    assert counted(METRICS.replace("switchyard_requests", "switchyard_answers")) is None
    assert counted("") is None
    none_yet = "\n".join(line for line in METRICS.splitlines() if not line.startswith("switchyard_own"))
    assert counted(none_yet) == 41


def test_nothing_is_left() -> None:
    assert leaks(QUIET, QUIET) == []


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(replace(QUIET, in_flight=1), id="a ticket"),
        pytest.param(replace(QUIET, workers=(WORKER, replace(WORKER, connections=1))), id="a connection"),
        pytest.param(replace(QUIET, workers=(WORKER, replace(WORKER, descriptors=20))), id="a descriptor"),
        pytest.param(replace(QUIET, workers=(WORKER, replace(WORKER, tasks=2))), id="a task"),
        pytest.param(replace(QUIET, workers=(WORKER, replace(WORKER, tasks=None))), id="tasks not told"),
        pytest.param(replace(QUIET, workers=(WORKER,)), id="a worker not looked at"),
    ],
)
def test_what_is_left_is_a_leak(after: Sample) -> None:
    assert len(leaks(QUIET, after)) == 1


def test_tasks_that_were_not_told_before_the_load_are_a_leak() -> None:
    before = replace(QUIET, workers=(replace(WORKER, tasks=None), replace(WORKER, tasks=None)))
    assert leaks(before, QUIET) == ["the tasks of a worker are not told"]
