"""What the commands share: options, the workshop that they work with, and how they print. See deployer.cli."""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from deployer.remote.command import HostCommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.assembly import Workshop
    from deployer.commands import Order, Planner
    from deployer.console import Console
    from deployer.doctor import Finding
    from deployer.plan import Plan
    from deployer.settings import Settings, Strategy

CONFIG_FILES = ("config/deployer.yaml", "deployer.yaml")
"""Where the configuration is looked for."""


class Commands(click.Group):
    """A group whose commands take --host."""

    command_class = HostCommand


def with_config(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-c", "--config", "config", help="Configuration file.")(function)


def with_json(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="One JSON document.")(function)


def with_events(function: Callable[..., Any]) -> Callable[..., Any]:
    function = click.option(
        "--json", "as_json", is_flag=True, help="JSON objects, one a line; the last is the result."
    )(function)
    return click.option("-m", "--message", default="", help="Why, for the journal.")(function)


def with_going(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that makes a release live."""
    function = with_events(function)
    options = (
        click.option("--strategy", type=click.Choice(["return", "swap"]), help="Instead of the configuration's."),
        click.option("--dry-run", is_flag=True, help="Print the steps and what each one touches; do nothing."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--accept-session-loss", is_flag=True, help="Go on though some users will be logged out."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def found_config() -> str | None:
    return next((path for path in CONFIG_FILES if os.path.exists(path)), None)


def load_settings(ctx: click.Context, config: str | None) -> Settings:
    from deployer.config_file import load

    return load(config or ctx.find_root().obj or found_config() or CONFIG_FILES[0])


def open_shop(ctx: click.Context, config: str | None, *, make_keys: bool) -> Workshop:
    from deployer.assembly import build
    from deployer.clock import SystemClock

    return build(load_settings(ctx, config), SystemClock(), make_keys=make_keys)


def strategy_of(shop: Workshop, options: dict[str, Any]) -> Strategy:
    given: Strategy | None = options["strategy"]
    return given or shop.settings.strategy


def make_console(*, as_json: bool) -> Console:
    from deployer.console import JsonConsole, LineConsole, LiveConsole, Output

    out = Output(sys.stdout)
    if as_json:
        return JsonConsole(out)
    return LiveConsole(out) if out.isatty() and os.environ.get("TERM") != "dumb" else LineConsole(out)


def go(
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
        print_plan(commands.make_plan(shop, planner), as_json=options["as_json"])
        return
    gc.enable()
    ask = "yes" in options and not options["yes"] and not options["as_json"] and sys.stdin.isatty()
    order: Order = commands.Order(kind, options["message"], who(), _confirm if ask else _agreed, strategy)
    ctx.exit(commands.carry_out(shop, planner, order, console))


def _confirm(plan: Plan) -> bool:
    return click.confirm(f"{plan.title}. Go on?", default=True)


def _agreed(_plan: Plan) -> bool:
    return True


def print_plan(plan: Plan, *, as_json: bool) -> None:
    from deployer.console import plan_document

    print_facts(plan_document(plan), plan.lines, as_json=as_json)


def print_facts(document: dict[str, Any], lines: Callable[[], list[str]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))
        return
    for line in lines():
        click.echo(line)


def print_findings(ctx: click.Context, findings: list[Finding], options: dict[str, Any]) -> NoReturn:
    document = {"findings": [{"state": one.state, "what": one.what, "advice": one.advice} for one in findings]}
    print_facts(document, lambda: list(map(str, findings)), as_json=options["as_json"])
    ctx.exit(3 if any(one.state == "missing" for one in findings) else 0)
