"""`scripts/bench`: the proxy beside its peers, in one run."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import machine, report, servers, switching_run, targets, works
from benchmarks.command import PUBLISHED, UNPUBLISHED, prepare_process, report_errors
from benchmarks.measure import Bounds
from benchmarks.picture import draw
from benchmarks.processes import Cores, find_tools
from benchmarks.run import Outcome, Plan, Runner

FULL = (3, Bounds(4))
QUICK = (1, Bounds(2, 0.2))


def describe(cores: Cores) -> str:
    if not cores.server:
        return "One core: nothing is pinned."
    load = ", ".join(map(str, cores.load))
    return f"The server runs on core {cores.server[0]}, load and backend on {load}."


def make_report(
    plan: Plan,
    outcome: Outcome,
    made: datetime,
    where: machine.Machine,
    switching: switching_run.SwitchingRun | None,
) -> report.Report:
    return report.Report(
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
        machine=where,
        versions={server.name: machine.first_line(server.version) for server in plan.servers},
        commit=machine.commit(),
        cores=describe(plan.cores),
        seconds=plan.bounds.seconds,
        rounds=plan.rounds,
        works=plan.works,
        measurements=outcome.measurements,
        summaries=outcome.summaries,
        failures=outcome.failures,
        verdicts=targets.judge_all(outcome.summaries, switching),
    )


def write(result: report.Report, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "bench.json").write_text(report.to_json(result))
    (directory / "bench.md").write_text(report.to_markdown(result, "bench.svg"))
    caption = f"{result.made}, {result.machine.cpu}, {result.machine.cores} cores"
    draw(result.works, result.summaries, caption, directory / "bench.svg")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="One short round: seconds instead of minutes, and rough.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this work (may be repeated).")
@click.option("--peer", multiple=True, metavar="NAME", help="Only this server (may be repeated).")
@click.option("--rounds", type=click.IntRange(1, 50), help="Rounds of each work.")
@click.option("--seconds", type=click.IntRange(1, 600), help="How long a measurement lasts.")
@click.option("--tries", type=click.IntRange(1, 20), default=3, help="Tries when other processes disturb.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where to write the results.")
@click.option("--list", "listing", is_flag=True, help="Name the works and the servers.")
def main(
    quick: bool,
    only: tuple[str, ...],
    peer: tuple[str, ...],
    rounds: int | None,
    seconds: int | None,
    tries: int,
    out: Path | None,
    listing: bool,
) -> None:
    """Measures CPU time per request, throughput, latency and memory beside nginx, HAProxy, Caddy and aiohttp.

    A whole run is written to benchmarks/results; a partial or quick one to var/bench, unless --out says where.

    \b
    scripts/bench
    scripts/bench --quick --only proxied-1k --peer switchyard --peer nginx
    """
    if listing:
        names = [(work.name, work.title) for work in works.WORKS]
        for name, title in names + [(server.name, server.title) for server in servers.SERVERS]:
            click.echo(f"{name:18} {title}")
        return
    default_rounds, default_bounds = QUICK if quick else FULL
    bounds = Bounds(seconds or default_bounds.seconds, default_bounds.share)
    cores = Cores.split(tuple(sorted(os.sched_getaffinity(0))))
    most_tries = 1 if quick else tries
    chosen = works.choose(only)
    if quick or rounds:
        chosen = tuple(replace(work, repeat=1) for work in chosen)
    plan = Plan(chosen, servers.choose(peer), rounds or default_rounds, bounds, cores, most_tries)
    partial = quick or only or peer
    find_tools(("nginx", "haproxy", "caddy", "wrk", "taskset", "setpriv"))
    run(plan, out or (UNPUBLISHED if partial else PUBLISHED))


def run(plan: Plan, out: Path) -> None:
    made, where = datetime.now(UTC), machine.read()
    switching = switching_run.read(PUBLISHED / "switching.json")
    prepare_process(plan.cores)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        runner = Runner(plan, Path(directory), lambda text: click.echo(text, err=True))
        try:
            runner.run()
        finally:
            result = make_report(plan, runner.outcome, made, where, switching)
            if runner.outcome.summaries:
                write(result, out)
    click.echo(report.targets_table(result.verdicts))
    click.echo(f"written to {out}/bench.md, bench.json and bench.svg")
    if runner.outcome.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    report_errors(main)
