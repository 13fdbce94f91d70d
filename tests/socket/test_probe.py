"""Probes over real sockets: what counts as a success, and what is said of a failure."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from proxy.address import Endpoint
from proxy.control.prober import Prober
from proxy.net.health import probe
from proxy.settings import HealthSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.core.health import BackendHealth


class Server:
    """Answers each connection with `answer`, or, when that is None, not at all."""

    def __init__(self) -> None:
        self.answer: bytes | None = b"HTTP/1.1 200 OK\r\n\r\n"
        self.heads: list[bytes] = []
        self.endpoint = Endpoint("127.0.0.1", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.endpoint = Endpoint("127.0.0.1", listening.sockets[0].getsockname()[1])
    yield server
    listening.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"HTTP/1.0 302 Found\r\n\r\n", None),
        (b"HTTP/1.1 204\r\n\r\n", None),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "GET /h answered 503"),
        (b"HTTP/1.1 404 No\r\n\r\n", "GET /h answered 404"),
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-x\r\n", "the answer is not HTTP"),
        (b"x" * 100_000, "the answer is not HTTP"),
        (None, "no answer within 0.2 s"),
    ],
)
async def test_what_counts_as_a_success(server: Server, answer: bytes | None, why: str | None) -> None:
    server.answer = answer
    assert await probe(server.endpoint, "/h", 0.2) == why
    assert server.heads[0].startswith(f"GET /h HTTP/1.1\r\nHost: {server.endpoint}\r\n".encode())


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        why = await probe(Endpoint("127.0.0.1", taken.getsockname()[1]), "/", 1.0)
    assert why is not None
    assert "refused" in why or "connect" in why


async def test_a_prober_tells_changes_and_keeps_what_it_knows(server: Server) -> None:
    changes: asyncio.Queue[tuple[str, str, bool | None]] = asyncio.Queue()

    def changed(slot: str, address: str, health: BackendHealth) -> None:
        changes.put_nowait((slot, address, health.up))

    prober = Prober(lambda: 7.0, changed)
    address = str(server.endpoint)
    settings = HealthSettings(interval=0.05, timeout=1.0, rise=1, fall=2)
    prober.watch(settings, {"temp": [address]})
    assert prober.up("temp", address) is None
    assert await changes.get() == ("temp", address, True)
    server.answer = b"HTTP/1.1 500 No\r\n\r\n"
    assert await changes.get() == ("temp", address, False)
    prober.watch(settings, {"temp": [address, "127.0.0.1:1"], "other": [address]})
    assert prober.up("temp", address) is False
    assert "GET /health answered 500" in (await prober.slot_works("temp") or "")
    server.answer = b"HTTP/1.1 200 OK\r\n\r\n"
    assert await prober.slot_works("temp") is None
    assert prober.up("temp", address) is True
    prober.watch(None, {"temp": [address]})
    assert prober.health("temp", address) is None
    assert await prober.slot_works("temp") is None
    await prober.close()
