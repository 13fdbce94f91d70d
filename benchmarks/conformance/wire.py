"""Raw connections on loopback: a client that sends bytes and collects the answer, and the two backends."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from benchmarks.conformance.responses import Response

LOOPBACK: Final = "127.0.0.1"
MOST_BYTES: Final = 4 << 20
ID: Final = re.compile(rb"id-([0-9]{4})-")
PLACE: Final = b"@ID@"
RECORDED: Final = b"X-Recorded: yes"
RECORDED_BODY: Final = b"recorded by the backend"


class Collector(asyncio.Protocol):
    """Keeps what comes on a connection, up to 4 MiB, and whether it has ended."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self.transport: asyncio.Transport | None = None
        self.changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self.data)} B {'ended' if self.ended else 'open'}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > MOST_BYTES and self.transport is not None:
            self.transport.abort()
        self.changed.set()

    def eof_received(self) -> bool:
        self.ended = True
        self.changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.changed.set()

    async def quiet(self, seconds: float) -> None:
        """Returns when the connection has ended, or nothing has come for so long."""
        while not self.ended:
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), seconds)
            except TimeoutError:
                return

    def send(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Collector]:
    """A connection to a server on loopback; aborted at the end. Raises OSError when there is none."""
    _, client = await asyncio.get_running_loop().create_connection(Collector, LOOPBACK, port)
    try:
        yield client
    finally:
        client.close()


@dataclass(slots=True)
class Recorder:
    """A backend that keeps all bytes of every connection, answers once they pause, and then reads on until the end.

    `pause` and `linger` are in seconds: how long nothing comes before it answers, and how long it reads on after that.
    """

    pause: float
    linger: float = 1.0
    connections: list[Collector] = field(default_factory=list)
    open: int = 0

    def __call__(self) -> Collector:
        connection = Collector()
        self.connections.append(connection)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return connection

    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def _serve(self, connection: Collector) -> None:
        while not connection.data and not connection.ended:
            connection.changed.clear()
            await connection.changed.wait()
        await connection.quiet(self.pause)
        connection.send(plain_answer(bytes(connection.data)))
        await connection.quiet(self.linger)
        connection.close()

    async def finish(self, seconds: float) -> None:
        """Waits until every connection that brought bytes has ended, so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def taken(self) -> list[bytes]:
        """The bytes of every connection that brought some; they are forgotten."""
        taken = [bytes(connection.data) for connection in self.connections if connection.data]
        self.connections.clear()
        return taken


def plain_answer(request: bytes) -> bytes:
    """The answer has its mark in a field, and in the body for a client of HTTP/0.9, which gets no fields."""
    length = b"Content-Length: %d\r\n" % len(RECORDED_BODY)
    body = b"" if request.startswith(b"HEAD ") else RECORDED_BODY
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + length + RECORDED + b"\r\n\r\n" + body


class ScriptedBackend(Collector):
    """Answers each request by the attempt's number in it: with the attempt's bytes, or plainly when it is a second."""

    def __init__(self, scripts: Mapping[int, Response]) -> None:
        super().__init__()
        self._scripts = scripts

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        while b"\r\n\r\n" in self.data:
            head, _, rest = bytes(self.data).partition(b"\r\n\r\n")
            self.data = bytearray(rest)
            self._answer(head)

    def eof_received(self) -> bool:
        return False

    def _answer(self, head: bytes) -> None:
        number = ID.search(head)
        if number is None or b"-second" in head:
            name = b"second %b" % number[1] if number else b"ready"
            self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))
            return
        script = self._scripts[int(number[1])]
        self.send(script.data)
        if script.closes and self.transport is not None:
            self.transport.close()


@contextlib.asynccontextmanager
async def listening(port: int, factory: Callable[[], asyncio.Protocol]) -> AsyncIterator[None]:
    """A backend on loopback, closed at the end. Raises OSError when the port is taken."""
    server = await asyncio.get_running_loop().create_server(factory, LOOPBACK, port, backlog=1024)
    try:
        yield
    finally:
        server.close()
