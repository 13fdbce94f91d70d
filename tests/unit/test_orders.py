"""Orders and events survive the link; what is neither is refused."""

from __future__ import annotations

from typing import get_args

import pytest

from proxy.core import orders
from proxy.errors import LinkError
from proxy.wire import InflightExchange, RecentRequest

EXCHANGE = InflightExchange(
    id="r1", slot="temp", method="GET", path="/a?b", age_ms=1.5, bytes=7, client="127.0.0.1", worker=0
)
SLOT = orders.SlotState(backends={"127.0.0.1:1": True, "127.0.0.1:2": None}, static_root="a", release=None)
SPREADING = orders.Spreading(weights={"production": 90, "temp": 10}, sticky=True, cookies={"temp": "temp.1a"})
ORDERS: list[orders.Order] = [
    orders.Start(
        worker=1,
        settings="{}",
        apps={"shop": {"temp": SLOT}},
    ),
    orders.Serve(
        apps={
            "shop": orders.ActiveSlot(
                active="temp", epoch=4, busy={"ab": 2}, spreading=SPREADING, admission=orders.Admission(app="shop")
            )
        }
    ),
    orders.Hold(app="shop", epoch=5, attempt=9, hold=5.0, staying="temp"),
    orders.ReleaseHold(app="shop", epoch=5, attempt=9),
    orders.Switch(app="shop", epoch=5, to="temp", busy={"ab": 1}, spreading=SPREADING),
    orders.SessionsEnded(app="shop", epoch=5, sessions=("ab",)),
    orders.Drain(app="shop", epoch=5, slot="production"),
    orders.Cut(app="shop", epoch=5, slot="production"),
    orders.Admission(app="shop", pause=2.5, maintenance=orders.MaintenancePage(page=None, text="soon", retry_after=60)),
    orders.HealthChanged(app="shop", slot="temp", backend="127.0.0.1:1", up=None),
    orders.SlotChanged(app="shop", slot="temp", state=SLOT),
    orders.Stop(grace=3.0),
    orders.StatsRequest(id=1),
    orders.InflightRequest(id=2, app="shop", limit=10),
    orders.SampleRequest(id=3, app="shop"),
    orders.CloseIdle(app="shop", slot="temp"),
]
EVENTS: list[orders.Event] = [
    orders.Prepared(pid=7),
    orders.Ready(pid=7),
    orders.Leaving(pid=7),
    orders.StartFailed(message="no"),
    orders.HoldAck(app="shop", epoch=5, attempt=9, busy=("ab",), in_flight=2, tunnels=1),
    orders.SwitchAck(app="shop", epoch=5, held=3, hold_ms=0.7),
    orders.SessionsEnded(app="shop", epoch=5, sessions=("ab",)),
    orders.Drained(app="shop", epoch=5, slot="production"),
    orders.CutReport(app="shop", epoch=5, slot="production", exchanges=(EXCHANGE,)),
    orders.StatsReply(id=1, snapshot={"apps": {"shop": {"held": 1}}}),
    orders.InflightReply(id=2, exchanges=(EXCHANGE,), truncated=True),
    orders.SampleReply(
        id=3,
        requests=(RecentRequest(slot="temp", method="GET", path="/a?b", status=200, count=2, slowest_ms=1.5),),
    ),
    orders.SlotFailed(app="shop", slot="temp", message="no files"),
    orders.Stopped(snapshot={"requests": 3}),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.type)
def test_orders_survive_the_link(order: orders.Order) -> None:
    assert orders.decode_order(orders.encode(order)) == order


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_events_survive_the_link(event: orders.Event) -> None:
    assert orders.decode_event(orders.encode(event)) == event


def test_every_kind_is_tried() -> None:
    assert {type(order) for order in ORDERS} == set(get_args(orders.Order))
    assert {type(event) for event in EVENTS} == set(get_args(orders.Event))


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"type": "no"}', b'{"type": "hold", "app": 1}', b"\xff"])
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(LinkError):
        orders.decode_order(payload)
    with pytest.raises(LinkError):
        orders.decode_event(payload)
