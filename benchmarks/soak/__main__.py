"""`scripts/bench soak`: minutes of mixed load with faults injected, and an account of every request."""

from __future__ import annotations

import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click
import uvloop

from benchmarks import machine
from benchmarks.command import PUBLISHED, report_errors
from benchmarks.processes import find_tools
from benchmarks.soak.report import to_json, to_markdown
from benchmarks.soak.run import Plan, soak


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=click.FloatRange(0.1, 24 * 60), default=10.0, help="How long the load lasts.")
@click.option("--seed", type=click.IntRange(0), help="Of all chance; a new one by default.")
@click.option("--rate", type=click.FloatRange(1, 5000), default=200.0, help="Requests a second.")
@click.option("--first-port", type=click.IntRange(1024, 65000), default=19100, help="Six ports from here are used.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=PUBLISHED)
def main(minutes: float, seed: int | None, rate: float, first_port: int, out: Path) -> None:
    """Loads a proxy of two workers with good and bad clients and with backends that fail in every way.

    Meanwhile it is switched, its workers are killed, and it is reloaded. Exit code 1: something was not as stated.
    """
    find_tools(("setpriv",))
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    click.echo(f"seed {seed}")
    made, where, commit = datetime.now(UTC), machine.read(), machine.commit()
    plan = Plan(minutes * 60, seed, rate)
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        ports = range(first_port, first_port + 6)
        result = uvloop.run(soak(plan, Path(directory), ports, click.echo))
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(to_json(result, made, commit))
    text = to_markdown(result, where, made, commit)
    (out / "soak.md").write_text(text)
    click.echo(text)
    if not result.ok:
        raise SystemExit(1)


if __name__ == "__main__":
    report_errors(main)
