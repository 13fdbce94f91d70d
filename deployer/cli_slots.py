"""The commands about one slot. See deployer.cli."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Final

import click

from deployer.cli_parts import go, make_console, open_shop, with_config, with_events
from deployer.remote.command import HostCommand


@click.command(cls=HostCommand)
@click.argument("slot")
@click.option("--force", is_flag=True, help="Even to a slot that is not ready.")
@click.option("--accept-session-loss", is_flag=True, help="Go on though some users will be logged out.")
@with_events
@with_config
@click.pass_context
def switch(ctx: click.Context, /, slot: str, **options: Any) -> None:
    """Make SLOT the one that users are sent to, and drain the other."""
    from deployer import commands

    shop = open_shop(ctx, options["config"], make_keys=True)
    planner = commands.switch_planner(
        shop, commands.slot_named(shop, slot), force=options["force"], accept_loss=options["accept_session_loss"]
    )
    go(ctx, shop, planner, "switch", None, make_console(as_json=options["as_json"]), options)


@click.command(cls=HostCommand)
@click.argument("slot")
@click.option("--release", "wanted", help="Deploy this release from the store first.")
@with_events
@with_config
@click.pass_context
def start(ctx: click.Context, /, slot: str, wanted: str | None, **options: Any) -> None:
    """Start SLOT with what is deployed there, and wait until it is ready."""
    from deployer import commands

    shop = open_shop(ctx, options["config"], make_keys=True)
    planner = commands.start_planner(shop, commands.slot_named(shop, slot), wanted)
    go(ctx, shop, planner, "start", None, make_console(as_json=options["as_json"]), options)


@click.command(cls=HostCommand)
@click.argument("slot")
@click.option("--force", is_flag=True, help="Even when it is active: the site is down then.")
@click.option("--accept-session-loss", is_flag=True, help="Even when sessions are on no other slot.")
@with_events
@with_config
@click.pass_context
def stop(ctx: click.Context, /, slot: str, **options: Any) -> None:
    """Stop SLOT. Refused when users are on it."""
    from deployer import commands

    shop = open_shop(ctx, options["config"], make_keys=True)
    planner = commands.stop_planner(
        shop, commands.slot_named(shop, slot), force=options["force"], accept_loss=options["accept_session_loss"]
    )
    go(ctx, shop, planner, "stop", None, make_console(as_json=options["as_json"]), options)


@click.command(cls=HostCommand)
@click.argument("slot")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(0, 100_000))
@with_config
@click.pass_context
def logs(ctx: click.Context, /, slot: str, follow: bool, lines: int, **options: Any) -> None:
    """Print the log of SLOT's current or last run."""
    from deployer import commands
    from deployer.following import follow_file

    shop = open_shop(ctx, options["config"], make_keys=False)
    server = shop.slots[commands.slot_named(shop, slot)]
    for line in server.log_tail(lines):
        click.echo(line)
    if follow:
        gc.enable()
        for text in follow_file(Path(server.place.log), shop.clock):
            click.echo(text, nl=False)


COMMANDS: Final = (switch, start, stop, logs)
