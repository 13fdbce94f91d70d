"""`scripts/bench memory`: is memory flat over a million requests that all differ, and 1 GB down and up?"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import machine, servers, works
from benchmarks.command import PUBLISHED, prepare_process, report_errors
from benchmarks.download import connect, run
from benchmarks.measure import GRACE_SECONDS, finish, generator, wrk
from benchmarks.model import GB, KB, OURS
from benchmarks.processes import Backend, Cores, Running, find_tools, make_site, started
from benchmarks.report import table
from benchmarks.servers import BACKEND, SINK_PORT, TEMPLATES, BenchError
from benchmarks.sink import Sink, upload
from benchmarks.targets import FLAT_BYTES, MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUESTS = 1_000_000
WRK_SECONDS = 10
WARM_SECONDS = 3
LONGEST = 600.0
SAMPLE_SECONDS = 0.5
GIANT = "1g.bin"
FIRST_SEED = 20260101
VARIED = str(TEMPLATES / "varied.lua")


@dataclass(frozen=True, slots=True)
class Leg:
    """One load: resident memory in bytes before, at its peak and after; `series` is (seconds, bytes)."""

    title: str
    done: str
    seconds: float
    before: int
    peak: int
    after: int
    series: tuple[tuple[float, int], ...]

    @property
    def growth(self) -> int:
        return self.peak - self.before


@contextlib.contextmanager
def sampling(running: Running) -> Iterator[list[tuple[float, int]]]:
    """Reads the server's resident memory every half second into the list."""
    begin = time.monotonic()
    series: list[tuple[float, int]] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            series.append((time.monotonic() - begin, running.usage().rss))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield series
    finally:
        stop.set()
        thread.join()


def observe(title: str, running: Running, load: Callable[[], str]) -> Leg:
    """Runs a load, which returns what it has done in words, and watches the server's memory."""
    running.reset_peak()
    before = running.usage()
    begin = time.monotonic()
    with sampling(running) as series:
        done = load()
    seconds = time.monotonic() - begin
    after = running.usage()
    return Leg(title, done, seconds, before.rss, after.peak_rss, after.rss, tuple(series))


def small_requests(running: Running, backend: Backend, cores: Cores, wanted: int, seconds: int) -> str:
    """wrk, `seconds` at a time, until the backend has served `wanted` requests or ten minutes are over.

    Each request has another target, and one of many hosts, user agents, referers and cookies; the connections change
    now and then, and all of them with each wrk. Raises BenchError when requests fail or are missing.
    """
    (work,) = works.choose(("proxied-1k",))
    first = backend.counters()[1]
    deadline = time.monotonic() + LONGEST
    errors = 0
    seeds = count(FIRST_SEED)
    while (served := backend.counters()[1] - first) < wanted and time.monotonic() < deadline:
        argv = [*wrk(work, running.server.port, seconds, VARIED), "--", str(next(seeds))]
        with generator(argv, cores.load) as process:
            errors += finish(process, seconds + GRACE_SECONDS).errors
    if served < wanted or errors:
        raise BenchError(f"{served:,} of {wanted:,} requests were served, {errors} failed")
    return f"{served:,} requests"


def large_download(port: int) -> str:
    with contextlib.closing(connect("127.0.0.1", port, f"/{GIANT}", GB, time.monotonic)) as client:
        load = run([client], LONGEST, 1, time.monotonic)
    if load.errors or load.requests != 1:
        raise BenchError("the download of 1 GB failed")
    return f"{load.received:,} bytes"


def large_upload(port: int, sink: Sink, *, chunked: bool) -> str:
    try:
        taken = upload(port, GB, LONGEST, chunked=chunked)
    except (OSError, HTTPException, ValueError) as error:
        raise BenchError(f"the upload of 1 GB failed: {error}") from error
    if taken != GB or sink.bodies[-1:] != [GB]:
        raise BenchError(f"the backend got {taken} of {GB} bytes")
    return f"{taken:,} bytes"


def measure(cores: Cores, directory: Path, requests: int) -> list[Leg]:
    """The four legs, two each in one process of ours. Raises BenchError when a load fails."""
    (server,) = servers.choose((OURS,))
    site = make_site(directory)
    legs = []
    with contextlib.ExitStack() as stack:
        backend = Backend(stack.enter_context(started(BACKEND, directory, site, 1, cores.load)))
        backend.running.wait_ready("/1k.bin")
        running = stack.enter_context(started(server, directory, site, 1, cores.server))
        running.wait_ready("/1k.bin")
        small_requests(running, backend, cores, 1, WARM_SECONDS)
        load = f"{requests:,} differing requests of 1 KB"
        legs.append(observe(load, running, lambda: small_requests(running, backend, cores, requests, WRK_SECONDS)))
        # Made only now, so that no server hashes it as a static file.
        with (site / GIANT).open("wb") as file:
            file.truncate(GB)
        legs.append(observe("a download of 1 GB", running, lambda: large_download(server.port)))
        (site / GIANT).unlink()
    with Sink(SINK_PORT) as sink, started(server, directory, site, 1, cores.server, backend_port=SINK_PORT) as running:
        running.wait_ready("/static/10k.js")
        for chunked in (False, True):
            upload(server.port, 64 * KB, LONGEST, chunked=chunked)
        title = "an upload of 1 GB"
        legs.append(observe(title, running, lambda: large_upload(server.port, sink, chunked=False)))
        title = "a chunked upload of 1 GB"
        legs.append(observe(title, running, lambda: large_upload(server.port, sink, chunked=True)))
    return legs


def to_markdown(legs: list[Leg], where: machine.Machine, made: datetime, commit: str, picture: str) -> str:
    def mib(size: int) -> str:
        return f"{size / MIB:.1f}"

    rows = [
        (
            *(leg.title, leg.done, "flat" if leg.growth <= FLAT_BYTES else "**not flat**"),
            *(f"{leg.seconds:.1f}", mib(leg.before), mib(leg.peak), mib(leg.after), mib(leg.growth)),
        )
        for leg in legs
    ]
    head = ("load", "done", "verdict", "seconds", "before", "peak", "after", "growth")
    return "\n".join(
        (
            "# Memory",
            "",
            f"Made {made:%Y-%m-%d %H:%M} UTC by `scripts/bench memory` at commit {commit}; {where.cpu}, "
            f"Linux {where.kernel}, Python {where.python}.",
            "",
            "Resident memory of supervisor and one worker together, MiB; the peak is the kernel's own. "
            f"Flat means that the peak is at most {FLAT_BYTES // MIB} MiB over the start. Each request has a target of "
            "its own, and one of 200,000 hosts and user agents and 1,000,000 cookies and referers; one in 50 is its "
            "connection's last, and every 10 s all connections are new.",
            "",
            table(head, rows, left=3),
            f"![Resident memory over time]({picture})",
            "",
        )
    )


def draw(legs: list[Leg], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.hashsalt": "switchyard", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(1, len(legs), figsize=(12, 2.6), squeeze=False, layout="constrained", sharey=True)
    for axes, leg in zip(grid.flat, legs, strict=True):
        points = [(0.0, leg.before), *leg.series, (leg.seconds, leg.after)]
        axes.plot([at for at, _ in points], [size / MIB for _, size in points], color="#2f6f9f")
        axes.set_title(leg.title, fontsize=9)
        axes.set_xlabel("seconds", fontsize=7)
        axes.set_ylim(0, max(leg.peak for leg in legs) / MIB * 1.2)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    grid.flat[0].set_ylabel("RSS, MiB", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", type=click.IntRange(1), default=REQUESTS, help="How many small requests.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=PUBLISHED)
def main(requests: int, out: Path) -> None:
    """Loads one worker with a million differing requests, 1 GB down, 1 GB up sized and chunked; watches its memory."""
    find_tools(("nginx", "wrk", "taskset", "setpriv"))
    cores = Cores.split(tuple(sorted(os.sched_getaffinity(0))))
    made, where = datetime.now(UTC), machine.read()
    prepare_process(cores)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        legs = measure(cores, Path(directory), requests)
    out.mkdir(parents=True, exist_ok=True)
    draw(legs, out / "memory.svg")
    text = to_markdown(legs, where, made, machine.commit(), "memory.svg")
    (out / "memory.md").write_text(text)
    click.echo(text)
    if any(leg.growth > FLAT_BYTES for leg in legs):
        raise SystemExit(1)


if __name__ == "__main__":
    report_errors(main)
