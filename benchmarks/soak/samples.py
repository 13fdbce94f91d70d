"""What is taken of the proxy's processes in samples: memory, descriptors, sockets, tasks, and the status's figures."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FLAT_BYTES: Final = 8 * 1024 * 1024
QUARTER: Final = 4


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker: bytes resident, open descriptors, established connections, requests, and the event loop's tasks.

    `tasks` None: the metrics don't tell them.
    """

    pid: int
    rss: int
    descriptors: int
    connections: int
    tasks: int | None
    requests: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """`at`: seconds since the load began. Requests in flight, held and tunnels are the app's, over all workers.

    `counted`: requests by the metrics' counters, of all workers there have been; None: the metrics don't tell.
    """

    at: float
    workers: tuple[Worker, ...]
    in_flight: int
    backends_in_flight: int
    held: int
    tunnels: int
    counted: int | None = 0

    @property
    def connections(self) -> int:
        return sum(worker.connections for worker in self.workers)


def take(at: float, status: Mapping[str, Any], metrics: str) -> Sample:
    """Of the status, the metrics' text and /proc. A worker that ends meanwhile is left out."""
    workers = []
    for one in status["workers"]:
        try:
            process = psutil.Process(one["pid"])
            established = [c for c in process.net_connections("tcp") if c.status != psutil.CONN_LISTEN]
            rss, descriptors = process.memory_info().rss, process.num_fds()
        except psutil.Error:
            continue
        tasks = tasks_of(metrics, one["id"])
        workers.append(Worker(one["pid"], rss, descriptors, len(established), tasks, one["requests"]))
    (app,) = status["apps"]
    slots = app["slots"]
    return Sample(
        at,
        tuple(workers),
        sum(slot["in_flight"] for slot in slots),
        sum(backend["in_flight"] for slot in slots for backend in slot["backends"]),
        app["held"],
        sum(slot["tunnels"] for slot in slots),
        counted(metrics),
    )


def tasks_of(metrics: str, worker: int) -> int | None:
    """The worker's tasks, of the metrics' text; None when it doesn't tell. 0 stands for a worker not yet asked."""
    name = f'switchyard_worker_tasks{{worker="{worker}"}} '
    for line in metrics.splitlines():
        if line.startswith(name):
            return int(float(line.removeprefix(name))) or None
    return None


def counted(metrics: str) -> int | None:
    """Requests that the counters have, forwarded and answered by the proxy itself; None when a counter is missing."""
    total = 0.0
    for name in ("switchyard_requests_total{", "switchyard_own_answers_total"):
        lines = [line for line in metrics.splitlines() if line.startswith(name)]
        if not lines and f"# TYPE {name.removesuffix('{')} counter" not in metrics:
            return None
        total += sum(float(line.rpartition(" ")[2]) for line in lines)
    return int(total)


def leaks(before: Sample, after: Sample) -> list[str]:
    """What is left when the load has ended, against what there was before it, worker by worker in no order."""
    counts = ("in_flight", "backends_in_flight", "held", "tunnels", "connections")
    figures = [(name, getattr(after, name)) for name in counts]
    found = [f"{name.replace('_', ' ')} {value} when the load had ended" for name, value in figures if value]
    if len(after.workers) != len(before.workers) or not before.workers:
        found.append(f"{len(after.workers)} workers could be looked at, {len(before.workers)} before the load")
    for name in ("descriptors", "tasks"):
        left = [(worker.pid, getattr(worker, name)) for worker in after.workers]
        known = [getattr(worker, name) for worker in before.workers if getattr(worker, name) is not None]
        if len(known) < len(before.workers) or any(value is None for _, value in left):
            found.append(f"the {name} of a worker are not told")
            continue
        most = max(known, default=0)
        found += [f"worker {pid} has {value} {name}, {most} before the load" for pid, value in left if value > most]
    return found


def growth(samples: Sequence[Sample], pids: Sequence[int], warm: float) -> dict[int, tuple[int, int]]:
    """Of each of these workers: the median of resident bytes in the first and last quarter of its time after `warm`.

    Workers of which there are fewer than eight samples are left out.
    """
    result = {}
    for pid in pids:
        series = [worker.rss for one in samples if one.at >= warm for worker in one.workers if worker.pid == pid]
        if len(series) >= 2 * QUARTER:
            part = len(series) // QUARTER
            result[pid] = (int(statistics.median(series[:part])), int(statistics.median(series[-part:])))
    return result
