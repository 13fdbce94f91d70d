"""WebSockets across a switch, a reload and a stop of real processes: a close frame (1012), never a bare end."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from proxy_process import PATIENCE, ProxyProcess, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLOSE = b"\x88\x02\x03\xf4"
GONE = b"\x03\xe9"
TEXT = b"\x81\x05hello"
MASKED = b"\x81\x82\x01\x02\x03\x04ab"
SOCKETS = 6


class Echo:
    """Upgrades every request but its probe, and sends back what the client sends. `got`: all that came, by socket."""

    def __init__(self) -> None:
        self.port = 0
        self.got: list[bytearray] = []
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> Echo:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /health"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            got = bytearray()
            self.got.append(got)
            while data := await reader.read(1000):
                got += data
                writer.write(data)
        self._writers.discard(writer)
        writer.close()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        await asyncio.sleep(0)


class Socket:
    """One browser's WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Socket:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        return cls(reader, writer)

    async def echo(self, frame: bytes) -> None:
        """The frame goes there and back."""
        self._writer.write(frame)
        assert await self._reader.readexactly(len(frame)) == frame

    async def rest(self) -> bytes:
        """What comes until the end, which is an orderly one."""
        async with asyncio.timeout(PATIENCE):
            data = await self._reader.read()
        await self.close()
        return data

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    slots = {name: await Echo().start() for name in ("production", "temp")}
    proxy = ProxyProcess(tmp_path, slots)  # type: ignore[arg-type]
    proxy.configure(timeouts={"stop": "90s"})
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()
        for slot in slots.values():
            await slot.stop()


async def open_all(site: ProxyProcess) -> list[Socket]:
    sockets = [await Socket.open(site.port) for _ in range(SOCKETS)]
    for socket in sockets:
        await socket.echo(MASKED)
    return sockets


def closes(site: ProxyProcess, slot: str) -> list[bytes]:
    """How each connection ended for the backend: what came after the client's frame."""
    echo = site.backends[slot]
    assert isinstance(echo, Echo)
    return [bytes(got[len(MASKED) :]) for got in echo.got]


def is_close(frame: bytes) -> bool:
    """A masked close frame with 1001, as from a client that goes away."""
    key = frame[2:6]
    return frame[:2] == b"\x88\x82" and bytes(a ^ b for a, b in zip(frame[6:], key, strict=False)) == b"\x03\xe9"


@pytest.mark.parametrize("how", ["stop", "reload", "signal to the worker"])
async def test_each_is_told_when_its_worker_leaves(site: ProxyProcess, how: str) -> None:
    sockets = await open_all(site)
    assert site.process is not None
    if how == "stop":
        site.process.send_signal(signal.SIGTERM)
    elif how == "reload":
        assert (await site.call("POST", "/v1/reload"))[0] == 200
    else:
        for worker in (await site.status()).workers:
            os.kill(worker.pid, signal.SIGTERM)
    assert [await socket.rest() for socket in sockets] == [CLOSE] * SOCKETS
    await until(lambda: all(is_close(frame) for frame in closes(site, "production")))
    if how == "stop":
        async with asyncio.timeout(80):  # within the bound of 90 s: nobody waits for who has been told
            assert await site.process.wait() == 0
    else:
        fresh = await open_all(site)
        site.process.send_signal(signal.SIGTERM)
        assert [await socket.rest() for socket in fresh] == [CLOSE] * SOCKETS


async def test_the_workers_that_a_dead_supervisor_left_tell_them_too(site: ProxyProcess) -> None:
    sockets = await open_all(site)
    assert site.process is not None
    site.process.kill()
    await site.process.wait()
    for socket in sockets:
        await socket.echo(MASKED)
    await site.start()
    assert [await socket.rest() for socket in sockets] == [CLOSE] * SOCKETS


async def test_a_switch_lets_them_be_until_its_drain_is_over(site: ProxyProcess) -> None:
    sockets = await open_all(site)
    switch = asyncio.create_task(site.switch("temp", drain="2s"))
    await site.until_shop(lambda shop: shop.draining == "production")
    for socket in sockets:
        await socket.echo(MASKED)
    fresh = await Socket.open(site.port)
    await fresh.echo(TEXT)
    status, report = await switch
    assert (status, report["drained"], report["tunnels"], len(report["cut"])) == (200, False, SOCKETS, SOCKETS)
    assert [await socket.rest() for socket in sockets] == [CLOSE] * SOCKETS
    await fresh.echo(TEXT)
    await fresh.close()
