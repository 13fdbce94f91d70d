"""`scripts/bench faults`: kill -9 at each step of a release under load, as a table."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import machine
from benchmarks.command import PUBLISHED, UNPUBLISHED, report_errors
from benchmarks.demo.site import DemoError, Ports
from benchmarks.faults.report import Made, to_markdown
from benchmarks.faults.rows import all_rows, choose
from benchmarks.faults.run import Record, run
from benchmarks.faults.site import FaultSite
from benchmarks.faults.users import Users
from benchmarks.processes import REPOSITORY
from benchmarks.servers import BenchError

DOCUMENT = REPOSITORY / "docs" / "faults.md"
DATA = PUBLISHED / "faults.json"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="TEXT", help="Only rows with this in their name (may be repeated).")
@click.option("--list", "list_rows", is_flag=True, help="Print the rows' names.")
@click.option("--users", "count", type=click.IntRange(1, 200), default=12, show_default=True)
@click.option("--watch", type=click.IntRange(1, 60), default=2, show_default=True, help="Seconds, after each switch.")
@click.option("--first-port", type=click.IntRange(1024, 65000), default=19500, help="Eight ports from here are used.")
@click.option("--publish", is_flag=True, help="Put these rows into docs/faults.md, and keep its others.")
def main(only: tuple[str, ...], list_rows: bool, count: int, watch: int, first_port: int, publish: bool) -> None:
    """Kills the deployer, a Tomcat or the proxy's supervisor at each step of a release while users are busy.

    Then does what `deployer status` advises, and counts failed requests and lost sessions, by cause. A whole run
    (about 20 minutes) is written to docs/faults.md, a part to var/bench. Exit code 1: a row was not right.

    \b
    scripts/bench faults
    scripts/bench faults --only "watch temp" --only ": deployer"
    """
    try:
        rows = choose(only)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--only") from error
    if list_rows:
        click.echo("\n".join(row.name for row in rows))
        return
    made = Made(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), machine.read(), count)
    data, document = (DATA, DOCUMENT) if publish or not only else (UNPUBLISHED / DATA.name, UNPUBLISHED / DOCUMENT.name)
    known = read(data) if publish else {}
    commit = machine.commit()
    records: list[Record] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        Path(directory).chmod(0o755)  # as root the Tomcats run as another user
        ports = Ports(*range(first_port, first_port + 8))
        try:
            with FaultSite(Path(directory) / "site", ports, watch) as site, Users(ports.public, count) as users:
                for record in run(site, users, rows, lambda text: click.echo(text, err=True)):
                    records.append(record)
                    known[record.row.name] = replace(record, commit=commit)
                    write([known[row.name] for row in all_rows() if row.name in known], made, document, data)
        except DemoError as error:
            raise BenchError(str(error)) from error
    click.echo(f"{len(records)} rows, written to {document}")
    if len(records) < len(rows) or not all(record.is_right for record in records):
        raise SystemExit(1)


def read(data: Path) -> dict[str, Record]:
    """The records of an earlier run, by their rows' names. Raises BenchError."""
    try:
        records = [Record.read(document) for document in json.loads(data.read_text())]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{data} is not a table of faults ({error!r}): remove it") from error
    return {record.row.name: record for record in records}


def write(records: list[Record], made: Made, document: Path, data: Path) -> None:
    for path in (document, data):
        path.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(to_markdown(records, made))
    data.write_text(json.dumps([asdict(record) for record in records], indent=1) + "\n")


if __name__ == "__main__":
    report_errors(main)
