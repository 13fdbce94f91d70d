"""What supervisor and workers tell each other: orders go to a worker, events come from it. JSON on the link.

A link keeps the order of its messages, and each side works on them one by one; the protocol relies on both.
`epoch` is the number that the switch in question gives to the app. An order or an event of an old epoch is ignored.
`attempt` tells apart several holds for one epoch, as an abandoned hold does not use its epoch up.
Sessions are hashes of the session cookie. Durations are seconds, `*_ms` milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from proxy.errors import LinkError
from proxy.wire import InflightExchange, RecentRequest  # noqa: TC001 - pydantic reads the annotations when it runs


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """`backends`: address -> whether its probe calls it up; None while unknown, which counts as usable."""

    backends: dict[str, bool | None]
    static_root: str | None = None
    release: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spreading:
    """Requests go to several slots, by weight: see proxy.core.spread. `cookies`: slot -> what stands for it."""

    weights: dict[str, int]
    sticky: bool
    cookies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenancePage:
    """What is answered with 503. `page`: HTML, whole; None: the proxy's own page, with `text`. Seconds."""

    page: str | None
    text: str | None
    retry_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whether new requests of the app wait (`pause`: for how many seconds more), are answered with a page, or served.

    No answer. It replaces the one before.
    """

    app: str
    pause: float | None = None
    maintenance: MaintenancePage | None = None
    type: Literal["admission"] = "admission"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSlot:
    """`busy`: session -> number of workers in which it still has an exchange on a slot that it may have to leave.

    `admission` None: new requests are served.
    """

    active: str
    epoch: int
    busy: dict[str, int] = field(default_factory=dict)
    spreading: Spreading | None = None
    admission: Admission | None = None


# --- orders --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The first order: load everything, but accept no connection yet. `apps`: app -> slot -> its state.

    `settings` is the JSON of Settings. The worker answers Prepared, or StartFailed and leaves.
    """

    worker: int
    settings: str
    apps: dict[str, dict[str, SlotState]]
    type: Literal["start"] = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Follows Prepared: accept connections from now on. `apps`: app -> what is active. The worker answers Ready.

    It is an order of its own so that a worker that takes long to load takes part in no switch before it can
    answer at once. From Serve on it gets every Hold.
    """

    apps: dict[str, ActiveSlot]
    type: Literal["serve"] = "serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """New claims wait from now on, each for at most `hold` seconds. The worker answers HoldAck.

    `staying`: the slot that no session has to leave by the coming switch; None: there is none. `to`, `spreading`: what
    the switch will be, for a worker that loses its supervisor before it hears the outcome.
    """

    app: str
    epoch: int
    attempt: int
    hold: float
    staying: str | None = None
    to: str | None = None
    spreading: Spreading | None = None
    type: Literal["hold"] = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHold:
    """The hold is abandoned: held requests go on to the slot that is still active. No answer."""

    app: str
    epoch: int
    attempt: int
    type: Literal["release_hold"] = "release_hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """`to` is active from now on, and held requests go on there. The worker answers SwitchAck.

    A request of a session in `busy` waits until SessionsEnded has brought the session's number to 0. A drain that
    an earlier epoch began is forgotten. `spreading` None: all new requests go to `to`.
    """

    app: str
    epoch: int
    to: str
    busy: dict[str, int] = field(default_factory=dict)
    spreading: Spreading | None = None
    type: Literal["switch"] = "switch"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsEnded:
    """Event: these sessions, called busy by the HoldAck of `epoch`, have no exchange on that slot here any more.

    A worker reports for its epoch and, once it has acknowledged a hold, for the next one too: after Switch only for
    the new one, after ReleaseHold only for the old one.
    Order, sent to all workers, the sender included: one worker less has an exchange of these sessions on the old slot.
    """

    app: str
    epoch: int
    sessions: tuple[str, ...]
    type: Literal["sessions_ended"] = "sessions_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Answer Drained as soon as the slot has no exchange outstanding, tunnels included, and its idle pool is closed."""

    app: str
    epoch: int
    slot: str
    type: Literal["drain"] = "drain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """End the slot's exchanges and tunnels now. The worker answers CutReport, and Drained when they are gone."""

    app: str
    epoch: int
    slot: str
    type: Literal["cut"] = "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthChanged:
    """A probe's verdict. No answer."""

    app: str
    slot: str
    backend: str
    up: bool | None
    type: Literal["health_changed"] = "health_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotChanged:
    """The slot has new backends, files or a new release's name. The worker answers SlotFailed if that can't be."""

    app: str
    slot: str
    state: SlotState
    type: Literal["slot_changed"] = "slot_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Accept what is queued, then no more; end what is outstanding within `grace`; answer Stopped and leave.

    `last`: nobody takes the listeners over, and nothing new comes to them; what is in its handshake still does.
    """

    grace: float
    last: bool = False
    type: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsRequest:
    """The worker answers StatsReply."""

    id: int
    type: Literal["stats_request"] = "stats_request"


@dataclass(frozen=True, slots=True, kw_only=True)
class InflightRequest:
    """The worker answers InflightReply with at most `limit` exchanges, the oldest first."""

    id: int
    app: str
    limit: int
    type: Literal["inflight_request"] = "inflight_request"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """The worker answers SampleReply."""

    id: int
    app: str
    type: Literal["sample_request"] = "sample_request"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseIdle:
    """Close the idle connections to the slot's backends. No answer."""

    app: str
    slot: str
    type: Literal["close_idle"] = "close_idle"


# --- events --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The worker has loaded everything that Start named."""

    pid: int
    type: Literal["prepared"] = "prepared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The worker accepts connections."""

    pid: int
    type: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """A signal has told the worker to stop: it accepts no more, and its listeners need a successor now."""

    pid: int
    type: Literal["leaving"] = "leaving"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFailed:
    """The worker can't serve with these settings, and leaves."""

    message: str
    type: Literal["start_failed"] = "start_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAck:
    """New claims wait. `busy`: sessions with an exchange on a slot that they may have to leave.

    `in_flight` counts all exchanges there, tunnels too.
    """

    app: str
    epoch: int
    attempt: int
    busy: tuple[str, ...] = ()
    in_flight: int = 0
    tunnels: int = 0
    type: Literal["hold_ack"] = "hold_ack"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchAck:
    """No new request goes to the old slot. `held` requests waited; the hold lasted `hold_ms`."""

    app: str
    epoch: int
    held: int
    hold_ms: float
    type: Literal["switch_ack"] = "switch_ack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """The slot has no exchange outstanding in this worker, and no idle connection."""

    app: str
    epoch: int
    slot: str
    type: Literal["drained"] = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutReport:
    """What Cut ended. At most 1,000 exchanges, the oldest first."""

    app: str
    epoch: int
    slot: str
    exchanges: tuple[InflightExchange, ...]
    type: Literal["cut_report"] = "cut_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFailed:
    """The SlotChanged of this slot was not carried out: its backends and files are as before."""

    app: str
    slot: str
    message: str
    type: Literal["slot_failed"] = "slot_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsReply:
    """`snapshot`: see proxy.core.stats."""

    id: int
    snapshot: dict[str, Any]
    type: Literal["stats_reply"] = "stats_reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class InflightReply:
    id: int
    exchanges: tuple[InflightExchange, ...]
    truncated: bool = False
    type: Literal["inflight_reply"] = "inflight_reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleReply:
    """`requests`: see proxy.core.recent."""

    id: int
    requests: tuple[RecentRequest, ...]
    type: Literal["sample_reply"] = "sample_reply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The last event: the worker has nothing outstanding and leaves. `snapshot`: its last counters."""

    snapshot: dict[str, Any]
    type: Literal["stopped"] = "stopped"


Order: TypeAlias = (
    Start
    | Serve
    | Hold
    | ReleaseHold
    | Switch
    | SessionsEnded
    | Drain
    | Cut
    | Admission
    | HealthChanged
    | SlotChanged
    | Stop
    | StatsRequest
    | InflightRequest
    | SampleRequest
    | CloseIdle
)
Event: TypeAlias = (
    Prepared
    | Ready
    | Leaving
    | StartFailed
    | HoldAck
    | SwitchAck
    | SessionsEnded
    | Drained
    | CutReport
    | SlotFailed
    | StatsReply
    | InflightReply
    | SampleReply
    | Stopped
)
Message: TypeAlias = Order | Event

_ORDERS: Final[TypeAdapter[Order]] = TypeAdapter(Annotated[Order, Field(discriminator="type")])
_EVENTS: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def encode(message: Message) -> bytes:
    """JSON, as `decode_order` and `decode_event` read it."""
    return _ORDERS.dump_json(message) if isinstance(message, Order) else _EVENTS.dump_json(message)


def decode_order(payload: bytes) -> Order:
    """Raises LinkError when the payload is no order."""
    try:
        return _ORDERS.validate_json(payload)
    except ValidationError as error:
        raise LinkError(f"not an order: {error.errors(include_url=False)[0]['msg']}") from error


def decode_event(payload: bytes) -> Event:
    """Raises LinkError when the payload is no event."""
    try:
        return _EVENTS.validate_json(payload)
    except ValidationError as error:
        raise LinkError(f"not an event: {error.errors(include_url=False)[0]['msg']}") from error
