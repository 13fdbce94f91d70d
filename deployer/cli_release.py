"""The commands that make a release live. See deployer.cli."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from deployer.cli_parts import go, make_console, open_shop, print_plan, strategy_of, with_config, with_going, with_json
from deployer.remote.command import HostCommand

if TYPE_CHECKING:
    from deployer.settings import Strategy


@click.command(cls=HostCommand)
@click.argument("war", type=click.Path(path_type=Path))
@with_going
@with_config
@click.pass_context
def release(ctx: click.Context, /, war: Path, **options: Any) -> None:
    """Release WAR: check it, bring it up, test it, move the users, and undo all of it if a step fails.

    \b
    deployer release app.war
    deployer release app.war --strategy swap --message "new cart"
    deployer release app.war --dry-run
    """
    from deployer import commands

    shop = open_shop(ctx, options["config"], make_keys=not options["dry_run"])
    console = make_console(as_json=options["as_json"])
    wish = commands.wish_for_war(shop, war, strategy_of(shop, options), accept_loss=options["accept_session_loss"])
    go(ctx, shop, commands.release_planner(shop, wish), "release", wish.strategy, console, options)


@click.command(cls=HostCommand)
@click.argument("war", type=click.Path(path_type=Path))
@click.option("--strategy", type=click.Choice(["return", "swap"]), help="Instead of the configuration's.")
@click.option("--accept-session-loss", is_flag=True, help="Plan it though some users will be logged out.")
@with_json
@with_config
@click.pass_context
def plan(ctx: click.Context, /, war: Path, **options: Any) -> None:
    """Print what a release of WAR would do now, step by step; the same as release --dry-run.

    \b
    deployer plan app.war
    deployer plan app.war --strategy swap --accept-session-loss
    """
    from deployer import commands

    shop = open_shop(ctx, options["config"], make_keys=False)
    wish = commands.wish_for_war(shop, war, strategy_of(shop, options), accept_loss=options["accept_session_loss"])
    print_plan(commands.make_plan(shop, commands.release_planner(shop, wish)), as_json=options["as_json"])


@click.command(cls=HostCommand)
@click.argument("release", required=False)
@with_going
@with_config
@click.pass_context
def rollback(ctx: click.Context, /, release: str | None, **options: Any) -> None:
    """Go back to RELEASE (an id or its beginning), by default to the one that was live before.

    At once when the other slot still runs it, else as a release of it from the store.
    """
    from deployer import commands
    from deployer.plan import Wish

    shop = open_shop(ctx, options["config"], make_keys=not options["dry_run"])
    with commands.nothing_touched():
        target = commands.rollback_target(shop, release)
    wish = Wish(
        target,
        strategy_of(shop, options),
        rollback=True,
        accept_session_loss=options["accept_session_loss"],
        settle=release is None,
    )
    console = make_console(as_json=options["as_json"])
    go(ctx, shop, commands.release_planner(shop, wish), "rollback", wish.strategy, console, options)


@click.command(cls=HostCommand)
@with_going
@with_config
@click.pass_context
def resume(ctx: click.Context, /, **options: Any) -> None:
    """Make the release live whose release or rollback was cut off; from what is now, not from where it was."""
    _after_cut_off(ctx, options, "resume")


@click.command(cls=HostCommand)
@with_going
@with_config
@click.pass_context
def abort(ctx: click.Context, /, **options: Any) -> None:
    """Go back to the release that was live before the one that was cut off."""
    _after_cut_off(ctx, options, "abort")


def _after_cut_off(ctx: click.Context, options: dict[str, Any], kind: str) -> None:
    from deployer import commands
    from deployer.errors import Refused
    from deployer.plan import Wish

    shop = open_shop(ctx, options["config"], make_keys=not options["dry_run"])
    run = commands.cut_off(shop)
    wanted = run.release if kind == "resume" else commands.before(shop, run)
    if wanted is None:
        raise Refused(f"the {run.kind} that was cut off names no release", "`deployer status` shows what runs where")
    strategy: Strategy = "swap" if run.strategy == "swap" else "return"
    given: Strategy = options["strategy"] or strategy
    back = kind == "abort" or run.kind == "rollback"
    accept = options["accept_session_loss"]
    wish = Wish(shop.store.get(wanted), given, rollback=back, accept_session_loss=accept, settle=kind == "abort")
    console = make_console(as_json=options["as_json"])
    go(ctx, shop, commands.release_planner(shop, wish), kind, given, console, options)


COMMANDS: Final = (release, plan, rollback, resume, abort)
