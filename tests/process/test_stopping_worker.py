"""A worker that has no time while it is told to stop: what its clients sent meanwhile is answered.

The process is held still (SIGSTOP), as a busy machine may hold it, so that all that came is there at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from lone_worker import Supervisor
from proxy_process import PATIENCE

from proxy.core import orders
from proxy.net.server import LAST_REQUEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy_process import Backend

REQUEST = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
STOP = orders.Stop(grace=PATIENCE)


class Client:
    """One connection to the worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connected(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    def ask(self) -> None:
        self._writer.write(REQUEST)

    async def answer(self) -> str:
        """The body, which is the backend's name."""
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return (await self._reader.readexactly(length)).decode()


@pytest.fixture
async def supervisor(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path, backends)
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.end()


@asynccontextmanager
async def held_still(supervisor: Supervisor) -> AsyncIterator[None]:
    """The worker has no time meanwhile."""
    os.kill(supervisor.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(supervisor.pid, signal.SIGCONT)


async def test_who_connects_as_the_stop_comes_is_answered(supervisor: Supervisor) -> None:
    async with held_still(supervisor):
        supervisor.tell(STOP)
        client = await Client.connected(supervisor.port)
        client.ask()
    async with client:
        assert await client.answer() == "production"
    assert await supervisor.ended() == 0


async def test_a_request_on_an_idle_connection_is_answered_however_late_the_worker_gets_to_it(
    supervisor: Supervisor,
) -> None:
    async with await Client.connected(supervisor.port) as client:
        client.ask()
        assert await client.answer() == "production"
        supervisor.tell(STOP)
        for number in range(2):  # The stop begins in the event loop's turn after its order.
            await supervisor.ask(orders.StatsRequest(id=number), orders.StatsReply)
        async with held_still(supervisor):
            client.ask()
            await asyncio.sleep(LAST_REQUEST_SECONDS + 0.5)
        assert await client.answer() == "production"
    assert await supervisor.ended() == 0
