"""The commands that steer an app's requests: which slot they go to, and whether they go at all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from proxy.cli_parts import app_name, call, tells_errors, with_app, with_config, with_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from proxy.wire import AppStatus, SwitchReport

_MARGIN: Final = 15.0
"""Seconds for what a call does besides holding and draining."""


_REVERT_SECONDS: Final = 3600.0


@click.command()
@click.argument("slot")
@with_app
@click.option("--expect", metavar="SLOT", help="Refuse unless this slot is active now.")
@click.option("--hold", default="5s", show_default=True, metavar="TIME", help="Longest wait of a new request.")
@click.option(
    "--drain", default="30s", show_default=True, metavar="TIME", help="Until requests on the old slot are cut."
)
@click.option("--force", is_flag=True, help="Even if the slot has no healthy backend.")
@click.option("--confirm-within", metavar="TIME", help="Switch back unless `proxy confirm` comes in time.")
@click.option("--max-error-ratio", type=float, metavar="SHARE", help="Switch back above this share of 5xx, as 0.02.")
@click.option("--max-p99", metavar="TIME", help="Switch back above this 99th percentile of the time to answer.")
@click.option("--min-requests", type=int, metavar="N", help="Judge no fewer requests in a window.  [default: 20]")
@click.option("--window", metavar="TIME", help="What is judged: the last so many seconds.  [default: 10s]")
@with_config
@with_json
@tells_errors
def switch(slot: str, app: str | None, config: str, as_json: bool, **options: Any) -> None:
    """Make SLOT active in all workers, and wait until the old slot is drained.

    With --confirm-within, --max-error-ratio or --max-p99 the switch is on trial: the proxy undoes it by itself.
    """
    from proxy.wire import SwitchReport, SwitchRequest

    guard = {key: options.pop(key) for key in ("max_error_ratio", "max_p99", "min_requests", "window")}
    guard = {key: value for key, value in guard.items() if value is not None}
    wanted = {"to": slot, "expect_active": options.pop("expect"), "guard": guard or None, **options}
    request = _checked(SwitchRequest, {key: value for key, value in wanted.items() if value is not None})
    path = f"/v1/apps/{app_name(config, app)}/switch"
    raw = call(config, "POST", path, request, within=request.hold + request.drain + _MARGIN)
    _print_report(SwitchReport.model_validate_json(raw), as_json)


@click.command()
@with_app
@with_config
@with_json
@tells_errors
def confirm(app: str | None, config: str, as_json: bool) -> None:
    """End the trial of the last switch: it stays."""
    from proxy.wire import AppStatus

    status = AppStatus.model_validate_json(call(config, "POST", f"/v1/apps/{app_name(config, app)}/confirm"))
    _print_status(status, as_json, f"{status.name}: {status.active} is confirmed")


@click.command()
@with_app
@with_config
@with_json
@tells_errors
def revert(app: str | None, config: str, as_json: bool) -> None:
    """End the trial of the last switch: switch back, and wait until the slot on trial is drained."""
    from proxy.wire import SwitchReport

    path = f"/v1/apps/{app_name(config, app)}/revert"
    # Hold and drain are those of the switch; however long they are, the proxy is the one that knows.
    _print_report(SwitchReport.model_validate_json(call(config, "POST", path, within=_REVERT_SECONDS)), as_json)


COMMANDS: Final = (switch, confirm, revert)


def trial_lines(app: AppStatus) -> list[str]:
    """What the status says of the app's trial."""
    lines = []
    trial = app.trial
    if trial is not None:
        until = "" if trial.confirm_by is None else f" until {_clock_time(trial.confirm_by)}, unless it is confirmed"
        lines.append(f"  on trial: {trial.to}, back to {trial.from_slot}{until}")
        if trial.figures is not None:
            figures = trial.figures
            lines.append(
                f"    last {figures.seconds:.0f} s: {figures.requests} requests, {figures.errors_5xx} errors"
                + (f", 99% within {figures.p99_ms:g} ms" if figures.p99_ms is not None else "")
            )
        if trial.problem is not None:
            lines.append(f"    {trial.problem}")
    elif app.last_trial is not None and app.last_trial.outcome == "reverted":
        last = app.last_trial
        lines.append(f"  {last.to} was left again at {_clock_time(last.time)}: {last.reason}")
    return lines


def _checked(model: type[BaseModel], wanted: dict[str, Any]) -> Any:
    """The request. Raises ConfigurationError that names the option."""
    from pydantic import ValidationError

    from proxy.errors import ConfigurationError

    try:
        return model.model_validate(wanted)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise ConfigurationError(f"{where}: {detail['msg']}, found {detail['input']!r}") from error


def _print_status(status: AppStatus, as_json: bool, text: str) -> None:
    click.echo(status.model_dump_json(indent=2, by_alias=True) if as_json else text)


def _print_report(report: SwitchReport, as_json: bool) -> None:
    click.echo(report.model_dump_json(indent=2, by_alias=True) if as_json else _report_text(report))


def _report_text(report: SwitchReport) -> str:
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
    if report.trial:
        until = "its guard watches it" if report.confirm_by is None else f"confirm by {_clock_time(report.confirm_by)}"
        lines.append(f"  on trial: {until}, or it is undone")
    return "\n".join(lines)


def _clock_time(unix: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix))
