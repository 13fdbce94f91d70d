"""The commands. Each imports what it needs when it runs, so that `proxy --help` is quick."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from proxy.cli_parts import app_name, call, tells_errors, with_app, with_config, with_json

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
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(_status_lines(found)))


@main.command()
@click.argument("slot")
@with_app
@click.option("--expect", metavar="SLOT", help="Refuse unless this slot is active now.")
@click.option("--hold", default=5.0, show_default=True, help="Longest wait of a new request, in seconds.")
@click.option("--drain", default=30.0, show_default=True, help="Seconds until requests on the old slot are cut.")
@click.option("--force", is_flag=True, help="Even if the slot has no healthy backend.")
@with_config
@with_json
@tells_errors
def switch(
    slot: str,
    app: str | None,
    expect: str | None,
    hold: float,
    drain: float,
    force: bool,
    config: str,
    as_json: bool,
) -> None:
    """Make SLOT active in all workers, and wait until the old slot is drained."""
    from pydantic import ValidationError

    from proxy.errors import ConfigurationError
    from proxy.wire import SwitchReport, SwitchRequest

    wanted: dict[str, Any] = {"to": slot, "hold": hold, "drain": drain, "force": force}
    if expect is not None:
        wanted["expect_active"] = expect
    try:
        request = SwitchRequest.model_validate(wanted)
    except ValidationError as error:
        detail = error.errors()[0]
        raise ConfigurationError(f"{detail['loc'][0]}: {detail['msg']}, found {detail['input']!r}") from error
    path = f"/v1/apps/{app_name(config, app)}/switch"
    raw = call(config, "POST", path, request, within=hold + drain + 15.0)
    report = SwitchReport.model_validate_json(raw)
    click.echo(report.model_dump_json(indent=2, by_alias=True) if as_json else _report_text(report))


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
@tells_errors
def stop(config: str) -> None:
    """Stop gracefully, and wait for the end. Requests under way are answered, at most for timeouts.stop."""
    from proxy.config_file import load
    from proxy.control.stopping import stop as stop_running

    settings = load(config)
    click.echo(stop_running(settings.state_dir, settings.timeouts.stop + 10.0))


def _report_text(report: Any) -> str:
    if report.from_slot == report.to:
        return f"{report.app}: {report.to} is active already"
    lines = [
        f"{report.app}: {report.from_slot} -> {report.to}, switch {report.epoch}, in {report.workers} workers",
        f"  hold {report.hold_ms:.1f} ms, {report.held} requests waited, {report.in_flight} were on the old slot",
        f"  {'drained' if report.drained else 'not drained'} after {report.drain_ms:.0f} ms",
    ]
    lines += [
        f"  cut after {exchange.age_ms / 1000:.1f} s: {exchange.method} {exchange.path} ({exchange.client})"
        for exchange in report.cut
    ]
    return "\n".join(lines)


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
