"""The metrics page: merged counters and the supervisor's own facts, rendered by prometheus_client."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, cast

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from proxy.control.counters import slot_of
from proxy.control.status import own_version
from proxy.core.stats import BUCKETS_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from proxy.control.app_control import AppControl
    from proxy.control.supervisor import Supervisor

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_SLOT: Final = ("app", "slot")


class _Collector:
    """What generate_latest asks; it stands in for a registry."""

    def __init__(self, supervisor: Supervisor, totals: dict[str, Any]) -> None:
        self._supervisor = supervisor
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        yield from _process_metrics(self._supervisor, self._totals)
        yield from _slot_metrics(self._supervisor, self._totals)
        yield from _app_metrics(self._supervisor, self._totals)
        yield from _traffic_metrics(self._supervisor.apps.values())


def render(supervisor: Supervisor, totals: dict[str, Any]) -> bytes:
    """The page in Prometheus's text format. `totals`: merged counters."""
    return generate_latest(cast("CollectorRegistry", _Collector(supervisor, totals)))


def _process_metrics(supervisor: Supervisor, totals: dict[str, Any]) -> Iterator[Metric]:
    info = GaugeMetricFamily("switchyard_build_info", "Always 1; the version is the label.", labels=["version"])
    info.add_metric([own_version()], 1)
    yield info
    yield GaugeMetricFamily("switchyard_start_time_seconds", "Unix time of the start.", supervisor.started)
    workers = GaugeMetricFamily("switchyard_workers", "Workers by state.", labels=["state"])
    states = [worker.state for worker in supervisor.fleet.workers.values()]
    for state in ("starting", "prepared", "ready", "draining"):
        workers.add_metric([state], states.count(state))
    yield workers
    memory = GaugeMetricFamily("switchyard_worker_resident_bytes", "Resident memory.", labels=["worker"])
    for number in supervisor.fleet.workers:
        memory.add_metric([str(number)], supervisor.counters.of(number, "rss"))
    yield memory
    tasks = GaugeMetricFamily("switchyard_worker_tasks", "Tasks of the event loop.", labels=["worker"])
    for number in supervisor.fleet.workers:
        tasks.add_metric([str(number)], supervisor.counters.of(number, "tasks"))
    yield tasks
    yield GaugeMetricFamily("switchyard_connections", "Open client connections.", totals.get("connections", 0))
    yield _counter("connections", "Client connections accepted.", totals.get("connections_total", 0))
    yield _counter("worker_deaths", "Workers that ended without being told to.", supervisor.fleet.deaths)
    yield _counter("reloads", "Configurations loaded while running.", supervisor.reloads)
    yield _counter("access_log_dropped", "Access log lines that could not be written.", totals.get("log_dropped", 0))
    own = CounterMetricFamily(
        "switchyard_own_answers", "Requests that the proxy answered itself: files, errors, refusals.", labels=["status"]
    )
    for status, count in sorted(totals.get("own", {}).items()):
        own.add_metric([status], count)
    yield own


def _slot_metrics(supervisor: Supervisor, totals: dict[str, Any]) -> Iterator[Metric]:
    requests = CounterMetricFamily("switchyard_requests", "Exchanges that have ended.", labels=[*_SLOT, "status_class"])
    duration = HistogramMetricFamily(
        "switchyard_request_duration_seconds", "From a request's first byte to its response's last.", labels=_SLOT
    )
    received = CounterMetricFamily("switchyard_request_bytes", "Bytes of requests' bodies.", labels=_SLOT)
    sent = CounterMetricFamily("switchyard_response_bytes", "Bytes of responses.", labels=_SLOT)
    in_flight = GaugeMetricFamily("switchyard_in_flight", "Outstanding exchanges.", labels=_SLOT)
    tunnels = GaugeMetricFamily("switchyard_tunnels", "Open tunnels.", labels=_SLOT)
    for app in supervisor.apps.values():
        for name in app.settings.slots:
            slot, labels = slot_of(totals, app.name, name), [app.name, name]
            for label, count in zip(_CLASSES, slot["status"], strict=True):
                requests.add_metric([*labels, label], count)
            requests.add_metric([*labels, "none"], slot["aborted"])
            hist = slot["hist"] or [0] * (len(BUCKETS_MS) + 1)
            duration.add_metric(labels, _buckets(hist), slot["sum_us"] / 1e6)
            received.add_metric(labels, slot["bytes_in"])
            sent.add_metric(labels, slot["bytes_out"])
            in_flight.add_metric(labels, slot["in_flight"])
            tunnels.add_metric(labels, slot["tunnels"])
    yield from (requests, duration, received, sent, in_flight, tunnels)


def _app_metrics(supervisor: Supervisor, totals: dict[str, Any]) -> Iterator[Metric]:
    held = GaugeMetricFamily("switchyard_held", "Requests that wait in the gate.", labels=["app"])
    active = GaugeMetricFamily("switchyard_slot_active", "1 for the active slot.", labels=_SLOT)
    epoch = GaugeMetricFamily("switchyard_epoch", "Switches since the state file was made.", labels=["app"])
    switches = CounterMetricFamily("switchyard_switches", "Switches by outcome.", labels=["app", "outcome"])
    hold = HistogramMetricFamily("switchyard_switch_hold_seconds", "Longest hold of each switch.", labels=["app"])
    for app in supervisor.apps.values():
        held.add_metric([app.name], totals.get("apps", {}).get(app.name, {}).get("held", 0))
        for name in app.settings.slots:
            active.add_metric([app.name, name], name == app.machine.active)
        epoch.add_metric([app.name], app.machine.epoch)
        switches.add_metric([app.name, "switched"], app.switches)
        switches.add_metric([app.name, "refused"], app.refused)
        hold.add_metric([app.name], _buckets(app.hold_hist), app.hold_sum_ms / 1000)
    yield from (held, active, epoch, switches, hold, _backend_metric(supervisor.apps.values()))


def _traffic_metrics(apps: Iterable[AppControl]) -> Iterator[Metric]:
    weight = GaugeMetricFamily("switchyard_slot_weight", "New requests go to the slots by this.", labels=_SLOT)
    paused = GaugeMetricFamily("switchyard_paused", "1 while new requests wait.", labels=["app"])
    maintenance = GaugeMetricFamily("switchyard_maintenance", "1 while requests get a page.", labels=["app"])
    on_trial = GaugeMetricFamily("switchyard_trial", "1 while a switch is not confirmed.", labels=["app"])
    trials = CounterMetricFamily("switchyard_trials", "Trials that ended, by outcome.", labels=["app", "outcome"])
    for app in apps:
        spreading = app.machine.spreading
        weights = {app.machine.active: 1} if spreading is None else spreading.weights
        for name in app.settings.slots:
            weight.add_metric([app.name, name], weights.get(name, 0))
        paused.add_metric([app.name], app.admission.paused_until is not None)
        maintenance.add_metric([app.name], app.admission.maintenance() is not None)
        on_trial.add_metric([app.name], app.trial.record is not None)
        for outcome, count in app.trial.outcomes.items():
            trials.add_metric([app.name, outcome], count)
    yield from (weight, paused, maintenance, on_trial, trials)


def _backend_metric(apps: Iterable[AppControl]) -> Metric:
    up = GaugeMetricFamily(
        "switchyard_backend_up", "1: its probe calls it up, or there is none; 0: down.", labels=[*_SLOT, "backend"]
    )
    for app in apps:
        for name in app.settings.slots:
            for address, state in app.slot(name).backends.items():
                up.add_metric([app.name, name, address], state is not False)
    return up


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"switchyard_{name}", text, value)


def _buckets(hist: Sequence[int]) -> list[tuple[str, float]]:
    bounds = [*(f"{bound / 1000:g}" for bound in BUCKETS_MS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(hist)), strict=True))
