"""Slow uploads, slow downloads and server-sent events across a switch: each ends where it began, whole, or is named.

WebSockets are in test_websocket_stop.py.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from proxy_process import PATIENCE, ProxyProcess, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PIECE = b"0123456789abcdef" * 64
PIECES = 6


class Slow:
    """/upload answers with its name when all has come; /download sends a piece for each `go`; /events never ends."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.port = 0
        self.uploaded = bytearray()
        self.go = asyncio.Semaphore(0)
        self.asked: list[str] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> Slow:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                target = head.split(" ", 2)[1]
                if target != "/health":
                    self.asked.append(target)
                await self._answer(target, reader, writer)
        self._tasks.discard(task)
        writer.close()

    async def _answer(self, target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if target == "/upload":
            while len(self.uploaded) < len(PIECE) * PIECES:
                self.uploaded += await reader.read(len(PIECE))
        if target == "/download":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES))
            for _ in range(PIECES):
                await self.go.acquire()
                writer.write(PIECE)
        elif target == "/events":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                await self.go.acquire()
                event = b"data: %b\n\n" % self.name
                writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(self.name), self.name))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def ask(cls, port: int, line: str, *fields: str) -> Client:
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write("\r\n".join([line, "Host: shop", *fields, "", ""]).encode())
        return client

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def body(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def close(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@pytest.fixture
async def slots() -> AsyncIterator[dict[str, Slow]]:
    slots = {name: await Slow(name).start() for name in ("production", "temp")}
    yield slots
    for slot in slots.values():
        await slot.stop()


@pytest.fixture
async def site(tmp_path: Path, slots: dict[str, Slow]) -> AsyncIterator[ProxyProcess]:
    proxy = ProxyProcess(tmp_path, slots)  # type: ignore[arg-type]
    proxy.configure(timeouts={"barrier": "200ms"})
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()


async def test_a_slow_upload_ends_where_it_began(site: ProxyProcess, slots: dict[str, Slow]) -> None:
    old = slots["production"]
    client = await Client.ask(site.port, "POST /upload HTTP/1.1", f"Content-Length: {len(PIECE) * PIECES}")
    client.writer.write(PIECE * 2)
    await until(lambda: len(old.uploaded) == len(PIECE) * 2)
    switch = asyncio.create_task(site.switch("temp", drain="60s"))
    await site.until_shop(lambda shop: shop.draining == "production")
    for _ in range(PIECES - 2):
        assert not switch.done()
        assert await site.get() == "temp", "others are served by the new slot meanwhile"
        client.writer.write(PIECE)
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    assert await client.body(len("production")) == b"production"
    status, report = await switch
    assert (status, report["drained"], report["in_flight"], report["cut"]) == (200, True, 1, [])
    assert old.uploaded == PIECE * PIECES
    assert slots["temp"].uploaded == b""
    client.writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
    await client.head()
    assert await client.body(len("temp")) == b"temp", "the same connection goes on to the new slot"
    await client.close()


async def test_a_slow_download_ends_where_it_began(site: ProxyProcess, slots: dict[str, Slow]) -> None:
    old = slots["production"]
    client = await Client.ask(site.port, "GET /download HTTP/1.1")
    await client.head()
    old.go.release()
    assert await client.body(len(PIECE)) == PIECE
    switch = asyncio.create_task(site.switch("temp", drain="60s"))
    await site.until_shop(lambda shop: shop.draining == "production")
    for _ in range(PIECES - 1):
        assert not switch.done()
        old.go.release()
        assert await client.body(len(PIECE)) == PIECE
    status, report = await switch
    assert (status, report["drained"], report["in_flight"], report["cut"]) == (200, True, 1, [])
    assert slots["temp"].asked == []
    await client.close()


async def test_events_go_on_until_the_drain_is_over_and_hold_nobody_up(
    site: ProxyProcess, slots: dict[str, Slow]
) -> None:
    old = slots["production"]
    cookie = "Cookie: JSESSIONID=one"
    client = await Client.ask(site.port, "GET /events HTTP/1.1", cookie)
    assert b"text/event-stream" in await client.head()
    old.go.release()
    async with asyncio.timeout(PATIENCE):
        await client.reader.readuntil(b"data: production\n\n")
    await asyncio.sleep(0.3)  # until it has been streaming for longer than the barrier
    switch = asyncio.create_task(site.switch("temp", drain="3s"))
    await site.until_shop(lambda shop: shop.draining == "production")
    other = await Client.ask(site.port, "GET / HTTP/1.1", cookie)
    await other.head()
    assert await other.body(len("temp")) == b"temp", "the session's other requests do not wait for a stream without end"
    await other.close()
    old.go.release()
    async with asyncio.timeout(PATIENCE):
        await client.reader.readuntil(b"data: production\n\n")
    status, report = await switch
    named = [(one["method"], one["path"], one["slot"]) for one in report["cut"]]
    assert (status, report["drained"], named) == (200, False, [("GET", "/events", "production")])
    assert report["barrier_sessions"] == 0
    rest = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            rest = await client.reader.read()
    assert not rest.endswith(b"0\r\n\r\n"), "its end shows that it is not whole: browsers come again, to the new slot"
    await client.close()
    again = await Client.ask(site.port, "GET /events HTTP/1.1", cookie)
    await again.head()
    slots["temp"].go.release()
    async with asyncio.timeout(PATIENCE):
        await again.reader.readuntil(b"data: temp\n\n")
    await again.close()
