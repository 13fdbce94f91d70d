"""The commands that steer an app's requests: which slot they go to, and whether they go at all."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING, Any, Final

import click

from proxy.cli_parts import app_name, call, tells_errors, with_app, with_config, with_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from proxy.wire import AppStatus, SwitchReport

_MARGIN: Final = 15.0
"""Seconds for what a call does besides holding and draining."""


_REVERT_SECONDS: Final = 3600.0
_APPLY_SECONDS: Final = 60.0
_MAX_PAGE: Final = 65_536


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


@click.command()
@click.argument("weights", nargs=-1, required=True, metavar="SLOT=WEIGHT...")
@with_app
@with_config
@with_json
@tells_errors
def weights(weights: tuple[str, ...], app: str | None, config: str, as_json: bool) -> None:
    """Spread new visitors over several slots, as in `weights production=90 temp=10`.

    A visitor keeps the slot by a cookie. A slot that is not named gets no requests. A single slot ends the weights.
    """
    from proxy.errors import ConfigurationError

    wanted: dict[str, Any] = {}
    for pair in weights:
        slot, _, weight = pair.partition("=")
        if not slot or not weight.isdecimal() or slot in wanted or slot == "sticky":
            raise ConfigurationError(f"found {pair!r}, allowed: SLOT=WEIGHT once for each slot, as temp=10")
        wanted[slot] = int(weight)
    _put_weights(config, app, wanted, as_json)


@click.command("round-robin")
@with_app
@with_config
@with_json
@tells_errors
def round_robin(app: str | None, config: str, as_json: bool) -> None:
    """Send requests to all slots by turns, whoever asks. Ended by `weights SLOT=1` or `switch SLOT`."""
    from proxy.wire import AppStatus

    path = f"/v1/apps/{app_name(config, app)}"
    status = AppStatus.model_validate_json(call(config, "GET", path))
    _put_weights(config, app, {**{slot.name: 1 for slot in status.slots}, "sticky": False}, as_json)


@click.command()
@with_app
@click.option("--for", "seconds", metavar="TIME", help="End by itself after so long.  [default: limits.hold]")
@with_config
@with_json
@tells_errors
def pause(app: str | None, seconds: str | None, config: str, as_json: bool) -> None:
    """Let new requests wait. Each waits for limits.hold at most; then it gets 503."""
    from proxy.wire import PauseRequest

    _traffic(config, app, as_json, "POST", "pause", _checked(PauseRequest, {"for": seconds} if seconds else {}))


@click.command()
@with_app
@with_config
@with_json
@tells_errors
def resume(app: str | None, config: str, as_json: bool) -> None:
    """End a pause: the requests that wait go on."""
    _traffic(config, app, as_json, "POST", "resume", None)


@click.command()
@click.argument("state", type=click.Choice(["on", "off"]))
@with_app
@click.option("--text", metavar="TEXT", help="For the proxy's own page.")
@click.option("--page", type=click.File(encoding="utf-8"), metavar="FILE", help="An HTML page instead of it.")
@click.option("--retry-after", metavar="TIME", help="When to come again.  [default: 60s]")
@with_config
@with_json
@tells_errors
def maintenance(
    state: str,
    app: str | None,
    text: str | None,
    page: IO[str] | None,
    retry_after: str | None,
    config: str,
    as_json: bool,
) -> None:
    """Answer requests with 503 and a page, or serve them again. Static files are served all the time."""
    from proxy.errors import ConfigurationError
    from proxy.wire import MaintenanceRequest

    try:
        content = page.read(_MAX_PAGE + 1) if page is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the page can't be read as UTF-8 text: {error}") from error
    wanted = {"on": state == "on", "text": text, "page": content, "retry_after": retry_after}
    request = _checked(MaintenanceRequest, {key: value for key, value in wanted.items() if value is not None})
    _traffic(config, app, as_json, "PUT", "maintenance", request)


COMMANDS: Final = (switch, confirm, revert, weights, round_robin, pause, resume, maintenance)


def app_lines(app: AppStatus) -> list[str]:
    """What the status says of where the app's requests go, but for what is always so."""
    lines = []
    if app.weights is not None:
        shares = ", ".join(f"{slot} {weight}" for slot, weight in app.weights.items())
        lines.append(f"  weights: {shares}{', visitors keep their slot' if app.sticky else ', by turns'}")
    if app.paused_until is not None:
        lines.append(f"  PAUSED until {_clock_time(app.paused_until)}")
    if app.maintenance is not None:
        lines.append(f"  MAINTENANCE since {_clock_time(app.maintenance.since)}: requests get 503 and a page")
    return lines + _trial_lines(app)


def _trial_lines(app: AppStatus) -> list[str]:
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


def _put_weights(config: str, app: str | None, wanted: dict[str, Any], as_json: bool) -> None:
    from proxy.wire import WeightsRequest

    _traffic(config, app, as_json, "PUT", "weights", _checked(WeightsRequest, wanted))


def _traffic(config: str, app: str | None, as_json: bool, method: str, what: str, body: BaseModel | None) -> None:
    """Calls the admin API, which answers when all workers go by it."""
    from proxy.wire import AppStatus

    raw = call(config, method, f"/v1/apps/{app_name(config, app)}/{what}", body, within=_APPLY_SECONDS)
    status = AppStatus.model_validate_json(raw)
    lines = app_lines(status) or [f"  requests go to {status.active}"]
    _print_status(status, as_json, "\n".join([f"{status.name}:", *lines]))


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
    if not report.durable:
        lines.append("  not durable: the state file can't be written, so a failure of the machine may undo the switch")
    if report.trial:
        until = "its guard watches it" if report.confirm_by is None else f"confirm by {_clock_time(report.confirm_by)}"
        lines.append(f"  on trial: {until}, or it is undone")
    return "\n".join(lines)


def _clock_time(unix: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix))
