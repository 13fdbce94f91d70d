"""What happened, for whoever listens: the log, and the subscribers of the admin API's event stream."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from proxy.control.handover import EventsPart
from proxy.wire import Event

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT: Final = 256
MAX_UNREAD: Final = 1000


class Subscription:
    """One listener's queue of (number, event). One that does not read loses the subscription: `next` says None."""

    def __init__(self, bus: EventBus, past: list[tuple[int, Event]]) -> None:
        self._bus = bus
        self._queue: deque[tuple[int, Event]] = deque(past)
        self._closed = False
        self._wake = asyncio.Event()

    async def next(self) -> tuple[int, Event] | None:
        """The next event and its number; None when there will be no more."""
        while not self._queue:
            if self._closed:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self._queue.popleft()

    def offer(self, number: int, event: Event) -> None:
        """A further event. When too many are unread, the subscription ends."""
        if len(self._queue) >= MAX_UNREAD:
            self._queue.clear()
            self.close()
            return
        self._queue.append((number, event))
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._bus.forget(self)

    def __repr__(self) -> str:
        return f"<Subscription unread={len(self._queue)}{' closed' if self._closed else ''}>"


class EventBus:
    """Keeps the last events, so that a listener that comes back misses nothing short of that."""

    def __init__(self, clock: Callable[[], float], log: Callable[[Event], None]) -> None:
        self._clock = clock
        self._log = log
        self._number = 0
        self._past: deque[tuple[int, Event]] = deque(maxlen=KEPT)
        self._subscriptions: list[Subscription] = []

    def publish(self, kind: str, message: str, app: str | None = None) -> None:
        """`kind`: see wire.Event.type."""
        self._number += 1
        event = Event(time=self._clock(), type=kind, app=app, message=message)
        self._past.append((self._number, event))
        self._log(event)
        for subscription in list(self._subscriptions):
            subscription.offer(self._number, event)

    def hand_over(self) -> EventsPart:
        return EventsPart(number=self._number, past=list(self._past))

    def take_over(self, part: EventsPart) -> None:
        self._number = part.number
        self._past.extend(part.past)

    def subscribe(self, after: int | None = None) -> Subscription:
        """`after`: the number of the last event that the listener has; None: only what is new."""
        past = [] if after is None else [(number, event) for number, event in self._past if number > after]
        subscription = Subscription(self, past)
        self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """Ends all subscriptions."""
        for subscription in list(self._subscriptions):
            subscription.close()

    def __repr__(self) -> str:
        return f"<EventBus events={self._number} subscriptions={len(self._subscriptions)}>"
