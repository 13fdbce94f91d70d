"""The commands about the machine: what a release needs on it, and the lock. See deployer.cli."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from deployer.cli_parts import (
    CONFIG_FILES,
    Commands,
    found_config,
    load_settings,
    open_shop,
    print_facts,
    print_findings,
    with_config,
    with_json,
)
from deployer.remote.command import HostCommand, taken_place, with_host


@click.command()
@click.option("--yes", is_flag=True, help="With --host: install packages that are missing there, by apt as root.")
@click.option("--python", metavar="FILE", help="With --host: the Python there, 3.11 or newer.")
@with_json
@with_config
@with_host
@click.pass_context
def init(ctx: click.Context, /, **options: Any) -> None:
    """Make a configuration, the directories and the secrets where there are none, and look at what is missing.

    Nothing that is there is changed. Exit code 3 when something is missing.

    With --host: install this switchyard there, in a .venv, send the configuration (-c names it here) where there is
    none, and do the same.

    \b
    deployer init --host deploy@shop.example.org
    """
    from deployer.clock import SystemClock
    from deployer.setup import initialise

    place = taken_place(options)
    config = options["config"] or ctx.obj or found_config() or CONFIG_FILES[0]
    if place is not None:
        from deployer.remote.install import Wanted, install

        if options["config"] and not Path(config).is_file():
            raise click.UsageError(f"-c {config}: there is no such file here, to be sent")
        wanted = Wanted(Path(config), options["python"], install=options["yes"])
        print_findings(ctx, install(place, wanted, lambda text: click.echo(text, err=True)), options)
    if options["yes"] or options["python"]:
        raise click.UsageError("--yes and --python go with --host")
    print_findings(ctx, initialise(Path(config), SystemClock()), options)


@click.command(cls=HostCommand)
@with_json
@with_config
@click.pass_context
def doctor(ctx: click.Context, /, **options: Any) -> None:
    """Look at all that a release needs: Tomcat, Java, ports, memory, disk, keys, cluster, proxy, journal.

    Nothing is changed. Exit code 3 when a release would fail.
    """
    from deployer.clock import SystemClock
    from deployer.doctor import examine

    print_findings(ctx, examine(load_settings(ctx, options["config"]), SystemClock(), need_proxy=True), options)


@click.command(cls=HostCommand)
@click.option("--write", "directory", metavar="DIR", help="Write the files there, such as /etc/systemd/system.")
@with_config
@click.pass_context
def systemd(ctx: click.Context, /, directory: str | None, **options: Any) -> None:
    """Print a unit file for each slot's Tomcat, for `tomcat.run: systemd`. Run it as who runs the deployer.

    \b
    deployer systemd
    deployer systemd --write /etc/systemd/system && systemctl daemon-reload
    """
    from deployer.tomcat_units import unit_files, write_units

    units = unit_files(open_shop(ctx, options["config"], make_keys=False))
    if directory is None:
        for text in units.values():
            click.echo(text)
        return
    for path in write_units(units, directory):
        click.echo(f"wrote {path}")


@click.group(cls=Commands)
def lock() -> None:
    """The lock by which one command at a time changes the site."""


@lock.command("status")
@with_json
@with_config
@click.pass_context
def lock_status(ctx: click.Context, /, **options: Any) -> None:
    """Who has the lock."""
    from dataclasses import asdict

    shop = open_shop(ctx, options["config"], make_keys=False)
    holder = shop.lock.holder()
    text = "nobody has the lock"
    if holder:
        text = f"pid {holder.pid} ({holder.by}) for {shop.clock.time() - holder.since:.0f} s: {holder.command}"
    print_facts({"holder": asdict(holder) if holder else None}, lambda: [text], as_json=options["as_json"])


@lock.command("break")
@with_json
@with_config
@click.pass_context
def lock_break(ctx: click.Context, /, **options: Any) -> None:
    """Take the lock away from a command that hangs; it stops before its next step.

    The lock of a command that died needs no breaking. Ctrl-C or `kill PID` is better: the command undoes itself.
    """
    from dataclasses import asdict

    holder = open_shop(ctx, options["config"], make_keys=False).lock.break_it()
    text = f"taken from pid {holder.pid} ({holder.by}): {holder.command}" if holder else "nobody had the lock"
    print_facts({"broken": asdict(holder) if holder else None}, lambda: [text], as_json=options["as_json"])


COMMANDS: Final = (init, doctor, systemd, lock)
