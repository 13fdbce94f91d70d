"""A worker that serves in this process, so that what it does can be counted from inside."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from benchmarks.processes import require_free
from benchmarks.servers import BenchError
from proxy.core import orders
from proxy.net.channel import Channel
from proxy.net.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.settings import Settings

ANSWER_SECONDS = 20.0


class Link:
    """The supervisor's end of a worker's link: sends orders, waits for one kind of answer at a time."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[orders.Event] = asyncio.Queue()
        self._channel: Channel | None = None

    def __repr__(self) -> str:
        return f"<Link {self._channel!r}>"

    async def open(self, end: socket.socket) -> None:
        def received(payload: bytes) -> None:
            self._events.put_nowait(orders.decode_event(payload))

        self._channel = await Channel.open(end, received, lambda error: None)

    async def ask(self, order: orders.Order, answer: type[orders.Event]) -> None:
        """Sends an order and waits for its answer. Raises BenchError when the worker answers something else."""
        assert self._channel is not None
        self._channel.send(orders.encode(order))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                event = await self._events.get()
        except TimeoutError as error:
            raise BenchError(f"the worker did not answer {type(order).__name__}") from error
        if not isinstance(event, answer):
            raise BenchError(f"the worker answered {event!r} to {type(order).__name__}")


def start_order(settings: Settings) -> tuple[orders.Start, orders.Serve]:
    slots = {
        name: {
            slot: orders.SlotState(backends=dict.fromkeys(map(str, choice.backends)))
            for slot, choice in app.slots.items()
        }
        for name, app in settings.apps.items()
    }
    active = {name: orders.ActiveSlot(active=app.active, epoch=0) for name, app in settings.apps.items()}
    return orders.Start(worker=0, settings=settings.model_dump_json(), apps=slots), orders.Serve(apps=active)


@asynccontextmanager
async def worker_here(settings: Settings, port: int) -> AsyncIterator[None]:
    """A worker that serves on this process's own event loop. Raises BenchError when the port is taken."""
    require_free(port)
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    ours, theirs = socket.socketpair()
    worker = Worker(asyncio.get_running_loop(), [listener])
    running = asyncio.create_task(worker.run(theirs))
    link = Link()
    await link.open(ours)
    start, serve = start_order(settings)
    try:
        await link.ask(start, orders.Prepared)
        await link.ask(serve, orders.Ready)
        yield
    finally:
        with suppress(BenchError):
            await link.ask(orders.Stop(grace=1.0), orders.Stopped)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
