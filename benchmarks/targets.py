"""The targets table as data, and the verdict on each: met, not met, or not measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.model import OURS, Summary
from benchmarks.works import CONNECTIONS

Results = Mapping[tuple[str, str], Summary]
MIB = 2**20
FLAT_BYTES = 8 * MIB
LARGE = ("proxied-1m", "static-1m", "proxied-100m", "static-100m")


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on one value of a run.

    `value` gives None when what it needs was not measured. With `at_most` the value must not exceed `limit`
    (required) and `goal` (wished for, None when there is none); else it must reach them.
    """

    title: str
    unit: str
    limit: float
    goal: float | None
    value: Callable[[Results], float | None]
    at_most: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """`met` and `goal_met` are None when the value was not measured, `goal_met` also when there is no goal."""

    title: str
    unit: str
    bound: str
    value: float | None
    met: bool | None
    goal_met: bool | None


def cpu_ratio(work: str, peer: str) -> Callable[[Results], float | None]:
    """Our CPU time a request over the peer's."""

    def value(results: Results) -> float | None:
        ours, theirs = results.get((work, OURS)), results.get((work, peer))
        return ours.cpu_us / theirs.cpu_us if ours and theirs and theirs.cpu_us else None

    return value


def throughput_ratio(work: str, peer: str) -> Callable[[Results], float | None]:
    """Our bytes a second over the peer's."""

    def value(results: Results) -> float | None:
        ours, theirs = results.get((work, OURS)), results.get((work, peer))
        return ours.throughput / theirs.throughput if ours and theirs and theirs.throughput else None

    return value


def growth(work: str) -> Callable[[Results], float | None]:
    """Our highest peak of resident memory over what was resident before the load, in MiB."""

    def value(results: Results) -> float | None:
        ours = results.get((work, OURS))
        return ours.growth / MIB if ours else None

    return value


def scaling(results: Results) -> float | None:
    """The dearest request over the cheapest, over all numbers of connections."""
    costs = [results[key].cpu_us for n in CONNECTIONS if (key := (f"connections-{n}", OURS)) in results]
    return max(costs) / min(costs) if len(costs) == len(CONNECTIONS) and min(costs) else None


def idle_kib(results: Results) -> float | None:
    ours = results.get(("idle", OURS))
    return ours.idle_kib if ours else None


def two_workers(results: Results) -> float | None:
    """A request's cost with two workers over its cost with one, on the same cores."""
    one, two = results.get(("one-worker", OURS)), results.get(("two-workers", OURS))
    return two.cpu_us / one.cpu_us if one and two and one.cpu_us else None


TARGETS = (
    Target("1 KB proxied, CPU beside nginx", " x", 1.6, 1.2, cpu_ratio("proxied-1k", "nginx")),
    Target("1 KB proxied, CPU beside Caddy", " x", 0.35, None, cpu_ratio("proxied-1k", "caddy")),
    Target("1 KB proxied, CPU beside an aiohttp proxy", " x", 0.2, None, cpu_ratio("proxied-1k", "aiohttp")),
    Target("10 KB static, CPU beside nginx as installed", " x", 0.9, 0.7, cpu_ratio("static-10k", "nginx")),
    Target("10 KB static, CPU beside nginx tuned", " x", 1.3, 1.0, cpu_ratio("static-10k", "nginx-tuned")),
    *(
        Target(f"{work}, throughput beside nginx", " x", 0.8, 1.0, throughput_ratio(work, "nginx"), at_most=False)
        for work in LARGE
    ),
    *(Target(f"{work}, growth of memory", " MiB", FLAT_BYTES / MIB, None, growth(work)) for work in LARGE),
    Target("10 to 5,000 connections, dearest request over cheapest", " x", 1.3, 1.1, scaling),
    Target("10,000 idle connections, memory of each", " KiB", 4.0, 2.0, idle_kib),
    Target("2 workers on 2 cores, CPU beside 1 worker", " x", 1.1, None, two_workers),
)


def judge(target: Target, results: Results) -> Verdict:
    value = target.value(results)
    sign = "≤" if target.at_most else "≥"
    bound = f"{sign} {target.limit:g}{target.unit}"
    if value is None:
        return Verdict(target.title, target.unit, bound, None, None, None)
    direction = 1 if target.at_most else -1
    met = direction * value <= direction * target.limit
    goal_met = None if target.goal is None else direction * value <= direction * target.goal
    return Verdict(target.title, target.unit, bound, value, met, goal_met)


def judge_all(summaries: list[Summary]) -> list[Verdict]:
    """The verdict on every target, from the summaries of a run (partial ones too)."""
    results = {(summary.work, summary.server): summary for summary in summaries}
    return [judge(target, results) for target in TARGETS]
