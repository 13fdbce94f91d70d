"""The targets table as data, and the verdict on each: met, not met, not measured, or shown without a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING

from benchmarks.model import OURS, Kind, Summary, Work
from benchmarks.works import CONNECTIONS, WORKS

if TYPE_CHECKING:
    from benchmarks.switching_run import SwitchingRun

Results = Mapping[tuple[str, str], Summary]
Measure = Callable[[Results, str], float | None]
MIB = 2**20
FLAT_BYTES = 8 * MIB
LARGE = ("proxied-1m", "static-1m", "proxied-100m", "static-100m")
NGINX = "nginx"
PEERS = (NGINX, "nginx-tuned", "nginx-buffered", "haproxy", "caddy", "aiohttp")


def nothing(_: Results) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one value of a run.

    `value` gives None when what it needs was not measured. With `at_most` the value must not exceed `limit`
    (required; None when the value is only shown) and `goal` (wished for, None when there is none); else it must reach
    them. `beside` is text that lets a reader judge the value: what it is made of, and the peers' own.
    """

    title: str
    unit: str
    limit: float | None
    goal: float | None
    value: Callable[[Results], float | None]
    at_most: bool = True
    beside: Callable[[Results], str] = nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """`met` is None when the value was not measured or has no bound (`bound` is ""), `goal_met` also without a goal."""

    title: str
    unit: str
    bound: str
    value: float | None
    met: bool | None
    goal_met: bool | None
    beside: str = ""


def of(work: str, read: Callable[[Summary], float]) -> Measure:
    """A server's own value of one work; None when it was not measured, or is zero."""

    def measure(results: Results, server: str) -> float | None:
        summary = results.get((work, server))
        return (read(summary) or None) if summary else None

    return measure


def cpu(work: str) -> Measure:
    """CPU microseconds a request."""
    return of(work, lambda summary: summary.cpu_us)


def p99(work: str) -> Measure:
    """Milliseconds that 99 of 100 answers need at most."""
    return of(work, lambda summary: summary.p99_us / 1000)


def throughput(work: str) -> Measure:
    """Megabytes a second."""
    return of(work, lambda summary: summary.throughput / 1e6)


def scaling(results: Results, server: str) -> float | None:
    """The dearest request over the cheapest, over all numbers of connections.

    Each cost is taken as a share of its round's mean, and the medians of these are compared: what the machine's speed
    does from one round to the next hits all of a round alike.
    """
    summaries = [results.get((f"connections-{n}", server)) for n in CONNECTIONS]
    by_round = [summary.cpu_by_round for summary in summaries if summary is not None]
    if len(by_round) < len(CONNECTIONS):
        return None
    rounds = [[costs[n] for costs in by_round] for n in by_round[0] if all(costs.get(n) for costs in by_round)]
    if not rounds:
        return None
    shares = [[cost / fmean(costs) for cost in costs] for costs in rounds]
    medians = [median(share[place] for share in shares) for place in range(len(CONNECTIONS))]
    return max(medians) / min(medians)


def two_workers(results: Results, server: str) -> float | None:
    """A request's cost with two workers over its cost with one, on the same cores."""
    one, two = cpu("one-worker")(results, server), cpu("two-workers")(results, server)
    return two / one if one and two else None


def ours(measure: Measure) -> Callable[[Results], float | None]:
    return lambda results: measure(results, OURS)


def ratio(measure: Measure, peer: str) -> Callable[[Results], float | None]:
    """Our value over the peer's."""

    def value(results: Results) -> float | None:
        mine, theirs = measure(results, OURS), measure(results, peer)
        return mine / theirs if mine is not None and theirs else None

    return value


def cpu_ratio(work: str, peer: str) -> Callable[[Results], float | None]:
    """Our CPU time a request over the peer's: the median of the rounds' own ratios.

    A virtual machine's speed changes by half within minutes; in a round the servers are measured one after the other.
    """

    def value(results: Results) -> float | None:
        mine, theirs = results.get((work, OURS)), results.get((work, peer))
        if mine is None or theirs is None:
            return None
        pairs = ((mine.cpu_by_round[n], theirs.cpu_by_round.get(n)) for n in mine.cpu_by_round)
        ratios = [own / other for own, other in pairs if other]
        return median(ratios) if ratios else None

    return value


def ratio_to_most(measure: Measure) -> Callable[[Results], float | None]:
    """Our value over the highest of any peer."""

    def value(results: Results) -> float | None:
        mine, theirs = measure(results, OURS), [measure(results, peer) for peer in PEERS]
        most = max((value for value in theirs if value is not None), default=0.0)
        return mine / most if mine is not None and most else None

    return value


def growth(work: str) -> Callable[[Results], float | None]:
    """Our highest peak of resident memory over what was resident before the load, in MiB."""

    def value(results: Results) -> float | None:
        found = results.get((work, OURS))
        return found.growth / MIB if found else None

    return value


def side_by_side(measure: Measure, unit: str, digits: int, *peers: str) -> Callable[[Results], str]:
    """Our own value and those of the peers that were measured, as text."""

    def text(results: Results) -> str:
        values = ((server, measure(results, server)) for server in (OURS, *peers))
        shown = [f"{server} {value:,.{digits}f}{unit}" for server, value in values if value is not None]
        return ", ".join(shown) if len(shown) > 1 else ""

    return text


def cpu_target(title: str, work: str, peer: str, limit: float | None, goal: float | None = None) -> Target:
    medians = side_by_side(cpu(work), " µs", 1, peer)

    def text(results: Results) -> str:
        found = medians(results)
        return f"medians: {found}" if found else ""

    return Target(title, " x", limit, goal, cpu_ratio(work, peer), beside=text)


def p99_target(work: Work) -> Target:
    """Shown: the design asks for the ratio and gives no number for it."""
    text = side_by_side(p99(work.name), " ms", 2, NGINX, "haproxy")
    return Target(f"{work.title}, p99 beside nginx", " x", None, None, ratio(p99(work.name), NGINX), beside=text)


def throughput_targets(work: str) -> tuple[Target, Target]:
    measure = throughput(work)
    text = side_by_side(measure, " MB/s", 0, *PEERS)
    return (
        Target(f"{work}, throughput beside nginx", " x", 0.8, 1.0, ratio(measure, NGINX), at_most=False, beside=text),
        Target(f"{work}, throughput beside the fastest peer", " x", None, None, ratio_to_most(measure)),
    )


def idle_target(title: str, read: Callable[[Summary], float]) -> Target:
    measure = of("idle", read)
    return Target(title, " KiB", 4.0, 2.0, ours(measure), beside=side_by_side(measure, " KiB", 2, *PEERS))


TARGETS = (
    cpu_target("1 KB proxied, CPU beside nginx", "proxied-1k", NGINX, 1.6, 1.2),
    cpu_target("1 KB proxied, CPU beside nginx with a buffered log", "proxied-1k", "nginx-buffered", None),
    cpu_target("1 KB proxied, CPU beside Caddy", "proxied-1k", "caddy", 0.35),
    cpu_target("1 KB proxied, CPU beside an aiohttp proxy", "proxied-1k", "aiohttp", 0.2),
    cpu_target("10 KB static, CPU beside nginx as installed", "static-10k", NGINX, 0.9, 0.7),
    cpu_target("10 KB static, CPU beside nginx tuned", "static-10k", "nginx-tuned", 1.3, 1.0),
    cpu_target("10 KB static, CPU beside nginx tuned with a buffered log", "static-10k", "nginx-buffered", None),
    *(target for work in LARGE for target in throughput_targets(work)),
    *(Target(f"{work}, growth of memory", " MiB", FLAT_BYTES / MIB, None, growth(work)) for work in LARGE),
    Target(
        *("10 to 5,000 connections, dearest request over cheapest", " x", 1.3, 1.1, ours(scaling)),
        beside=side_by_side(scaling, " x", 2, NGINX, "haproxy"),
    ),
    idle_target("10,000 idle connections, memory of each, 1 s after the last request", lambda s: s.idle_kib),
    idle_target("10,000 idle connections, memory of each, 8 s after the last request", lambda s: s.settled_kib),
    Target(
        *("2 workers on 2 cores, CPU beside 1 worker", " x", 1.1, None, ours(two_workers)),
        beside=side_by_side(two_workers, " x", 2, NGINX, "haproxy", "caddy"),
    ),
    *(p99_target(work) for work in WORKS if work.kind is Kind.REQUESTS),
)


def switching_targets(run: SwitchingRun | None) -> tuple[Target, ...]:
    """The bounds on switching, from the run of `scripts/bench switch` that was published last (None: there is none)."""
    made = f" (run of {run.made})" if run else ""
    failures = ", ".join(f"{name} {count:,}" for name, count in run.failed.items()) if run else ""
    return (
        Target(f"switch under full load, hold p99{made}", " ms", 5.0, 1.0, lambda _: run.hold_p99_ms if run else None),
        Target(
            f"switch under full load, failed requests{made}",
            *("", 0, None, lambda _: run.failed.get(OURS) if run else None),
            beside=lambda _: failures,
        ),
    )


def judge(target: Target, results: Results) -> Verdict:
    value = target.value(results)
    sign = "≤" if target.at_most else "≥"
    bound = "" if target.limit is None else f"{sign} {target.limit:g}{target.unit}"
    direction = 1 if target.at_most else -1

    def within(limit: float | None) -> bool | None:
        return None if value is None or limit is None else direction * value <= direction * limit

    return Verdict(
        *(target.title, target.unit, bound, value, within(target.limit), within(target.goal)),
        beside=target.beside(results),
    )


def judge_all(summaries: list[Summary], switching: SwitchingRun | None = None) -> list[Verdict]:
    """The verdict on every target, from the summaries of a run (partial ones too) and the last run of switches."""
    results = {(summary.work, summary.server): summary for summary in summaries}
    return [judge(target, results) for target in (*TARGETS, *switching_targets(switching))]
