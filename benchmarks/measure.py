"""One measurement: the load runs, and the server's processes are read before, in between and after."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks import procfs
from benchmarks.check import wait_for_lines
from benchmarks.model import Kind, Load, Measurement, Source, Usage, Work
from benchmarks.processes import REPOSITORY, command
from benchmarks.servers import TEMPLATES, BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.processes import Backend, Cores, Running

MARK = "SUMMARY "
GRACE_SECONDS = 60.0
SETTLE_SECONDS = 1
IDLE_SECONDS = 8
"""What an idle connection has had when it counts as settled: ours forgets its last request after five seconds."""
LOGGED_SHARE = 0.98
REST_SECONDS = 90.0
REST_LOOK = 0.5
REST_BUSY = 0.06
"""The CPU time, in cores, that idle servers may use: their timers, and the reading of these times itself."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a measurement lasts (whole seconds), and the share of a work's `max_requests` that it may make."""

    seconds: int
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Point:
    """What was read at one moment.

    `requests` is the backend's count; `machine` and `own` are CPU seconds of the whole machine and of the benchmark.
    """

    at: float
    usage: Usage
    requests: int
    machine: float
    own: float


def wrk(work: Work, port: int, seconds: int, script: str = str(TEMPLATES / "report.lua")) -> list[str]:
    """wrk's command for a work. `script` ends with the summary that `parse_load` reads."""
    url = f"http://127.0.0.1:{port}{work.path}"
    return ["wrk", "-t", "1", "-c", str(work.connections), "-d", f"{seconds}s", "--timeout", "10s", "-s", script, url]


def downloader(work: Work, port: int, bounds: Bounds) -> list[str]:
    maximum = max(work.connections, math.ceil(work.max_requests * bounds.share))
    return [
        *(sys.executable, "-m", "benchmarks.download", "--port", str(port), "--path", work.path),
        *("--size", str(work.size), "--connections", str(work.connections)),
        *("--seconds", str(bounds.seconds), "--max-requests", str(maximum)),
    ]


def opener(work: Work, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "benchmarks.idle", "--port", str(port), "--path", work.path),
        *("--connections", str(work.connections)),
    ]


def lines_expected(work: Work, requests: int) -> int:
    """The fewest lines of the access log that account for a load's requests.

    wrk closes its connections in the middle of an answer, which some servers don't log, and what a server buffers at
    the start can be of the load before: a fiftieth may be missing. Downloads are finished, and all are logged.
    """
    return requests if work.kind is not Kind.REQUESTS else math.ceil(requests * LOGGED_SHARE)


def parse_load(output: str) -> Load:
    """The load generator's summary from what it printed. Raises BenchError when there is none."""
    for line in output.splitlines():
        if line.startswith(MARK):
            return Load(**json.loads(line.removeprefix(MARK)))
    raise BenchError(f"the load generator printed no summary: {output[-300:]!r}")


@contextlib.contextmanager
def generator(argv: list[str], cores: tuple[int, ...]) -> Iterator[subprocess.Popen[str]]:
    """A load generator that runs; killed at the end if it still does."""
    process = subprocess.Popen(
        command(argv, cores), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str], seconds: float) -> Load:
    """Waits for the generator's summary. Raises BenchError when it fails or takes longer than `seconds`."""
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"the load generator has not ended after {seconds:.0f} s") from error
    if process.returncode:
        raise BenchError(f"the load generator ended with {process.returncode}: {output[-300:]!r}")
    return parse_load(output)


def wait_for_rest(busy: Callable[[], float] = procfs.own_busy, pause: Callable[[float], None] = time.sleep) -> None:
    """Returns when what the benchmark has started is idle.

    All servers share a core, and one that was overrun works on after its load has gone (the aiohttp proxy, with 5,000
    connections): half of that core was missing to the next. Raises BenchError after REST_SECONDS.
    """
    used = 0.0
    for _ in range(round(REST_SECONDS / REST_LOOK)):
        before = busy()
        pause(REST_LOOK)
        used = busy() - before
        if 0 <= used <= REST_BUSY * REST_LOOK:
            return
    cores = used / REST_LOOK
    raise BenchError(f"the servers still use {cores:.2f} cores {REST_SECONDS:.0f} s after the last load")


class Measuring:
    """Measures servers one at a time; knows the backend and the cores."""

    def __init__(self, backend: Backend, cores: Cores) -> None:
        self._backend = backend
        self._cores = cores

    def __repr__(self) -> str:
        return f"<Measuring {self._cores} {self._backend!r}>"

    def warm(self, running: Running, work: Work) -> None:
        """A short load whose result is thrown away, so that pools, caches and buffers have their size."""
        if work.kind is not Kind.IDLE:
            self._load(running, work, Bounds(1, 0.05))

    def measure(self, running: Running, work: Work, number: int, bounds: Bounds) -> Measurement:
        """Round `number` of one server under one work. Raises BenchError when the load can't be made."""
        wait_for_rest()
        running.empty_log()
        running.reset_peak()
        before = self._point(running)
        settled = 0
        if work.kind is Kind.IDLE:
            first = before
            load, last, settled = self._hold_idle(running, work)
        else:
            load, first, last = self._load(running, work, bounds, before)
        requests = load.requests
        if first is not before:
            # Each reading of the backend's counter is itself one of the requests counted.
            requests = last.requests - first.requests - 1
        result = self._result(running, work, number, load, max(1, requests), before, first, last)
        return replace(result, pss_settled=settled)

    def _point(self, running: Running) -> Point:
        requests = self._backend.counters()[1]
        return Point(time.monotonic(), running.usage(), requests, procfs.machine_busy(), procfs.own_busy())

    def _load(
        self, running: Running, work: Work, bounds: Bounds, before: Point | None = None
    ) -> tuple[Load, Point, Point]:
        before = before or self._point(running)
        first = last = before
        port = running.server.port
        windowed = work.kind is Kind.REQUESTS and work.source is Source.PROXIED
        if work.kind is Kind.REQUESTS:
            argv = wrk(work, port, bounds.seconds + (SETTLE_SECONDS + 1 if windowed else 0))
        else:
            argv = downloader(work, port, bounds)
        cores = () if work.shared_cores else self._cores.load
        with generator(argv, cores) as process:
            if windowed:
                time.sleep(SETTLE_SECONDS)
                first = self._point(running)
                time.sleep(bounds.seconds)
                last = self._point(running)
            load = finish(process, bounds.seconds + GRACE_SECONDS)
        return load, first, last if windowed else self._point(running)

    def _hold_idle(self, running: Running, work: Work) -> tuple[Load, Point, int]:
        """The load, what was read directly after the last request, and the PSS once the connections have settled."""
        with generator(opener(work, running.server.port), self._cores.load) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            if line.strip() != "READY":
                raise BenchError(f"the idle connections were not opened: {line!r}")
            time.sleep(SETTLE_SECONDS)
            last = self._point(running)
            time.sleep(IDLE_SECONDS - SETTLE_SECONDS)
            settled = running.usage().pss
            load = finish(process, GRACE_SECONDS)
        return load, last, settled

    def _result(
        self,
        running: Running,
        work: Work,
        number: int,
        load: Load,
        requests: int,
        before: Point,
        first: Point,
        last: Point,
    ) -> Measurement:
        user = last.usage.user - first.usage.user
        system = last.usage.system - first.usage.system
        window = last.at - first.at
        expected = lines_expected(work, load.requests)
        logged = wait_for_lines(running, expected)
        problems = [f"{load.errors} errors"] if load.errors else []
        if logged < expected:
            problems.append(f"logged {logged} of {load.requests} requests")
        if before.usage.pids != last.usage.pids:
            problems.append("a process of the server ended or began")
        return Measurement(
            work=work.name,
            server=running.server.name,
            round=number,
            load=load,
            requests=requests,
            window=window,
            user_us=user / requests * 1e6,
            system_us=system / requests * 1e6,
            busy=(user + system) / window,
            foreign=max(0.0, (last.machine - first.machine) - (last.own - first.own)) / window,
            rss_before=before.usage.rss,
            rss_after=last.usage.rss,
            rss_peak=last.usage.peak_rss,
            pss_before=before.usage.pss,
            pss_after=last.usage.pss,
            problem="; ".join(problems),
        )
