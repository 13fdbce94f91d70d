"""10,000 idle connections of one worker of a real proxy: what they cost it, and what they cost other clients."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.proxy_process import Backend, Load, ProxyProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTIONS = 10_000
DESCRIPTORS = CONNECTIONS + 1000
BOUND = 4096
"""Bytes of a worker's memory for an idle connection, whatever it has asked before."""
GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
LARGE = GET[:-2] + b"X-Large: " + b"x" * 30_000 + b"\r\n\r\n"
MORE = 100
BATCH = 100


@pytest.fixture
def descriptors() -> None:
    """This process and the worker hold an end of each connection, and each has the limit for itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS:
        pytest.skip(f"the hard limit of open files is {hard}; {DESCRIPTORS} are needed")
    if soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


@pytest.fixture
async def proxy(descriptors: None, tmp_path: Path) -> AsyncIterator[ProxyProcess]:
    backend = await Backend("production").start()
    proxy = ProxyProcess(tmp_path, {"production": backend})
    proxy.configure(workers=1, limits={"connections": CONNECTIONS})
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()
        await backend.stop()


class Clients:
    """Connections in the order of their opening."""

    def __init__(self, port: int, stack: ExitStack) -> None:
        self.sockets: list[socket.socket] = []
        self._port = port
        self._stack = stack

    async def open(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            client = self._stack.enter_context(socket.socket())
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", self._port))
            self.sockets.append(client)

    async def ask(self, client: socket.socket, request: bytes = GET) -> bytes:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, request)
        async with asyncio.timeout(30):
            answer = await loop.sock_recv(client, 65536)
        assert answer.endswith(b"\r\n\r\nproduction")
        return answer

    async def ask_all(self, requests: list[tuple[socket.socket, bytes]]) -> None:
        for start in range(0, len(requests), BATCH):
            await asyncio.gather(*(self.ask(*request) for request in requests[start : start + BATCH]))

    async def is_closed(self, client: socket.socket) -> bool:
        """Whether the proxy has closed it, as told within a moment."""
        try:
            async with asyncio.timeout(0.5):
                return await asyncio.get_running_loop().sock_recv(client, 1) == b""
        except TimeoutError:
            return False


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.timeout(300)
async def test_ten_thousand_idle_connections(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    (worker,) = proxy.worker_pids(proxy.process.pid)
    with ExitStack() as stack:
        clients = Clients(proxy.port, stack)
        async with Load(proxy.port, clients=2) as load:
            await load.more(100)
            before = resident_bytes(worker)
            await clients.open(CONNECTIONS - MORE)
            numbered = list(enumerate(clients.sockets))
            await clients.ask_all(
                [(client, LARGE if number % 10 == 1 else GET) for number, client in numbered if number % 10]
            )
            await load.more(100)
            assert (resident_bytes(worker) - before) / len(clients.sockets) < BOUND
            status = await proxy.status()
            assert status.workers[0].connections >= CONNECTIONS - MORE

            oldest = [client for number, client in numbered if number % 10 == 0]
            await clients.open(2 * MORE)
            await load.more(100)
            assert [await clients.is_closed(client) for client in oldest[:10]] == [True] * 10
            used_last = clients.sockets[CONNECTIONS - 2 * MORE + 1 : CONNECTIONS - MORE : 10]
            await clients.ask_all([(client, GET) for client in used_last + clients.sockets[-MORE:]])
            assert (await proxy.status()).workers[0].connections <= CONNECTIONS
        assert load.failures == []
