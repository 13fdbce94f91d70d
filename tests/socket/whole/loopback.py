"""A proxy on a real loopback socket, with scripted backends and raw clients, all in one uvloop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections import Counter
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from proxy.core import orders
from proxy.net.access_log import AccessLog
from proxy.net.app import App
from proxy.net.downstream import Downstream
from proxy.net.server import Server
from proxy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENCE = 10.0
"""Seconds that a test waits for what must happen: a bound, not an expectation."""


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


GET = head("GET / HTTP/1.1", "Host: shop.test")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with a RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """(head, body as it stands on the wire) of a message with a length, in chunks, or without a body."""
    top = await reader.readuntil(b"\r\n\r\n")
    lowered = top.lower()
    if b"transfer-encoding: chunked" in lowered:
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\r\n")
        return top, body
    at = lowered.find(b"content-length: ")
    size = int(lowered[at + 16 : lowered.index(b"\r\n", at)]) if at >= 0 else 0
    return top, await reader.readexactly(size)


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The well-behaved backend: answers each request with `ok`."""
    while True:
        await read_message(reader)
        writer.write(OK)
        await writer.drain()


class Backend:
    """A listener whose connections follow a script. `accepted` counts them all, `open` those that are."""

    def __init__(self, script: Script = answer_all) -> None:
        self.script = script
        self.accepted = 0
        self.open = 0
        self.address = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Condition()

    def __repr__(self) -> str:
        return f"<Backend {self.address} open={self.open}>"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.script(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.open -= 1
            self._tasks.discard(task)
            async with self._changed:
                self._changed.notify_all()

    async def empty(self) -> None:
        """Returns when no connection is open."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: not self.open)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()


class Client:
    """A raw connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> tuple[bytes, bytes]:
        async with asyncio.timeout(PATIENCE):
            return await read_message(self.reader)

    async def status(self) -> int:
        """The status of the next answer."""
        top, _ = await self.receive()
        return int(top.split(b" ", 2)[1])

    async def rest(self) -> bytes:
        """All until the end. Raises ConnectionResetError when that is a reset."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read(-1)

    async def request(self, data: bytes = GET) -> int:
        await self.send(data)
        return await self.status()

    def reset(self) -> None:
        reset(self.writer)

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Proxy:
    """One worker's server with one app. `slots`: name -> addresses."""

    def __init__(self, directory: Path, slots: Mapping[str, tuple[str, ...]], **settings: Any) -> None:
        loop = asyncio.get_running_loop()
        shop = {"slots": {slot: {"backends": at} for slot, at in slots.items()}}
        self.settings = Settings.model_validate_json(json.dumps({"apps": {"shop": shop}, **settings}))
        self.told: list[orders.Event] = []
        self.log_path = directory / "access.log"
        self._log = AccessLog(str(self.log_path), "json")
        self.app = App(
            "shop",
            self.settings,
            {slot: orders.SlotState(backends=dict.fromkeys(at, True)) for slot, at in slots.items()},
            orders.ActiveSlot(active="production", epoch=0),
            worker=1,
            loop=loop,
            now=monotonic,
            tell=self.told.append,
            log=self._log,
            files={},
        )
        self.server = Server(self.settings, {"shop": self.app}, loop=loop, now=monotonic, log=self._log)
        self.port = 0
        self._epoch = 0
        self._acceptor: asyncio.Server | None = None
        self._clients: list[Client] = []

    def __repr__(self) -> str:
        return f"<Proxy {self.port} {self.server!r}>"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._acceptor = await loop.create_server(lambda: Downstream(self.server), "127.0.0.1", 0, backlog=1024)
        self.port = self._acceptor.sockets[0].getsockname()[1]
        self.server.start_clock()

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        client = Client(*await asyncio.open_connection(sock=sock, limit=1 << 16))
        self._clients.append(client)
        return client

    def hold_and_switch(self, to: str) -> None:
        """What the supervisor orders, in one go."""
        self._epoch += 1
        self.app.hold(orders.Hold(app="shop", epoch=self._epoch, attempt=1, hold=5.0))
        self.app.switch(orders.Switch(app="shop", epoch=self._epoch, to=to))

    def drain(self, slot: str) -> None:
        self.app.drain(orders.Drain(app="shop", epoch=self._epoch, slot=slot))

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def in_flight(self) -> int:
        return sum(len(slot.outstanding) for slot in self.app.gate.slots.values())

    async def finish(self) -> Counter[int]:
        """Ends all clients and checks that nothing is left; returns the logged statuses."""
        assert self._acceptor is not None
        for client in self._clients:
            await client.close()
        self._acceptor.close()
        await self._acceptor.wait_closed()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.server.empty()
            assert self.in_flight == 0
            assert self.app.gate.held == 0
            for slot in self.app.slots.values():
                for backend, pool in slot.pools.items():
                    assert backend.in_flight == 0
                    pool.close_idle()
        finally:
            self.server.abort()
            self._log.close()
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines()]
        snapshot = self.server.snapshot()
        slots = snapshot["apps"]["shop"]["slots"].values()
        counted = sum(snapshot["own"].values()) + sum(slot["requests"] for slot in slots)
        assert snapshot["requests"] == counted == len(lines)
        return Counter(line["status"] for line in lines)


def open_sockets() -> int:
    """Sockets of this process."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
    return count


class Wired:
    """Starts backends and one proxy, and ends them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._statuses: Counter[int] | None = None
        self.backends: list[Backend] = []
        self.proxy: Proxy | None = None

    async def backend(self, script: Script = answer_all) -> Backend:
        backend = Backend(script)
        await backend.start()
        self.backends.append(backend)
        return backend

    async def site(self, *production: Backend | str, temp: Backend | None = None, **settings: Any) -> Proxy:
        """A proxy with these backends in the slot `production`; a string is an address."""
        slots = {"production": tuple(at if isinstance(at, str) else at.address for at in production)}
        if temp is not None:
            slots["temp"] = (temp.address,)
        self.proxy = Proxy(self._directory, slots, **settings)
        await self.proxy.start()
        return self.proxy

    async def proxy_to(self, script: Script = answer_all, **settings: Any) -> Proxy:
        """A proxy with one backend that follows the script."""
        return await self.site(await self.backend(script), **settings)

    async def finish(self) -> Counter[int]:
        """Ends everything; returns the logged statuses."""
        if self._statuses is not None:
            return self._statuses
        self._statuses = Counter()
        try:
            if self.proxy is not None:
                self._statuses = await self.proxy.finish()
            for backend in self.backends:
                await backend.empty()
        finally:
            for backend in self.backends:
                await backend.stop()
        return self._statuses
