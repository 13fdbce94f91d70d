"""What the commands share: options, errors, the way to the admin API."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from proxy.errors import OperatorError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


def with_config(command: Callable[P, R]) -> Callable[P, R]:
    option: Callable[[Callable[P, R]], Callable[P, R]] = click.option(
        "-c",
        "--config",
        default="config/proxy.yaml",
        show_default=True,
        metavar="FILE",
        help="The configuration.",
    )
    return option(command)


def with_json(command: Callable[P, R]) -> Callable[P, R]:
    option: Callable[[Callable[P, R]], Callable[P, R]] = click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, for machines."
    )
    return option(command)


def with_app(command: Callable[P, R]) -> Callable[P, R]:
    option: Callable[[Callable[P, R]], Callable[P, R]] = click.option(
        "-a", "--app", metavar="APP", help="Which app, where there are several."
    )
    return option(command)


def tells_errors(command: Callable[P, R]) -> Callable[P, R]:
    """An operator's error ends the command with its message, its advice and its exit code."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except OperatorError as error:
            click.echo(f"{error}", err=True)
            if error.advice:
                click.echo(f"→ {error.advice}" if _speaks_utf8() else f"-> {error.advice}", err=True)
            sys.exit(error.exit_code)

    return told


def _speaks_utf8() -> bool:
    return (sys.stderr.encoding or "").lower().replace("-", "") == "utf8"


def call(config: str, method: str, path: str, body: Any = None, *, within: float = 10.0) -> bytes:
    from proxy.admin_client import AdminClient
    from proxy.config_file import load

    return AdminClient(load(config).admin).call(method, path, body, within=within)


def app_name(config: str, app: str | None) -> str:
    from proxy.config_file import load

    names = list(load(config).apps)
    if app is None and len(names) > 1:
        raise RefusedError(f"there are several apps: {', '.join(names)}", "say which with -a")
    if app is not None and app not in names:
        raise RefusedError(f"there is no app {app}; there is {', '.join(names)}")
    return app or names[0]
