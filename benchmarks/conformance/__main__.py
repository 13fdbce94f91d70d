"""`scripts/bench conformance`: how strict we are, beside nginx, HAProxy and Caddy."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from benchmarks import machine
from benchmarks.command import PUBLISHED, UNPUBLISHED, prepare_process, report_errors
from benchmarks.conformance.answering import RESPONSES
from benchmarks.conformance.groups import SMUGGLING
from benchmarks.conformance.peers import choose
from benchmarks.conformance.report import Report, summary, to_json, to_markdown
from benchmarks.conformance.run import GROUPS, QUICK_STEP, Plan, run
from benchmarks.conformance.traversal import TRAVERSAL
from benchmarks.conformance.websocket import WEBSOCKET
from benchmarks.model import OURS
from benchmarks.processes import Cores, find_tools

TOLD: Final = {
    SMUGGLING: (
        "requests whose framing, target or host could be read in two ways, and valid ones as controls. Passed when "
        "eight parsers (h11, llhttp, aiohttp's, http.server's and four lenient profiles) read the same requests from "
        "the bytes at the backend, no more of them than the client got answers for; and when a control was served."
    ),
    RESPONSES: (
        "what a backend answers to GET and HEAD, malformed, cut, or with too much behind it, and valid answers as "
        "controls. Passed when four clients (http.client, h11, llhttp, aiohttp's) read the same status, body and end, "
        "or all see that it failed; when a second request then got its own answer or an error; and a control its body."
    ),
    TRAVERSAL: (
        "targets under the prefix of static files that try to leave the root, are too long, or have odd bytes, and "
        "valid ones as controls. Passed when no file outside came, no 5xx, and some answer; and a control its file."
    ),
    WEBSOCKET: (
        "conversations in the families of Autobahn's test suite: sizes, pieces, fragments, control frames, reserved "
        "bits and opcodes, UTF-8, closes. Passed when the client gets what the backend says without a proxy, and the "
        "same end."
    ),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Every tenth attempt only.")
@click.option("--peer", multiple=True, metavar="NAME", help="Only this server (may be repeated).")
@click.option("--group", multiple=True, type=click.Choice(GROUPS), help="Only this group (may be repeated).")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where the results go.")
def main(quick: bool, peer: tuple[str, ...], group: tuple[str, ...], out: Path | None) -> None:
    """Puts the same hostile material through each server and counts what it passed.

    A whole run is written to benchmarks/results, a partial or quick one to var/bench, unless --out says where.
    The exit code is 1 when Switchyard missed something.

    Example: scripts/bench conformance --peer switchyard --group smuggling
    """
    plan = Plan(choose(peer), group or GROUPS, QUICK_STEP if quick else 1)
    find_tools(("nginx", "haproxy", "caddy", "setpriv"))
    made, where = datetime.now(UTC), machine.read()
    prepare_process(Cores((), ()))
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        Path(directory).chmod(0o755)  # nginx's worker is another user when the benchmark runs as root
        scores = asyncio.run(run(plan, Path(directory), lambda text: click.echo(text, err=True)))
    report = Report(
        made.strftime("%Y-%m-%d %H:%M UTC"),
        machine.commit(),
        where,
        {server.name: server.title for server in plan.servers},
        {server.name: machine.first_line(server.version) for server in plan.servers},
        {name: TOLD[name] for name in plan.groups},
        plan.step,
        tuple(scores),
    )
    target = out or (UNPUBLISHED if quick or peer or group else PUBLISHED)
    target.mkdir(parents=True, exist_ok=True)
    (target / "conformance.json").write_text(to_json(report))
    (target / "conformance.md").write_text(to_markdown(report))
    click.echo(summary(report))
    click.echo(f"written to {target}/conformance.md and conformance.json")
    if any(score.misses for score in scores if score.server == OURS):
        raise SystemExit(1)


if __name__ == "__main__":
    report_errors(main)
