"""The command line. Everything that is not click is imported when a command needs it, so that `--help` is quick."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from deployer.errors import DeployerError
from deployer.remote.command import HostCommand, taken_place, tunnel, with_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.assembly import Workshop
    from deployer.commands import Order, Planner
    from deployer.console import Console
    from deployer.doctor import Finding
    from deployer.plan import Plan
    from deployer.settings import Settings, Strategy

_DEFAULTS = ("config/deployer.yaml", "deployer.yaml")
_EXIT_CODES = """
\b
Exit codes: 0 done; 1 the release failed and the site is as before; 2 usage or
configuration; 3 refused, nothing was touched; 4 failed and the site needs a
person: the message says what is running where.
"""


class _Commands(click.Group):
    """A group whose commands take --host."""

    command_class = HostCommand


class _Group(_Commands):
    """A group whose help names the exit codes once, at its end."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Group; called for the group's own help."""
        formatter.write_paragraph()
        formatter.write(_EXIT_CODES.replace("\b\n", "").lstrip())


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-c", "--config", envvar="DEPLOYER_CONFIG", help="Configuration file [config/deployer.yaml].")
@click.version_option(package_name="switchyard", prog_name="deployer")
@click.pass_context
def cli(ctx: click.Context, config: str | None) -> None:
    """Releases a web application without one user noticing.

    \b
    deployer init                         make a configuration and look at what is missing
    deployer release app.war              release, by the way that the configuration says
    deployer release app.war --dry-run    only print the steps and what each one touches
    deployer status                       what is running where, and what to do
    deployer rollback                     go back to the release before
    deployer status --host me@server      each command also runs on a server, over SSH
    """
    ctx.obj = config


def _with_config(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-c", "--config", "config", help="Configuration file.")(function)


def _with_json(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document.")(function)


def _with_events(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--json", "as_json", is_flag=True, help="JSON objects, one a line; the last is the result."
    )(function)
    return click.option("-m", "--message", default="", help="Why, for the journal.")(function)


def _with_going(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that makes a release live."""
    function = _with_events(function)
    options = (
        click.option("--strategy", type=click.Choice(["return", "swap"]), help="Instead of the configuration's."),
        click.option("--dry-run", is_flag=True, help="Print the steps and what each one touches; do nothing."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--accept-session-loss", is_flag=True, help="Go on though some users will be logged out."),
    )
    for option in reversed(options):
        function = option(function)
    return function


# --- releasing --------------------------------------------------------------------------------------------


@cli.command()
@click.argument("war", type=click.Path(path_type=Path))
@_with_going
@_with_config
@click.pass_context
def release(ctx: click.Context, /, war: Path, **options: Any) -> None:
    """Release WAR: check it, bring it up, test it, move the users, and undo all of it if a step fails.

    \b
    deployer release app.war
    deployer release app.war --strategy swap --message "new cart"
    deployer release app.war --dry-run
    """
    from deployer import commands

    shop = _shop(ctx, options["config"], make_keys=not options["dry_run"])
    console = _console(as_json=options["as_json"])
    wish = commands.wish_for_war(shop, war, _strategy(shop, options), accept_loss=options["accept_session_loss"])
    _go(ctx, shop, commands.release_planner(shop, wish), "release", wish.strategy, console, options)


@cli.command()
@click.argument("war", type=click.Path(path_type=Path))
@click.option("--strategy", type=click.Choice(["return", "swap"]), help="Instead of the configuration's.")
@click.option("--accept-session-loss", is_flag=True, help="Plan it though some users will be logged out.")
@_with_json
@_with_config
@click.pass_context
def plan(ctx: click.Context, /, war: Path, **options: Any) -> None:
    """Print what a release of WAR would do now, step by step; the same as release --dry-run.

    \b
    deployer plan app.war
    deployer plan app.war --strategy swap --accept-session-loss
    """
    from deployer import commands

    shop = _shop(ctx, options["config"], make_keys=False)
    wish = commands.wish_for_war(shop, war, _strategy(shop, options), accept_loss=options["accept_session_loss"])
    _print_plan(commands.make_plan(shop, commands.release_planner(shop, wish)), as_json=options["as_json"])


@cli.command()
@click.argument("release", required=False)
@_with_going
@_with_config
@click.pass_context
def rollback(ctx: click.Context, /, release: str | None, **options: Any) -> None:
    """Go back to RELEASE (an id or its beginning), by default to the one that was live before.

    At once when the other slot still runs it, else as a release of it from the store.
    """
    from deployer import commands
    from deployer.plan import Wish

    shop = _shop(ctx, options["config"], make_keys=not options["dry_run"])
    with commands.nothing_touched():
        target = commands.rollback_target(shop, release)
    wish = Wish(
        target,
        _strategy(shop, options),
        rollback=True,
        accept_session_loss=options["accept_session_loss"],
        settle=release is None,
    )
    console = _console(as_json=options["as_json"])
    _go(ctx, shop, commands.release_planner(shop, wish), "rollback", wish.strategy, console, options)


@cli.command()
@_with_going
@_with_config
@click.pass_context
def resume(ctx: click.Context, /, **options: Any) -> None:
    """Make the release live whose release or rollback was cut off; from what is now, not from where it was."""
    _after_cut_off(ctx, options, "resume")


@cli.command()
@_with_going
@_with_config
@click.pass_context
def abort(ctx: click.Context, /, **options: Any) -> None:
    """Go back to the release that was live before the one that was cut off."""
    _after_cut_off(ctx, options, "abort")


def _after_cut_off(ctx: click.Context, options: dict[str, Any], kind: str) -> None:
    from deployer import commands
    from deployer.errors import Refused
    from deployer.plan import Wish

    shop = _shop(ctx, options["config"], make_keys=not options["dry_run"])
    run = commands.cut_off(shop)
    wanted = run.release if kind == "resume" else commands.before(shop, run)
    if wanted is None:
        raise Refused(f"the {run.kind} that was cut off names no release", "`deployer status` shows what runs where")
    strategy: Strategy = "swap" if run.strategy == "swap" else "return"
    given: Strategy = options["strategy"] or strategy
    back = kind == "abort" or run.kind == "rollback"
    accept = options["accept_session_loss"]
    wish = Wish(shop.store.get(wanted), given, rollback=back, accept_session_loss=accept, settle=kind == "abort")
    console = _console(as_json=options["as_json"])
    _go(ctx, shop, commands.release_planner(shop, wish), kind, given, console, options)


# --- slots ------------------------------------------------------------------------------------------------


@cli.command()
@click.argument("slot")
@click.option("--force", is_flag=True, help="Even to a slot that is not ready.")
@click.option("--accept-session-loss", is_flag=True, help="Go on though some users will be logged out.")
@_with_events
@_with_config
@click.pass_context
def switch(ctx: click.Context, /, slot: str, **options: Any) -> None:
    """Make SLOT the one that users are sent to, and drain the other."""
    from deployer import commands

    shop = _shop(ctx, options["config"], make_keys=True)
    planner = commands.switch_planner(
        shop, commands.slot_named(shop, slot), force=options["force"], accept_loss=options["accept_session_loss"]
    )
    _go(ctx, shop, planner, "switch", None, _console(as_json=options["as_json"]), options)


@cli.command()
@click.argument("slot")
@click.option("--release", "wanted", help="Deploy this release from the store first.")
@_with_events
@_with_config
@click.pass_context
def start(ctx: click.Context, /, slot: str, wanted: str | None, **options: Any) -> None:
    """Start SLOT with what is deployed there, and wait until it is ready."""
    from deployer import commands

    shop = _shop(ctx, options["config"], make_keys=True)
    planner = commands.start_planner(shop, commands.slot_named(shop, slot), wanted)
    _go(ctx, shop, planner, "start", None, _console(as_json=options["as_json"]), options)


@cli.command()
@click.argument("slot")
@click.option("--force", is_flag=True, help="Even when it is active: the site is down then.")
@click.option("--accept-session-loss", is_flag=True, help="Even when sessions are on no other slot.")
@_with_events
@_with_config
@click.pass_context
def stop(ctx: click.Context, /, slot: str, **options: Any) -> None:
    """Stop SLOT. Refused when users are on it."""
    from deployer import commands

    shop = _shop(ctx, options["config"], make_keys=True)
    planner = commands.stop_planner(
        shop, commands.slot_named(shop, slot), force=options["force"], accept_loss=options["accept_session_loss"]
    )
    _go(ctx, shop, planner, "stop", None, _console(as_json=options["as_json"]), options)


@cli.command()
@click.argument("slot")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(0, 100_000))
@_with_config
@click.pass_context
def logs(ctx: click.Context, /, slot: str, follow: bool, lines: int, **options: Any) -> None:
    """Print the log of SLOT's current or last run."""
    from deployer import commands
    from deployer.following import follow_file

    shop = _shop(ctx, options["config"], make_keys=False)
    server = shop.slots[commands.slot_named(shop, slot)]
    for line in server.log_tail(lines):
        click.echo(line)
    if follow:
        gc.enable()
        for text in follow_file(Path(server.place.log), shop.clock):
            click.echo(text, nl=False)


# --- facts ------------------------------------------------------------------------------------------------


@cli.command()
@_with_json
@_with_config
@click.pass_context
def status(ctx: click.Context, /, **options: Any) -> None:
    """What is running where, who works on it, what was cut off, and what to do.

    Exit code 3 when the proxy can't be asked: then nobody knows which slot is active.
    """
    from deployer import facts

    shop = _shop(ctx, options["config"], make_keys=False)
    document = facts.status(shop)
    _print(document, lambda: facts.status_lines(document, shop.clock.time()), as_json=options["as_json"])
    ctx.exit(3 if document["proxy"]["problem"] else 0)


@cli.command()
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(1, 10_000))
@_with_json
@_with_config
@click.pass_context
def history(ctx: click.Context, /, lines: int, **options: Any) -> None:
    """The commands that changed the site, newest first, and the releases in the store."""
    from deployer import facts

    document = facts.history(_shop(ctx, options["config"], make_keys=False), lines)
    _print(document, lambda: facts.history_lines(document), as_json=options["as_json"])


@cli.command()
@click.argument("release")
@_with_json
@_with_config
@click.pass_context
def show(ctx: click.Context, /, release: str, **options: Any) -> None:
    """What was done about RELEASE (an id, its beginning, or a number in `history`), step by step."""
    from deployer import facts
    from deployer.errors import Refused
    from deployer.journal import find_run

    shop = _shop(ctx, options["config"], make_keys=False)
    run = find_run(shop.journal.runs(10_000), release)
    if run is None:
        raise Refused(f"the journal knows nothing of {release}", "`deployer history` lists the commands")
    document = facts.show(shop, run)
    _print(document, lambda: facts.show_lines(document), as_json=options["as_json"])


@cli.command()
@_with_json
@_with_config
@click.pass_context
def sessions(ctx: click.Context, /, **options: Any) -> None:
    """How many sessions each slot has, and which other slots it sees."""
    from deployer import facts

    document = facts.sessions(_shop(ctx, options["config"], make_keys=False))
    _print(document, lambda: facts.sessions_lines(document), as_json=options["as_json"])


@cli.command()
@click.argument("war", type=click.Path(path_type=Path))
@_with_json
@_with_config
@click.pass_context
def check(ctx: click.Context, /, war: Path, **options: Any) -> None:
    """Look for what would make WAR fail, for the Tomcat and the Java of the slots. Exit code 3 for an error.

    Its classes are held against the live release's too: would users' sessions be lost?
    """
    from deployer import commands

    shop = _shop(ctx, options["config"], make_keys=False)
    findings = commands.check_findings(shop, war)
    bad = any(finding.severity == "error" for finding in findings)
    document = {
        "war": str(war),
        "ok": not bad,
        "findings": [{"severity": one.severity, "what": one.what, "advice": one.advice} for one in findings],
    }
    verdict = f"{war}: {'can not be released' if bad else 'can be released'}"
    _print(document, lambda: [*map(str, findings), verdict], as_json=options["as_json"])
    ctx.exit(3 if bad else 0)


@cli.command(cls=click.Command)
@click.option("--yes", is_flag=True, help="With --host: install packages that are missing there, by apt as root.")
@click.option("--python", metavar="FILE", help="With --host: the Python there, 3.11 or newer.")
@_with_json
@_with_config
@with_host
@click.pass_context
def init(ctx: click.Context, /, **options: Any) -> None:
    """Make a configuration, the directories and the secrets where there are none, and look at what is missing.

    Nothing that is there is changed. Exit code 3 when something is missing.

    With --host: install this switchyard there, in a .venv, send the configuration where there is none, and do the same.

    \b
    deployer init --host deploy@shop.example.org
    """
    from deployer.clock import SystemClock
    from deployer.setup import initialise

    place = taken_place(options)
    config = options["config"] or ctx.obj or _found_config() or _DEFAULTS[0]
    if place is not None:
        from deployer.remote.install import Wanted, install

        wanted = Wanted(Path(config), options["python"], install=options["yes"])
        _print_findings(ctx, install(place, wanted, lambda text: click.echo(text, err=True)), options)
    if options["yes"] or options["python"]:
        raise click.UsageError("--yes and --python go with --host")
    _print_findings(ctx, initialise(Path(config), SystemClock()), options)


@cli.command()
@_with_json
@_with_config
@click.pass_context
def doctor(ctx: click.Context, /, **options: Any) -> None:
    """Look at all that a release needs: Tomcat, Java, ports, memory, disk, keys, cluster, proxy, journal.

    Nothing is changed. Exit code 3 when a release would fail.
    """
    from deployer.clock import SystemClock
    from deployer.doctor import examine

    _print_findings(ctx, examine(_settings(ctx, options["config"]), SystemClock(), need_proxy=True), options)


@cli.command()
@click.option("--write", "directory", metavar="DIR", help="Write the files there, such as /etc/systemd/system.")
@_with_config
@click.pass_context
def systemd(ctx: click.Context, /, directory: str | None, **options: Any) -> None:
    """Print a unit file for each slot's Tomcat, for `tomcat.run: systemd`. Run it as who runs the deployer.

    \b
    deployer systemd
    deployer systemd --write /etc/systemd/system && systemctl daemon-reload
    """
    from deployer.tomcat_units import unit_files, write_units

    units = unit_files(_shop(ctx, options["config"], make_keys=False))
    if directory is None:
        for text in units.values():
            click.echo(text)
        return
    for path in write_units(units, directory):
        click.echo(f"wrote {path}")


cli.add_command(tunnel)


@cli.group(cls=_Commands)
def lock() -> None:
    """The lock by which one command at a time changes the site."""


@lock.command("status")
@_with_json
@_with_config
@click.pass_context
def lock_status(ctx: click.Context, /, **options: Any) -> None:
    """Who has the lock."""
    from dataclasses import asdict

    shop = _shop(ctx, options["config"], make_keys=False)
    holder = shop.lock.holder()
    text = "nobody has the lock"
    if holder:
        text = f"pid {holder.pid} ({holder.by}) for {shop.clock.time() - holder.since:.0f} s: {holder.command}"
    _print({"holder": asdict(holder) if holder else None}, lambda: [text], as_json=options["as_json"])


@lock.command("break")
@_with_json
@_with_config
@click.pass_context
def lock_break(ctx: click.Context, /, **options: Any) -> None:
    """Take the lock away from a command that hangs; it stops before its next step.

    The lock of a command that died needs no breaking. Ctrl-C or `kill PID` is better: the command undoes itself.
    """
    from dataclasses import asdict

    holder = _shop(ctx, options["config"], make_keys=False).lock.break_it()
    text = f"taken from pid {holder.pid} ({holder.by}): {holder.command}" if holder else "nobody had the lock"
    _print({"broken": asdict(holder) if holder else None}, lambda: [text], as_json=options["as_json"])


# --- common parts -----------------------------------------------------------------------------------------


def _found_config() -> str | None:
    return next((path for path in _DEFAULTS if os.path.exists(path)), None)


def _settings(ctx: click.Context, config: str | None) -> Settings:
    from deployer.config_file import load

    return load(config or ctx.find_root().obj or _found_config() or _DEFAULTS[0])


def _shop(ctx: click.Context, config: str | None, *, make_keys: bool) -> Workshop:
    from deployer.assembly import build
    from deployer.clock import SystemClock

    return build(_settings(ctx, config), SystemClock(), make_keys=make_keys)


def _strategy(shop: Workshop, options: dict[str, Any]) -> Strategy:
    given: Strategy | None = options["strategy"]
    return given or shop.settings.strategy


def _console(*, as_json: bool) -> Console:
    from deployer.console import JsonConsole, LineConsole, LiveConsole, Output

    out = Output(sys.stdout)
    if as_json:
        return JsonConsole(out)
    return LiveConsole(out) if out.isatty() and os.environ.get("TERM") != "dumb" else LineConsole(out)


def _go(
    ctx: click.Context,
    shop: Workshop,
    planner: Planner,
    kind: str,
    strategy: Strategy | None,
    console: Console,
    options: dict[str, Any],
) -> None:
    """Runs a plan, or prints it for --dry-run, and ends with its exit code."""
    from deployer import commands
    from deployer.assembly import who

    if options.get("dry_run"):
        _print_plan(commands.make_plan(shop, planner), as_json=options["as_json"])
        return
    gc.enable()
    ask = "yes" in options and not options["yes"] and not options["as_json"] and sys.stdin.isatty()
    order: Order = commands.Order(kind, options["message"], who(), _confirm if ask else _agreed, strategy)
    ctx.exit(commands.carry_out(shop, planner, order, console))


def _confirm(plan: Plan) -> bool:
    return click.confirm(f"{plan.title}. Go on?", default=True)


def _agreed(_plan: Plan) -> bool:
    return True


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    from deployer.console import plan_document

    _print(plan_document(plan), plan.lines, as_json=as_json)


def _print(document: dict[str, Any], lines: Callable[[], list[str]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))
        return
    for line in lines():
        click.echo(line)


def _print_findings(ctx: click.Context, findings: list[Finding], options: dict[str, Any]) -> NoReturn:
    document = {"findings": [{"state": one.state, "what": one.what, "advice": one.advice} for one in findings]}
    _print(document, lambda: list(map(str, findings)), as_json=options["as_json"])
    ctx.exit(3 if any(one.state == "missing" for one in findings) else 0)


def _fail(error: DeployerError, *, as_json: bool) -> NoReturn:
    if as_json:
        facts = {"event": "error", "message": str(error), "advice": error.advice, "exit_code": error.exit_code}
        click.echo(json.dumps(facts, ensure_ascii=False))
    else:
        click.echo(f"error: {error}", err=True)
        if error.advice:
            click.echo(f"what to do: {error.advice}", err=True)
    sys.exit(error.exit_code)


def main() -> None:
    """The console script."""
    # Loading makes many objects that stay: looking through them for garbage meanwhile costs a tenth of the start.
    gc.disable()
    try:
        cli(prog_name="deployer")
    except DeployerError as error:
        _fail(error, as_json="--json" in sys.argv)
    except BrokenPipeError:
        # The reader of our facts has gone; what is left in the buffer must not fail at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
