"""A command that was typed here, as the words that mean the same on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST_PARAMETERS = frozenset({"host", "identity", "remote_dir"})


def words(ctx: click.Context, values: Mapping[str, Any]) -> list[str]:
    """The command and what was typed after it, but for the host. values: by parameter, instead of what was typed."""
    names: list[str] = []
    at: click.Context | None = ctx
    while at is not None and at.parent is not None:
        names.insert(0, at.info_name or "")
        at = at.parent
    options: list[str] = []
    root = ctx.find_root()
    if root is not ctx and _typed(root, "config") and not _typed(ctx, "config"):
        options.append(f"--config={root.params['config']}")
    arguments: list[str] = []
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name in HOST_PARAMETERS or not _typed(ctx, name):
            continue
        value = values.get(name, ctx.params[name])
        several = parameter.multiple or parameter.nargs != 1
        for one in value if several and not isinstance(value, str) else (value,):
            if isinstance(parameter, click.Option):
                options.append(_option(parameter, one))
            else:
                arguments.append(str(one))
    return [*names, *options, *(["--", *arguments] if arguments else [])]


def _typed(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _option(option: click.Option, value: Any) -> str:
    names = option.opts if value or not option.secondary_opts else option.secondary_opts
    longest = max(names, key=len)
    return longest if option.is_flag else f"{longest}={value}"
