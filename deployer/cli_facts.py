"""The commands that print facts and change nothing. See deployer.cli."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from deployer.cli_parts import open_shop, print_facts, with_config, with_json
from deployer.remote.command import HostCommand


@click.command(cls=HostCommand)
@with_json
@with_config
@click.pass_context
def status(ctx: click.Context, /, **options: Any) -> None:
    """What is running where, who works on it, what was cut off, and what to do.

    Exit code 3 when the proxy can't be asked: then nobody knows which slot is active.
    """
    from deployer import facts

    shop = open_shop(ctx, options["config"], make_keys=False)
    document = facts.status(shop)
    print_facts(document, lambda: facts.status_lines(document, shop.clock.time()), as_json=options["as_json"])
    ctx.exit(3 if document["proxy"]["problem"] else 0)


@click.command(cls=HostCommand)
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(1, 10_000))
@with_json
@with_config
@click.pass_context
def history(ctx: click.Context, /, lines: int, **options: Any) -> None:
    """The commands that changed the site, newest first, and the releases in the store."""
    from deployer import facts

    document = facts.history(open_shop(ctx, options["config"], make_keys=False), lines)
    print_facts(document, lambda: facts.history_lines(document), as_json=options["as_json"])


@click.command(cls=HostCommand)
@click.argument("release")
@with_json
@with_config
@click.pass_context
def show(ctx: click.Context, /, release: str, **options: Any) -> None:
    """What was done about RELEASE (an id, its beginning, or a number in `history`), step by step."""
    from deployer import facts
    from deployer.errors import Refused
    from deployer.journal import find_run

    shop = open_shop(ctx, options["config"], make_keys=False)
    run = find_run(shop.journal.runs(10_000), release)
    if run is None:
        raise Refused(f"the journal knows nothing of {release}", "`deployer history` lists the commands")
    document = facts.show(shop, run)
    print_facts(document, lambda: facts.show_lines(document), as_json=options["as_json"])


@click.command(cls=HostCommand)
@with_json
@with_config
@click.pass_context
def sessions(ctx: click.Context, /, **options: Any) -> None:
    """How many sessions each slot has, and which other slots it sees."""
    from deployer import facts

    document = facts.sessions(open_shop(ctx, options["config"], make_keys=False))
    print_facts(document, lambda: facts.sessions_lines(document), as_json=options["as_json"])


@click.command(cls=HostCommand)
@click.argument("war", type=click.Path(path_type=Path))
@with_json
@with_config
@click.pass_context
def check(ctx: click.Context, /, war: Path, **options: Any) -> None:
    """Look for what would make WAR fail, for the Tomcat and the Java of the slots. Exit code 3 for an error.

    Its classes are held against the live release's too: would users' sessions be lost?
    """
    from deployer import commands

    shop = open_shop(ctx, options["config"], make_keys=False)
    findings = commands.check_findings(shop, war)
    bad = any(finding.severity == "error" for finding in findings)
    document = {
        "war": str(war),
        "ok": not bad,
        "findings": [{"severity": one.severity, "what": one.what, "advice": one.advice} for one in findings],
    }
    verdict = f"{war}: {'can not be released' if bad else 'can be released'}"
    print_facts(document, lambda: [*map(str, findings), verdict], as_json=options["as_json"])
    ctx.exit(3 if bad else 0)


COMMANDS: Final = (status, history, show, sessions, check)
