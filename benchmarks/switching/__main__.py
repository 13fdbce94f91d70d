"""`scripts/bench switch`: the switch under full load, beside nginx and HAProxy."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import machine
from benchmarks.command import PUBLISHED, UNPUBLISHED, prepare_process, report_errors
from benchmarks.processes import Cores, find_tools
from benchmarks.switching.peers import choose
from benchmarks.switching.report import Report, draw, figures, to_json, to_markdown, verdict
from benchmarks.switching.run import BEFORE_SECONDS, Plan, run

SWITCHES, SECONDS = 1000, 600.0
QUICK_SWITCHES, QUICK_SECONDS, QUICK_BEFORE = 30, 5.0, 2.0
PAUSE_MS, CONNECTIONS = 50, 24


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="30 switches: half a minute in all, and rough.")
@click.option("--peer", multiple=True, metavar="NAME", help="Only this server (may be repeated).")
@click.option("--switches", type=click.IntRange(1, 100_000), help="How many switches ours makes.")
@click.option("--seconds", type=click.FloatRange(1, 3600), help="The longest that one server is switched.")
@click.option("--pause", type=click.IntRange(0, 10_000), default=PAUSE_MS, help="Milliseconds between two switches.")
@click.option("--connections", type=click.IntRange(1, 1000), default=CONNECTIONS)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where the results go.")
def main(
    quick: bool,
    peer: tuple[str, ...],
    switches: int | None,
    seconds: float | None,
    pause: int,
    connections: int,
    out: Path | None,
) -> None:
    """Switches each server there and back while a load runs through it, and counts what went wrong.

    A whole run is written to benchmarks/results, a partial or quick one to var/bench, unless --out says where.
    """
    plan = Plan(
        servers=choose(peer),
        switches=switches or (QUICK_SWITCHES if quick else SWITCHES),
        seconds=seconds or (QUICK_SECONDS if quick else SECONDS),
        pause=pause / 1000,
        connections=connections,
        before=QUICK_BEFORE if quick else BEFORE_SECONDS,
    )
    find_tools(("nginx", "haproxy", "setpriv"))
    made, where = datetime.now(UTC), machine.read()
    prepare_process(Cores((), ()))
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        Path(directory).chmod(0o755)  # nginx's worker is another user when the benchmark runs as root
        results = run(plan, Path(directory), lambda text: click.echo(text, err=True))
    versions = {server.name: machine.first_line(server.version) for server in plan.servers}
    report = Report(made.strftime("%Y-%m-%d %H:%M UTC"), machine.commit(), where, versions, plan, results)
    target = out or (UNPUBLISHED if quick or peer or switches or seconds else PUBLISHED)
    write(report, target)
    click.echo(figures(results))
    click.echo(f"written to {target}/switching.md, switching.json and switching.svg")
    problems = verdict(results)
    for problem in problems:
        click.echo(problem, err=True)
    if problems or any(result.problem for result in results):
        raise SystemExit(1)


def write(report: Report, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "switching.json").write_text(to_json(report))
    (directory / "switching.md").write_text(to_markdown(report, "switching.svg"))
    draw(report, directory / "switching.svg")


if __name__ == "__main__":
    report_errors(main)
