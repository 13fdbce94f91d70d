"""The benchmark's nouns: what is measured, on whom, and what came out. Pure data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from statistics import median

OURS = "switchyard"
QUIET = 0.15
"""The most CPU time of other processes, in cores, with which a measurement counts as undisturbed."""


class Kind(Enum):
    """How a work's load is made."""

    REQUESTS = "requests"  # many small answers, by wrk
    DOWNLOAD = "download"  # large bodies, by benchmarks.download
    IDLE = "idle"  # connections that have served one request and then stay open, by benchmarks.idle


class Source(Enum):
    """Where the body comes from."""

    PROXIED = "proxied"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the targets table: a load that every server gets in the same way.

    `size` is the body's length in bytes, `connections` the number kept open at the same time, `workers` the
    server's worker processes (or threads). With `shared_cores` the server and the load run on all cores; else the
    server has the first core alone, and load and backend have the others. `max_requests` bounds a download. `repeat`:
    so many times as many rounds as the plan says (not for idle works). Works of one `group` follow each other, are
    alike in all but the load, and are measured together: each round has all of them, on the same processes.
    """

    name: str
    title: str
    kind: Kind
    source: Source
    size: int
    connections: int
    workers: int = 1
    shared_cores: bool = False
    max_requests: int = 0
    repeat: int = 1
    group: str = ""

    @property
    def path(self) -> str:
        prefix = "/static/" if self.source is Source.STATIC else "/"
        return f"{prefix}{BODY_NAMES[self.size]}"


KB, MB, GB = 1024, 1024**2, 1024**3
BODY_NAMES = {KB: "1k.bin", 10 * KB: "10k.js", MB: "1m.bin", 100 * MB: "100m.bin"}


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator saw in one run. Seconds, bytes; latencies in microseconds, 0 where not measured."""

    requests: int
    seconds: float
    received: int
    errors: int
    p50_us: float = 0.0
    p99_us: float = 0.0
    max_us: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes of one server have used up to now, together.

    `user` and `system` are CPU seconds, `rss`, `pss` and `peak_rss` bytes (`peak_rss` since the last reset),
    `pids` the processes that were counted.
    """

    user: float
    system: float
    rss: int
    pss: int
    peak_rss: int
    pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One server under one work in one round.

    CPU is microseconds a request; `requests` are those the CPU was divided by, `window` their seconds. `busy` is
    the server's CPU time as a share of the window (1.0 is one core), `foreign` that of all processes that aren't the
    benchmark's. Memory is bytes, over all the server's
    processes: before the load, after it, and the peak in between; `pss_settled` some time after an idle work's last
    request, 0 for other works.
    """

    work: str
    server: str
    round: int
    load: Load
    requests: int
    window: float
    user_us: float
    system_us: float
    busy: float
    foreign: float
    rss_before: int
    rss_after: int
    rss_peak: int
    pss_before: int
    pss_after: int
    problem: str = ""
    pss_settled: int = 0

    @property
    def cpu_us(self) -> float:
        return self.user_us + self.system_us

    @property
    def throughput(self) -> float:
        """Body and head bytes a second that reached the clients."""
        return self.load.received / self.load.seconds if self.load.seconds else 0.0

    @property
    def request_rate(self) -> float:
        return self.load.requests / self.load.seconds if self.load.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Summary:
    """The rounds of one server under one work: medians, and the spread of the measure that counts.

    `cpu_low` and `cpu_high` are the least and the most CPU microseconds a request of any round, `cpu_by_round` that of
    each by its number. `idle_kib` is KiB a connection, for idle works alone, directly after the last request, and
    `settled_kib` some time later. `growth` is bytes: the highest peak over the first round's start.
    """

    work: str
    server: str
    rounds: int
    cpu_us: float
    user_us: float
    system_us: float
    cpu_low: float
    cpu_high: float
    rate: float
    throughput: float
    p50_us: float
    p99_us: float
    max_us: float
    busy: float
    foreign: float
    rss: int
    pss: int
    growth: int
    idle_kib: float
    errors: int
    problems: tuple[str, ...] = field(default=())
    settled_kib: float = 0.0
    cpu_by_round: dict[int, float] = field(default_factory=dict)


def summarize(measurements: list[Measurement], connections: int) -> Summary:
    """Reduces the rounds of one server under one work (at least one) to their medians."""
    first = measurements[0]
    idle = [(m.pss_after - m.pss_before) / 1024 / connections for m in measurements]
    settled = [(m.pss_settled - m.pss_before) / 1024 / connections for m in measurements if m.pss_settled]
    return Summary(
        work=first.work,
        server=first.server,
        rounds=len(measurements),
        cpu_us=median(m.cpu_us for m in measurements),
        user_us=median(m.user_us for m in measurements),
        system_us=median(m.system_us for m in measurements),
        cpu_low=min(m.cpu_us for m in measurements),
        cpu_high=max(m.cpu_us for m in measurements),
        rate=median(m.request_rate for m in measurements),
        throughput=median(m.throughput for m in measurements),
        p50_us=median(m.load.p50_us for m in measurements),
        p99_us=median(m.load.p99_us for m in measurements),
        max_us=max(m.load.max_us for m in measurements),
        busy=median(m.busy for m in measurements),
        foreign=median(m.foreign for m in measurements),
        rss=max(m.rss_after for m in measurements),
        pss=max(m.pss_after for m in measurements),
        growth=max(m.rss_peak for m in measurements) - first.rss_before,
        idle_kib=median(idle),
        errors=sum(m.load.errors for m in measurements),
        problems=tuple(m.problem for m in measurements if m.problem),
        settled_kib=median(settled) if settled else 0.0,
        cpu_by_round={m.round: m.cpu_us for m in measurements},
    )
