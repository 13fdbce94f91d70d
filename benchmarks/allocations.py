"""`scripts/bench allocations`: what a request leaves behind in a worker: blocks, containers and reference cycles.

A worker runs in this process, under wrk, with the collector off; so all that a request leaves is there to be counted.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import uvloop

from benchmarks import servers, works
from benchmarks.command import UNPUBLISHED, prepare_process, report_errors
from benchmarks.in_process import ANSWER_SECONDS, worker_here
from benchmarks.measure import SETTLE_SECONDS, parse_load, wrk
from benchmarks.model import OURS, Kind, Work
from benchmarks.processes import Cores, command, configure, find_tools, make_site, started
from benchmarks.report import table
from benchmarks.servers import BACKEND, BenchError
from proxy.config_file import load

PER_REQUEST_LIMIT = 0.02


@dataclass(frozen=True, slots=True)
class Left:
    """What was left by `requests` requests: memory blocks, tracked containers, and objects in reference cycles."""

    work: str
    requests: int
    blocks: int
    containers: int
    cyclic: int

    def worst(self) -> float:
        """The largest of the three, per request."""
        return max(self.blocks, self.containers, self.cyclic) / max(1, self.requests)


async def count(work: Work, seconds: int, cores: Cores) -> Left:
    """Loads the worker of this process and counts what is left when the load is over."""
    await under_load(work, SETTLE_SECONDS, cores)
    gc.collect()
    gc.disable()
    blocks, containers = sys.getallocatedblocks(), gc.get_count()[0]
    requests = await under_load(work, seconds, cores)
    more_containers = gc.get_count()[0] - containers
    cyclic = gc.collect()
    more_blocks = sys.getallocatedblocks() - blocks
    gc.enable()
    return Left(work.name, requests, more_blocks, more_containers, cyclic)


async def under_load(work: Work, seconds: int, cores: Cores) -> int:
    """Runs wrk and returns its number of requests, once its connections are gone."""
    (server,) = servers.choose((OURS,))
    argv = command(wrk(work, server.port, seconds), cores.load)
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(seconds + ANSWER_SECONDS):
        output, _ = await process.communicate()
    await asyncio.sleep(SETTLE_SECONDS)
    result = parse_load(output.decode())
    if result.errors:
        raise BenchError(f"{result.errors} of {result.requests} requests failed")
    return result.requests


async def measure(chosen: tuple[Work, ...], seconds: int, cores: Cores, directory: Path, site: Path) -> list[Left]:
    (server,) = servers.choose((OURS,))
    config = configure(server, directory, site, 1).config
    async with worker_here(load(str(config)), server.port):
        return [await count(work, seconds, cores) for work in chosen]


def to_markdown(results: list[Left]) -> str:
    def each(number: int, result: Left) -> str:
        return f"{number} ({number / max(1, result.requests):.4f})"

    return table(
        ("work", "requests", "blocks left (per request)", "containers left", "objects in cycles"),
        [(r.work, f"{r.requests:,}", each(r.blocks, r), each(r.containers, r), each(r.cyclic, r)) for r in results],
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.IntRange(1, 120), default=5)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=UNPUBLISHED)
def main(seconds: int, out: Path) -> None:
    """Counts what requests leave behind in a worker; exit code 1 when it is more than one thing in fifty requests."""
    find_tools(("nginx", "wrk", "taskset", "setpriv"))
    cores = Cores.split(tuple(sorted(os.sched_getaffinity(0))))
    chosen = tuple(w for w in works.choose(("proxied-1k", "static-10k")) if w.kind is Kind.REQUESTS)
    prepare_process(Cores((), ()))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        site = make_site(directory)
        with started(BACKEND, directory, site, 1, cores.load) as backend:
            backend.wait_ready("/1k.bin")
            if cores.server:
                os.sched_setaffinity(0, cores.server)
            results = uvloop.run(measure(chosen, seconds, cores, directory, site))
    text = to_markdown(results)
    out.mkdir(parents=True, exist_ok=True)
    (out / "allocations.json").write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    click.echo(text)
    if any(result.worst() > PER_REQUEST_LIMIT for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    report_errors(main)
