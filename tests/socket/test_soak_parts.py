"""The soak's client and backends on real sockets: what they note is what happened."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from benchmarks.soak.asked import Asked, content
from benchmarks.soak.backend import Connection
from benchmarks.soak.backend_log import Log
from benchmarks.soak.client import End, connect, read_answer
from benchmarks.soak.listener import Listener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from benchmarks.soak.client import Wire


class Backend:
    """One backend of the soak, and what it has noted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        log = Log(str(path))

        async def serve(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await Connection(port, log, reader, writer).serve()

        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.listener = Listener(port, log, serve)

    def __repr__(self) -> str:
        return f"<Backend {self.listener!r} {self.steps()}>"

    async def ask(self, what: Asked, *, body: bytes = b"") -> Wire:
        wire = await connect(self.listener.port)
        send(wire, what, body)
        return wire

    def steps(self) -> list[tuple[int, str]]:
        """(request, step) of all requests."""
        lines = [line.split() for line in self._path.read_text().splitlines() if line.startswith("E ")]
        return [(int(line[1]), line[3]) for line in lines]

    async def until(self, number: int, step: str) -> None:
        async with asyncio.timeout(10):
            while (number, step) not in self.steps():  # noqa: ASYNC110 - the file is all there is to wait for
                await asyncio.sleep(0.005)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    one = Backend(tmp_path / "backend.log")
    await one.listener.open()
    yield one
    await one.listener.close()


def send(wire: Wire, what: Asked, body: bytes = b"") -> None:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    method = "POST" if body else "GET"
    wire.write(f"{method} {what.target} HTTP/1.1\r\nHost: a\r\nX-Request-Id: id\r\n{length}\r\n".encode() + body)


async def test_a_request_on_a_kept_connection_that_has_ended_is_noted_and_reset(backend: Backend) -> None:
    wire = await backend.ask(Asked(1, "stale", 10))
    assert (await read_answer(wire, "GET")).close is False
    async with asyncio.timeout(10):
        while not wire.ended:
            await wire.more()
    send(wire, Asked(2, "sized", 10))
    await backend.until(2, "missed")
    assert backend.steps() == [(1, "arrived"), (1, "whole"), (2, "missed")]
    wire.close()


async def test_a_request_in_the_time_before_the_end_is_noted_as_missed_too(backend: Backend) -> None:
    wire = await backend.ask(Asked(1, "stale", 10))
    send(wire, Asked(2, "sized", 10))
    assert (await read_answer(wire, "GET")).status == 200
    assert (await read_answer(wire, "GET")).end is End.NONE
    assert (2, "missed") in backend.steps()
    wire.close()


async def test_an_early_answer_is_whole_however_late_the_upload_comes(backend: Backend) -> None:
    what = Asked(1, "early", 100_000, 300_000)
    wire = await connect(backend.listener.port)
    body = content(1, what.upload)
    wire.write(f"POST {what.target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    answer = await read_answer(wire, "POST")
    assert (answer.end, answer.body) == (End.WHOLE, content(1, what.size))
    await wire.write_all(body)
    await asyncio.sleep(0.05)
    assert not wire.reset
    wire.close()


@pytest.mark.parametrize("turn", [1, 2])
async def test_a_request_on_a_new_connection_that_is_ended_is_noted(backend: Backend, turn: int) -> None:
    window = asyncio.create_task(backend.listener.window("slam", 0.5))
    await asyncio.sleep(0)
    for number in range(1, turn + 1):
        wire = await backend.ask(Asked(number, "sized", 10))
        assert (await read_answer(wire, "GET")).end is End.NONE
        wire.close()
    await window
    assert backend.steps() == [(number, "slammed") for number in range(1, turn + 1)]


async def test_who_was_in_the_queue_of_a_port_that_begins_to_refuse_is_served(backend: Backend) -> None:
    with socket.create_connection(("127.0.0.1", backend.listener.port)) as queued:
        queued.setblocking(False)
        window = asyncio.create_task(backend.listener.window("refuse", 0.2))
        async with asyncio.timeout(10):
            while "refuses" not in repr(backend.listener):  # noqa: ASYNC110 - it says so nowhere else
                await asyncio.sleep(0.001)
            with pytest.raises(ConnectionRefusedError):
                await connect(backend.listener.port)
            queued.send(b"GET /soak/1/sized/10/0 HTTP/1.1\r\nHost: a\r\n\r\n")
            loop = asyncio.get_running_loop()
            assert (await loop.sock_recv(queued, 1000)).endswith(content(1, 10))
        await window


async def test_the_client_keeps_what_had_come_when_it_can_write_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = await connect(listener.getsockname()[1])
        peer, _ = listener.accept()
        wire.stall()
        wire.write(b"x" * 1000)
        await asyncio.sleep(0.02)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        peer.close()  # with bytes unread: that is a reset
        async with asyncio.timeout(10):
            while not wire.ended:
                wire.write(b"x")
                await asyncio.sleep(0.005)
        answer = await read_answer(wire, "POST")
    assert (answer.end, answer.body) == (End.WHOLE, b"hello")
