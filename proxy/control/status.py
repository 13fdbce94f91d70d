"""What is, as the admin API tells it: from settings, workers, probes and merged counters to wire types."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from proxy.control.counters import Counters, slot_of
from proxy.wire import AppStatus, BackendStatus, Health, SlotStatus, Status, WorkerStatus

if TYPE_CHECKING:
    from proxy.control.app_control import AppControl
    from proxy.control.supervisor import Supervisor
    from proxy.control.worker_process import WorkerProcess

_WORKER_STATES: dict[str, Literal["starting", "ready", "draining", "lost"]] = {
    "starting": "starting",
    "prepared": "starting",
    "ready": "ready",
    "draining": "draining",
    "lost": "lost",
}


def own_version() -> str:
    """The installed version; "unknown" when the package is not installed."""
    try:
        return version("switchyard")
    except PackageNotFoundError:
        return "unknown"


def status(supervisor: Supervisor, totals: dict[str, Any]) -> Status:
    """`totals`: merged counters."""
    why = not_ready(supervisor)
    return Status(
        version=own_version(),
        pid=os.getpid(),
        started=supervisor.started,
        config=supervisor.config,
        listen=supervisor.settings.listen,
        ready=not why,
        not_ready=why,
        workers=tuple(_worker_status(worker, supervisor.counters) for worker in supervisor.fleet.workers.values()),
        apps=tuple(app_status(app, supervisor.counters, totals) for app in supervisor.apps.values()),
    )


def not_ready(supervisor: Supervisor) -> tuple[str, ...]:
    """Why the proxy can't serve, one sentence each; empty when it can."""
    reasons = []
    if supervisor.stopping:
        reasons.append("the proxy stops")
    elif not supervisor.fleet.current:
        reasons.append("the workers are starting")
    reasons += [
        f"worker {worker.number} is {worker.state}"
        for worker in supervisor.fleet.current.values()
        if worker.state != "ready"
    ]
    for app in supervisor.apps.values():
        backends = app.slot(app.machine.active).backends
        if all(up is False for up in backends.values()):
            reasons.append(f"app {app.name} has no healthy backend in its active slot {app.machine.active}")
    return tuple(reasons)


def app_status(app: AppControl, counters: Counters, totals: dict[str, Any]) -> AppStatus:
    """`totals`: merged counters."""
    counted = totals.get("apps", {}).get(app.name, {})
    return AppStatus(
        name=app.name,
        active=app.machine.active,
        epoch=app.machine.epoch,
        held=counted.get("held", 0),
        switching=app.machine.switching,
        draining=app.machine.draining,
        slots=tuple(_slot_status(app, name, counters, totals) for name in app.settings.slots),
        release=app.release,
        trial=app.trial.status(),
        last_trial=app.trial.last,
        weights=None if app.machine.spreading is None else dict(app.machine.spreading.weights),
        sticky=None if app.machine.spreading is None else app.machine.spreading.sticky,
        paused_until=app.admission.paused_until,
        maintenance=app.admission.maintenance(),
    )


def _slot_status(app: AppControl, name: str, counters: Counters, totals: dict[str, Any]) -> SlotStatus:
    counted = slot_of(totals, app.name, name)
    state = app.slot(name)
    return SlotStatus(
        name=name,
        active=name == app.machine.active,
        backends=tuple(
            _backend_status(app, name, address, counted["backends"].get(address, 0)) for address in state.backends
        ),
        in_flight=counted["in_flight"],
        tunnels=counted["tunnels"],
        requests=counted["requests"],
        errors_5xx=counted["status"][4],
        latency_p99_ms=counters.p99_ms(app.name, name, counted),
        static_root=state.static_root,
        release=state.release,
    )


def _backend_status(app: AppControl, slot: str, address: str, in_flight: int) -> BackendStatus:
    health = app.prober.health(slot, address)
    state: Health = "unknown" if health is None or health.up is None else "up" if health.up else "down"
    return BackendStatus(
        address=address,
        health=state,
        since=health.since if health is not None else app.since,
        last_error=health.last_error if health is not None else None,
        in_flight=in_flight,
    )


def _worker_status(worker: WorkerProcess, counters: Counters) -> WorkerStatus:
    return WorkerStatus(
        id=worker.number,
        pid=worker.pid,
        state=_WORKER_STATES[worker.state],
        connections=counters.of(worker.number, "connections"),
        requests=counters.of(worker.number, "requests"),
        rss_bytes=counters.of(worker.number, "rss"),
        started=worker.started,
    )
