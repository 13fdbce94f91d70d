"""The admin API's requests and responses, frozen. The deployer imports this module and nothing else of the proxy.

Field names are the JSON names. Times of day are Unix seconds, durations are seconds (`*_ms`: milliseconds);
requests also accept durations as text (`"5s"`). Requests refuse unknown fields; responses ignore them, so that
an older deployer can read a newer proxy.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proxy.address import BackendAddress, Name
from proxy.units import Duration, PositiveDuration, Size

__all__ = [
    "Alive",
    "AppStatus",
    "BackendStatus",
    "Done",
    "Duration",
    "Event",
    "Figures",
    "Guard",
    "Inflight",
    "InflightExchange",
    "MaintenanceRequest",
    "MaintenanceStatus",
    "PauseRequest",
    "PositiveDuration",
    "Problem",
    "Ready",
    "Recent",
    "RecentRequest",
    "ReleaseProgress",
    "ReleaseStep",
    "Size",
    "SlotStatus",
    "SlotUpdate",
    "Status",
    "SwitchReport",
    "SwitchRequest",
    "TrialOutcome",
    "TrialStatus",
    "WeightsRequest",
    "WorkerStatus",
]

SlotName = Name
Weight = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Health = Literal["up", "down", "unknown"]


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


# --- switching -----------------------------------------------------------------------------------------------


class Guard(_Request):
    """When a trial is given up by itself: when what the new slot did in the last `window` seconds passes a bound.

    Durations are counted in buckets (the histogram of `/metrics`); a `max_p99` between two counts as the longer one.
    """

    max_error_ratio: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="largest share of answers of 500 and above"
    )
    max_p99: PositiveDuration | None = Field(default=None, description="longest 99th percentile of the time to answer")
    min_requests: int = Field(
        default=20, ge=1, le=1_000_000_000, description="with fewer in the window nothing is judged"
    )
    min_requests_p99: int = Field(
        default=1, ge=1, le=1_000_000_000, description="with fewer in the window the percentile is not judged"
    )
    window: Annotated[PositiveDuration, Field(ge=1, le=3600)] = 10.0

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.max_error_ratio is None and self.max_p99 is None:
            raise ValueError("max_error_ratio or max_p99 is needed")
        return self


class SwitchRequest(_Request):
    """Body of `POST /v1/apps/{app}/switch`.

    With `confirm_within` or `guard` the switch is a trial. It is undone by a switch back when the guard's bounds are
    passed, or when nobody calls `confirm` in time. With a guard alone it is confirmed by itself after one window.
    """

    to: SlotName
    expect_active: SlotName | None = Field(None, description="409 when another slot is active")
    hold: PositiveDuration = Field(5.0, description="longest time that new requests may wait for the switch")
    drain: Duration = Field(30.0, description="time for the old slot's exchanges to end before they are cut")
    force: bool = Field(False, description="switch even to a slot without a healthy backend")
    confirm_within: Annotated[PositiveDuration, Field(le=86_400)] | None = Field(
        default=None, description="time from the switch to its confirmation"
    )
    guard: Guard | None = None


class WeightsRequest(_Request):
    """Body of `PUT /v1/apps/{app}/weights`: `{"production": 90, "temp": 10}`.

    A slot that is not named has weight 0. With `sticky` a new visitor is assigned by weight and keeps the slot by the
    cookie `slot-APP`; without, every request is assigned anew, by turns over the slots' backends. A single slot with
    a weight ends the weights: it is the active slot then.
    """

    sticky: bool = True

    __pydantic_extra__: dict[str, Weight] = Field(init=False)

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)

    @property
    def weights(self) -> dict[str, int]:
        """Slot -> weight, those of 0 too."""
        return dict(self.__pydantic_extra__)

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError("a slot with a weight of at least 1 is needed")
        return self


class PauseRequest(_Request):
    """Body of `POST /v1/apps/{app}/pause`; it may be absent. Default: as long as a request may wait (`limits.hold`)."""

    seconds: Annotated[PositiveDuration, Field(le=600)] | None = Field(
        default=None, alias="for", description="the pause ends by itself after so long"
    )

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, defer_build=True)


class MaintenanceRequest(_Request):
    """Body of `PUT /v1/apps/{app}/maintenance`. While it is on, requests are answered 503; static files are served."""

    on: bool
    text: Annotated[str, Field(max_length=2000)] | None = Field(
        default=None, description="for the proxy's own page, as plain text"
    )
    page: Annotated[str, Field(max_length=65_536)] | None = Field(
        default=None, description="a whole HTML page instead of the proxy's own"
    )
    retry_after: Annotated[PositiveDuration, Field(le=604_800)] = 60.0


class SwitchReport(_Response):
    """What a switch did. `drained` false means that exchanges were cut at the deadline, or tunnels were left."""

    app: str
    from_slot: str = Field(alias="from")
    to: str
    epoch: int = Field(description="number of switches of this app so far, this one included")
    workers: int
    hold_ms: float = Field(description="longest time that a worker held new requests")
    held: int = Field(description="requests that waited in the gate")
    in_flight: int = Field(description="exchanges on the old slot at the switch")
    barrier_sessions: int = Field(description="sessions that had an exchange on the old slot at the switch")
    drained: bool
    drain_ms: float
    cut: tuple[InflightExchange, ...] = Field((), description="exchanges ended at the drain's deadline")
    tunnels: int = Field(description="tunnels on the old slot at the switch")
    trial: bool = Field(default=False, description="it must be confirmed, or it is undone")
    confirm_by: float | None = Field(default=None, description="until when the trial must be confirmed")
    durable: bool = Field(default=True, description="false: the disk has failed, and with the machine it may be undone")

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)


# --- what is --------------------------------------------------------------------------------------------------


class InflightExchange(_Response):
    """One outstanding exchange."""

    id: str = Field(description="the request id, as in X-Request-Id and the access log")
    slot: str
    method: str
    path: str
    age_ms: float
    bytes: int = Field(description="bytes of the response sent so far")
    client: str
    worker: int
    tunnel: bool = False


class Inflight(_Response):
    """Answer of `GET /v1/apps/{app}/inflight`, oldest first; `truncated` when there were more than are listed."""

    exchanges: tuple[InflightExchange, ...]
    truncated: bool = False


class RecentRequest(_Response):
    """Requests of late that were alike. A query that names a secret is left out of `path`."""

    slot: str
    method: str
    path: str = Field(description="with the query")
    status: int
    count: int = Field(description="of those that were noted: some GETs, and all that failed or were slow")
    slowest_ms: float


class Recent(_Response):
    """Answer of `GET /v1/apps/{app}/recent`, the most frequent first. It holds no header, cookie or body."""

    requests: tuple[RecentRequest, ...]


class BackendStatus(_Response):
    address: str
    health: Health
    since: float = Field(description="when the health last changed")
    last_error: str | None = None
    in_flight: int = 0


class SlotStatus(_Response):
    name: str
    active: bool
    backends: tuple[BackendStatus, ...]
    in_flight: int = Field(description="exchanges outstanding, tunnels included")
    tunnels: int
    requests: int = Field(description="exchanges ended since the proxy started")
    errors_5xx: int = Field(0, description="of these, answers of 500 and above; since the proxy started")
    latency_p99_ms: float | None = Field(
        None, description="99th percentile of the time to answer since the last switch; none without a request"
    )
    static_root: str | None = None
    release: str | None = Field(None, description="what the deployer said runs there")


class Figures(_Response):
    """What a trial's new slot did in the last `seconds`."""

    seconds: float
    requests: int
    errors_5xx: int
    p99_ms: float | None = Field(
        default=None, description="upper bound of the histogram's bucket; none without a request"
    )


class TrialStatus(_Response):
    """A switch that may still be undone."""

    from_slot: str = Field(alias="from", description="where a revert goes")
    to: str
    epoch: int
    started: float
    confirm_by: float | None = Field(default=None, description="none: the guard alone decides")
    guard: Guard | None = None
    figures: Figures | None = None
    reverting: bool = False
    problem: str | None = Field(
        default=None, description="why a revert that is due was not done yet; it is tried again"
    )

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)


class TrialOutcome(_Response):
    """How a trial ended. `replaced`: another switch was asked for meanwhile."""

    from_slot: str = Field(alias="from")
    to: str
    epoch: int
    outcome: Literal["confirmed", "reverted", "replaced"]
    reason: str
    time: float
    figures: Figures | None = None

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)


class MaintenanceStatus(_Response):
    """`page`: whether there is one other than the proxy's own. `retry_after`: seconds."""

    since: float
    text: str | None
    page: bool
    retry_after: int


class AppStatus(_Response):
    name: str
    active: str
    epoch: int
    held: int
    switching: bool = Field(description="a switch is under way that some worker may not know yet")
    draining: str | None = Field(None, description="the slot whose exchanges a switch waits for")
    slots: tuple[SlotStatus, ...]
    release: ReleaseProgress | None = None
    trial: TrialStatus | None = Field(default=None, description="the switch that is not confirmed yet")
    last_trial: TrialOutcome | None = Field(default=None, description="how the last trial ended")
    weights: dict[str, int] | None = Field(default=None, description="none: all requests go to the active slot")
    sticky: bool | None = Field(default=None, description="whether a visitor keeps the slot, while there are weights")
    paused_until: float | None = Field(default=None, description="until then new requests wait")
    maintenance: MaintenanceStatus | None = None

    def slot(self, name: str) -> SlotStatus:
        """The slot of that name; KeyError when the app has none."""
        for slot in self.slots:
            if slot.name == name:
                return slot
        raise KeyError(name)


class WorkerStatus(_Response):
    id: int
    pid: int
    state: Literal["starting", "ready", "draining", "lost"]
    connections: int
    requests: int
    rss_bytes: int
    started: float


class Status(_Response):
    """Answer of `GET /v1/status`."""

    version: str
    pid: int
    started: float
    config: str = Field(description="path of the configuration file")
    listen: tuple[str, ...]
    ready: bool
    not_ready: tuple[str, ...] = Field((), description="why not, one sentence each")
    workers: tuple[WorkerStatus, ...]
    apps: tuple[AppStatus, ...]

    def app(self, name: str) -> AppStatus:
        """The app of that name; KeyError when the proxy has none."""
        for app in self.apps:
            if app.name == name:
                return app
        raise KeyError(name)


# --- what changes it --------------------------------------------------------------------------------------------


class SlotUpdate(_Request):
    """Body of `PUT /v1/apps/{app}/slots/{slot}`; what is absent stays as it is."""

    backends: tuple[BackendAddress, ...] | None = None
    static_root: str | None = None
    release: str | None = None


class ReleaseStep(_Request):
    name: str
    state: Literal["waiting", "running", "done", "failed", "undone", "skipped"]
    seconds: float | None = None
    detail: str | None = None


class ReleaseProgress(_Request):
    """Body of `POST /v1/apps/{app}/releases/current`: the deployer tells how its release is going."""

    release: str
    state: Literal["running", "done", "failed", "undone"]
    started: float
    steps: tuple[ReleaseStep, ...] = ()
    message: str | None = None


class Event(_Response):
    """One server-sent event's data of `GET /v1/events`."""

    time: float
    type: str = Field(description="switch, drain, trial, traffic, health, worker, release or reload")
    app: str | None = None
    message: str


class Alive(_Response):
    """Answer of `GET /healthz`."""

    alive: bool = True


class Ready(_Response):
    """Answer of `GET /readyz` when it is."""

    ready: bool = True


class Done(_Response):
    """Answer of a call that has nothing more to tell."""

    message: str


class Problem(_Response):
    """RFC 9457 problem document: the body of every error answer, as application/problem+json."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
