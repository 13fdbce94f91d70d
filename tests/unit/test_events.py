"""The event bus: order, replay, and listeners that do not listen."""

from __future__ import annotations

import asyncio

from proxy.control.events import KEPT, MAX_UNREAD, EventBus
from proxy.wire import Event


def make() -> tuple[EventBus, list[Event]]:
    logged: list[Event] = []
    return EventBus(lambda: 7.0, logged.append), logged


async def test_events_reach_the_log_and_every_listener() -> None:
    bus, logged = make()
    bus.publish("worker", "before")
    subscription = bus.subscribe()
    waiting = asyncio.create_task(subscription.next())
    await asyncio.sleep(0)
    bus.publish("switch", "a -> b", "shop")
    assert await waiting == (2, Event(time=7.0, type="switch", app="shop", message="a -> b"))
    assert [event.message for event in logged] == ["before", "a -> b"]


async def test_a_listener_that_comes_back_gets_what_it_missed() -> None:
    bus, _ = make()
    for number in range(KEPT + 10):
        bus.publish("worker", str(number))
    subscription = bus.subscribe(after=KEPT + 7)
    assert [(await subscription.next() or (0,))[0] for _ in range(3)] == [KEPT + 8, KEPT + 9, KEPT + 10]
    all_kept = bus.subscribe(after=0)
    assert (await all_kept.next() or (0,))[0] == 11


async def test_a_listener_that_does_not_read_is_let_go() -> None:
    bus, _ = make()
    subscription = bus.subscribe()
    for number in range(MAX_UNREAD + 1):
        bus.publish("worker", str(number))
    assert await subscription.next() is None
    assert "subscriptions=0" in repr(bus)


async def test_closing_ends_the_waiting() -> None:
    bus, _ = make()
    subscription = bus.subscribe()
    waiting = asyncio.create_task(subscription.next())
    await asyncio.sleep(0)
    bus.close()
    assert await waiting is None
