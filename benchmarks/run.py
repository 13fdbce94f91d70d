"""The run: every work, every server beside the others, in rounds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from benchmarks.check import check
from benchmarks.measure import Bounds, Measuring
from benchmarks.model import QUIET, Kind, Measurement, Summary, Work, summarize
from benchmarks.processes import Backend, Cores, Running, make_site, started
from benchmarks.servers import BACKEND, BenchError, Server
from benchmarks.works import together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: `rounds` interleaved rounds of `bounds` for each work and server, times the work's `repeat`.

    A measurement that other processes disturbed is made again, up to `tries` times in all; the quietest counts.
    """

    works: tuple[Work, ...]
    servers: tuple[Server, ...]
    rounds: int
    bounds: Bounds
    cores: Cores
    tries: int = 1


@dataclass
class Outcome:
    """What came out so far; `failures` are (work, server, reason) of what could not be measured."""

    measurements: list[Measurement] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


class Runner:
    """Carries out a plan in a directory of its own. A server that fails is left out of that work, and named."""

    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._directory = directory
        self._say = say
        self._site = make_site(directory)
        self.outcome = Outcome()

    def __repr__(self) -> str:
        return f"<Runner {self._plan!r} measured={len(self.outcome.measurements)}>"

    def run(self) -> Outcome:
        """Measures all; `outcome` holds what was measured even when this ends early."""
        with started(BACKEND, self._directory, self._site, 1, self._plan.cores.load) as running:
            running.wait_ready("/1k.bin")
            backend = Backend(running)
            measuring = Measuring(backend, self._plan.cores)
            for works in together(self._plan.works):
                servers = [server for server in self._plan.servers if all(map(server.takes, works))]
                self._say("; ".join(f"{work.title} ({work.name})" for work in works))
                if works[0].kind is Kind.IDLE:
                    found = self._fresh_each_round(works[0], servers, measuring, backend)
                else:
                    found = self._side_by_side(works, servers, measuring, backend)
                for work in works:
                    self._keep(work, [m for m in found if m.work == work.name])
        return self.outcome

    def _keep(self, work: Work, found: list[Measurement]) -> None:
        self.outcome.measurements += found
        for name in dict.fromkeys(m.server for m in found):
            rounds = [m for m in found if m.server == name]
            self.outcome.summaries.append(summarize(rounds, work.connections))

    def _side_by_side(
        self, works: tuple[Work, ...], servers: list[Server], measuring: Measuring, backend: Backend
    ) -> list[Measurement]:
        """All servers are up at once; a round measures each in turn, so that the machine's moods hit all alike.

        With several works a server has one after the other in each round, as it is these that are compared.
        """
        found: list[Measurement] = []
        with contextlib.ExitStack() as stack:
            up: list[Running] = []
            for server in servers:
                with self._failing(server, *works):
                    up.append(stack.enter_context(self._checked(works[0], server, backend)))
            for running, work in product(up, works):
                with self._failing(running.server, work):
                    measuring.warm(running, work)
            for number in range(1, self._plan.rounds * works[0].repeat + 1):
                for running, work in product(up, works):
                    with self._failing(running.server, work):
                        found.append(self._quietest(measuring, running, work, number))
        return found

    def _fresh_each_round(
        self, work: Work, servers: list[Server], measuring: Measuring, backend: Backend
    ) -> list[Measurement]:
        """A server keeps the memory that a first round made it take, so each round has a new process."""
        found: list[Measurement] = []
        for number in range(1, self._plan.rounds + 1):
            for server in servers:
                with self._failing(server, work), self._checked(work, server, backend) as running:
                    found.append(measuring.measure(running, work, number, self._plan.bounds))
                    self._tell(found[-1])
        return found

    def _quietest(self, measuring: Measuring, running: Running, work: Work, number: int) -> Measurement:
        tried: list[Measurement] = []
        while len(tried) < self._plan.tries and (not tried or tried[-1].foreign > QUIET):
            tried.append(measuring.measure(running, work, number, self._plan.bounds))
            self._tell(tried[-1])
        return min(tried, key=lambda m: m.foreign)

    @contextlib.contextmanager
    def _checked(self, work: Work, server: Server, backend: Backend) -> Iterator[Running]:
        cores = () if work.shared_cores else self._plan.cores.server
        with started(server, self._directory, self._site, work.workers, cores) as running:
            running.wait_ready("/1k.bin")
            check(running, backend, self._site)
            yield running

    @contextlib.contextmanager
    def _failing(self, server: Server, *works: Work) -> Iterator[None]:
        try:
            yield
        except (BenchError, OSError) as error:
            self.outcome.failures += [(work.name, server.name, str(error)) for work in works]
            self._say(f"  {server.name}: {error}")

    def _tell(self, m: Measurement) -> None:
        text = (
            f"  round {m.round} {m.server:12} {m.work:16} {m.cpu_us:10.1f} us ({m.user_us:.1f} user)"
            f"  {m.request_rate:9.0f}/s {m.throughput / 1e6:8.1f} MB/s  busy {m.busy:4.0%} foreign {m.foreign:4.0%}"
            f"  p50 {m.load.p50_us / 1000:.2f} p99 {m.load.p99_us / 1000:.2f} max {m.load.max_us / 1000:.1f} ms"
            f"  rss {m.rss_after / 2**20:.1f} MiB"
        )
        self._say(text + (f"  [{m.problem}]" if m.problem else ""))
