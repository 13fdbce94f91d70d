"""The commands. Each imports what it needs when it runs, so that `proxy --help` is quick."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from proxy import cli_systemd, cli_traffic
from proxy.cli_parts import call, tells_errors, with_config, with_json

if TYPE_CHECKING:
    from proxy.wire import Status


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""Examples:

\b
  proxy check                        is the configuration right?
  proxy run -c config/proxy.yaml     serve, in the foreground
  proxy status                       what is active, what is up
  proxy switch temp                  send new requests to slot temp, wait until the old slot is drained
  proxy reload                       take over a changed configuration; no request is lost

\b
Exit codes: 0 done; 2 usage or configuration; 3 refused, and nothing was touched; 4 a person is needed.
""",
)
@click.version_option(package_name="switchyard", prog_name="proxy")
def main() -> None:
    """The public front server: it serves an app from one of its slots, and switches without losing a request."""


for command in (*cli_traffic.COMMANDS, *cli_systemd.COMMANDS):
    main.add_command(command)


@main.command()
@with_config
@tells_errors
def run(config: str) -> None:
    """Serve, in the foreground.

    SIGTERM or Ctrl-C stops gracefully, a second one at once; SIGHUP reloads.
    """
    from proxy.control.run import run as serve

    sys.exit(serve(config))


@main.command()
@with_config
@with_json
@tells_errors
def check(config: str, as_json: bool) -> None:
    """Validate the configuration: every error at once."""
    from proxy.config_file import load

    settings = load(config)
    if as_json:
        click.echo(settings.model_dump_json(indent=2))
    else:
        click.echo(f"{config} is valid: {', '.join(settings.apps)} on {', '.join(settings.listen)}")


@main.command()
@with_config
@with_json
@tells_errors
def status(config: str, as_json: bool) -> None:
    """Show what is active, what is up, and what the workers do."""
    from proxy.wire import Status

    found = Status.model_validate_json(call(config, "GET", "/v1/status"))
    click.echo(found.model_dump_json(indent=2, by_alias=True) if as_json else "\n".join(_status_lines(found)))


@main.command()
@with_config
@with_json
@tells_errors
def reload(config: str, as_json: bool) -> None:
    """Take over a changed configuration. A wrong one changes nothing; no request is lost."""
    from proxy.config_file import load
    from proxy.wire import Done

    load(config)
    done = Done.model_validate_json(call(config, "POST", "/v1/reload", within=90.0))
    click.echo(done.model_dump_json() if as_json else done.message)


@main.command()
@with_config
@with_json
@tells_errors
def upgrade(config: str, as_json: bool) -> None:
    """Go on with new code, and a changed configuration. Code that does not work changes nothing; no request is lost.

    Install the new version where the running one is, then call this. The process keeps its pid, listeners and locks.
    """
    from proxy.errors import BrokenOffError, RefusedError
    from proxy.wire import Done

    try:
        done = Done.model_validate_json(call(config, "POST", "/v1/upgrade", within=180.0))
    except RefusedError as error:
        if isinstance(error.__cause__, ConnectionResetError):
            raise BrokenOffError(
                "the supervisor has ended in the upgrade; its workers serve on",
                "its log says why; start it again with `proxy run`, as the version that works",
            ) from error
        raise
    click.echo(done.model_dump_json() if as_json else done.message)


@main.command(hidden=True)
@with_config
@tells_errors
def upgrade_check(config: str) -> None:
    """Could this version take over what standard input describes? Asked by the one that runs."""
    from proxy.control.upgrade_check import check as check_upgrade

    click.echo(check_upgrade(config, sys.stdin.buffer.read()))


@main.command()
@with_config
@tells_errors
def stop(config: str) -> None:
    """Stop gracefully, and wait for the end. Requests under way are answered, at most for timeouts.stop."""
    from proxy.config_file import load
    from proxy.control.stopping import stop as stop_running

    settings = load(config)
    click.echo(stop_running(settings.state_dir, settings.timeouts.stop + 10.0))


def _status_lines(status: Status) -> list[str]:
    lines = [
        f"proxy {status.version}, pid {status.pid}, {'ready' if status.ready else 'NOT READY'}",
        *(f"  {reason}" for reason in status.not_ready),
        f"listens on {', '.join(status.listen)}, {len(status.workers)} workers",
    ]
    lines += [
        f"  worker {worker.id}: pid {worker.pid}, {worker.state}, {worker.connections} connections, "
        f"{worker.requests} requests, {worker.rss_bytes / 1e6:.0f} MB"
        for worker in status.workers
    ]
    for app in status.apps:
        doing = ", being switched" if app.switching else f", {app.draining} drains" if app.draining else ""
        lines.append(f"app {app.name}: {app.active} is active (switch {app.epoch}), {app.held} held{doing}")
        lines += cli_traffic.app_lines(app)
        for slot in app.slots:
            release = f", release {slot.release}" if slot.release else ""
            lines.append(
                f"  {'*' if slot.active else ' '} {slot.name}: {slot.in_flight} in flight, "
                f"{slot.requests} requests{release}"
            )
            lines += [
                f"      {backend.address} {backend.health}{': ' + backend.last_error if backend.last_error else ''}"
                for backend in slot.backends
            ]
    return lines
