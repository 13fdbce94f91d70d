"""`proxy systemd`: unit files for this configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from proxy.cli_parts import tells_errors, with_config


@click.command()
@with_config
@click.option("--name", default="switchyard", show_default=True, help="Of the units.")
@click.option("--user", help="Whom the service runs as.  [default: `user` of the configuration, or switchyard]")
@click.option("--socket-activation", is_flag=True, help="Let systemd listen, so that a restart refuses nobody.")
@click.option("--write", "directory", metavar="DIR", help="Write the files there, such as /etc/systemd/system.")
@tells_errors
def systemd(config: str, name: str, user: str | None, socket_activation: bool, directory: str | None) -> None:
    """Print unit files that run the proxy as it would run here: this Python, directory and configuration.

    Each begins with what must be done before its first start.
    """
    from proxy.config_file import load
    from proxy.control.supervisor import worker_count
    from proxy.control.systemd import Place, units

    settings = load(config)
    place = Place(
        name=name,
        user=user or settings.user or "switchyard",
        command=(sys.executable, "-P", "-m", "proxy"),
        config=config,
        directory=os.getcwd(),
    )
    for file, text in units(settings, place, worker_count(settings), sockets=socket_activation).items():
        if directory is None:
            click.echo(text)
        else:
            _write(Path(directory) / file, text)


def _write(path: Path, text: str) -> None:
    from proxy.errors import RefusedError

    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        advice = "run this as root, or name another DIR"
        raise RefusedError(f"{path}: can't be written: {error.strerror}", advice) from error
    click.echo(f"wrote {path}")


COMMANDS: Final = (systemd,)
