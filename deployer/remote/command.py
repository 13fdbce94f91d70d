"""The click command that can run on a server: every command of the deployer is one. Imports no SSH until then."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.remote import forwarding
from deployer.remote.layout import DEFAULT_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.remote.connection import Place


def host_options() -> list[click.Option]:
    """The options that name a server."""
    return [
        click.Option(
            ["--host"],
            metavar="[USER@]SERVER[:PORT]",
            envvar="DEPLOYER_HOST",
            help="Run it there over SSH. Host keys must be in ~/.ssh/known_hosts.",
        ),
        click.Option(["-i", "--identity"], metavar="FILE", help="With --host: a private key, besides the agent's."),
        click.Option(
            ["--remote-dir"],
            metavar="DIR",
            envvar="DEPLOYER_REMOTE_DIR",
            help=f"With --host: the project's directory there [~/{DEFAULT_DIRECTORY}].",
        ),
    ]


def taken_place(params: dict[str, Any]) -> Place | None:
    """Takes the host's options out of a command's; where to run it, None: here. Raises ConfigurationError."""
    host, identity, directory = (params.pop(name) for name in ("host", "identity", "remote_dir"))
    if not host:
        if identity:
            raise click.UsageError("-i goes with --host")
        return None
    from deployer.remote.address import parse_address
    from deployer.remote.connection import Place

    return Place(parse_address(host), directory or DEFAULT_DIRECTORY, identity, _sender())


def _sender() -> str:
    try:
        return f"{getpass.getuser()}@{os.uname().nodename}"
    except (KeyError, OSError):
        return os.uname().nodename


def with_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """The host's options for a command that does something of its own with them; see taken_place."""
    for option in reversed(host_options()):
        function = click.option(*option.opts, metavar=option.metavar, envvar=option.envvar, help=option.help)(function)
    return function


class HostCommand(click.Command):
    """A command that takes --host, and then runs on the server instead of here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(host_options())

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        place = taken_place(ctx.params)
        if place is not None:
            ctx.exit(_forward(ctx, place))
        return super().invoke(ctx)


def _forward(ctx: click.Context, place: Place) -> int:
    from deployer.remote.forward import Typed, forward

    params = ctx.params
    typed = Typed(
        name=ctx.info_name or "",
        files={name: value for name, value in params.items() if isinstance(value, Path)},
        words=lambda sent: forwarding.words(ctx, sent),
        only_prints=bool(params.get("dry_run")),
        as_json=bool(params.get("as_json")),
        asks="yes" in params and not params["yes"] and not params.get("as_json") and sys.stdin.isatty(),
    )
    return forward(place, typed, lambda text: click.confirm(text, default=True))


@click.command(cls=click.Command)
@click.argument("slot")
@click.option("-L", "--local-port", default=0, type=click.IntRange(0, 65535), help="The port here [any free one].")
@click.option("-c", "--config", "config", help="Configuration file there.")
@with_host
def tunnel(slot: str, local_port: int, config: str | None, **options: Any) -> None:
    """Open a port here that is SLOT's private port on the server, to look at a release before users do.

    \b
    deployer tunnel temp -L 3333 --host deploy@shop.example.org
    """
    place = taken_place(options)
    if place is None:
        raise click.UsageError("name the server with --host USER@SERVER, or in DEPLOYER_HOST")
    from deployer.remote.tunnel import tunnel as hold

    hold(place, slot, local_port, config, lambda text: click.echo(text))
