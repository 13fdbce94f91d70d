"""Who waits for an answer of the admin API. In an upgrade they keep their connections, and the successor answers."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from proxy.control.handover import CallerPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

ANSWER_SECONDS: Final = 10.0
_STREAMS: Final = frozenset({"/v1/events"})
"""Who reads a stream asks again, and says what it has seen."""


class Callers:
    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[object], web.Request] = {}

    @contextmanager
    def calling(self, request: web.Request) -> Iterator[None]:
        """While the request is being answered."""
        task = asyncio.current_task()
        assert task is not None
        self._calls[task] = request
        try:
            yield
        finally:
            del self._calls[task]

    def unsettled(self, switch_of: Callable[[asyncio.Task[object]], str | None]) -> str | None:
        """A call that can't be answered by a successor; None: there is none. The current task's own doesn't count.

        `switch_of`: the app whose switch's report a call awaits, if it does.
        """
        own = asyncio.current_task()
        for task, request in self._calls.items():
            if task is not own and request.path not in _STREAMS and switch_of(task) is None:
                return f"{request.method} {request.path} is being answered"
        return None

    def hand_over(self, switch_of: Callable[[asyncio.Task[object]], str | None]) -> list[CallerPart]:
        """Only while not `unsettled`."""
        own = asyncio.current_task()
        parts = []
        for task, request in self._calls.items():
            app = switch_of(task)
            transport = request.transport
            if transport is not None and (task is own or app is not None):
                descriptor = transport.get_extra_info("socket").fileno()
                parts.append(CallerPart(descriptor=descriptor, app=app))
        return parts

    def __repr__(self) -> str:
        return f"<Callers {[request.path for request in self._calls.values()]}>"


async def answer(descriptor: int, status: int, reason: str, media_type: str, body: bytes) -> None:
    """Answers a call that was handed over, and closes its connection. Raises OSError when the caller has gone."""
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    with socket.socket(fileno=descriptor) as connection:
        connection.setblocking(False)
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.get_running_loop().sock_sendall(connection, head.encode() + body)
