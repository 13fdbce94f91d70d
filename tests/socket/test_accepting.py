"""New clients do not wait for one turn of the event loop each."""

from __future__ import annotations

import asyncio
import resource
import socket
from contextlib import ExitStack

import pytest
import uvloop

from proxy.net import accepting
from proxy.net.accepting import FEW, MANY, Acceptor

CLIENTS = 2 * MANY


class Counting(asyncio.Protocol):
    """Counts its connections."""

    def __init__(self, made: list[asyncio.BaseTransport]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(transport)


class Site:
    """A listener with an acceptor, and clients in its queue."""

    def __init__(self, stack: ExitStack, *, clients: int) -> None:
        self._stack = stack
        self.made: list[asyncio.BaseTransport] = []
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CLIENTS))
        for _ in range(clients):
            self.connect()
        self.acceptor = Acceptor(self.listener, lambda: Counting(self.made), asyncio.get_running_loop())
        stack.callback(self.acceptor.close)

    def connect(self) -> None:
        self._stack.enter_context(socket.create_connection(self.listener.getsockname()))

    async def turns_until(self, made: int, *, most: int = 1000) -> list[int]:
        """How many clients had been accepted after each turn of the loop."""
        counts = []
        while len(self.made) < made and len(counts) < most:
            await asyncio.sleep(0)
            counts.append(len(self.made))
        return counts

    async def close(self) -> None:
        for transport in self.made:
            transport.close()
        await asyncio.sleep(0)


@pytest.fixture
def runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def test_more_are_accepted_in_each_turn_while_many_wait(runner: asyncio.Runner) -> None:
    async def turns() -> list[int]:
        with ExitStack() as stack:
            site = Site(stack, clients=CLIENTS)
            site.acceptor.start(CLIENTS)
            counts = await site.turns_until(CLIENTS)
            await site.close()
            return counts

    with runner:
        counts = runner.run(turns())
    assert counts[-1] == CLIENTS
    assert FEW in counts
    assert 3 * FEW in counts
    assert len(counts) < 20


def test_a_lone_burst_is_not_taken_at_once(runner: asyncio.Runner) -> None:
    """Processes that share a listener each get some of it."""

    async def taken() -> int:
        with ExitStack() as stack:
            site = Site(stack, clients=FEW + 1)
            site.acceptor.start(CLIENTS)
            first = next(count for count in await site.turns_until(1) if count)
            await site.turns_until(FEW + 1)
            await site.close()
            return first

    with runner:
        assert runner.run(taken()) == FEW


def test_the_queue_is_emptied_at_the_end_and_the_listener_stays_open(runner: asyncio.Runner) -> None:
    async def accepted_and_left() -> tuple[int, int]:
        with ExitStack() as stack:
            site = Site(stack, clients=0)
            site.acceptor.start(CLIENTS)
            site.acceptor.close()
            for _ in range(2 * FEW):
                site.connect()
            await asyncio.sleep(0.01)
            before = len(site.made)
            site.acceptor.accept_queued(CLIENTS)
            await site.acceptor.settled()
            await site.close()
            return before, len(site.made)

    with runner:
        assert runner.run(accepted_and_left()) == (0, 2 * FEW)


class Scarce:
    """A listener that counts how often it was asked for a client."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.asked = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._listener, name)

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        return self._listener.accept()


def test_without_descriptors_it_waits_and_tries_again(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "RETRY_SECONDS", 0.1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def asked_meanwhile() -> int:
        with ExitStack() as stack:
            site = Site(stack, clients=1)
            scarce = Scarce(site.listener)
            acceptor = Acceptor(scarce, lambda: Counting(site.made), asyncio.get_running_loop())  # type: ignore[arg-type]
            acceptor.start(CLIENTS)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            try:
                await asyncio.sleep(0.35)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            asked = scarce.asked
            assert not site.made
            await asyncio.sleep(0.2)
            assert len(site.made) == 1
            acceptor.close()
            await site.close()
            return asked

    with runner:
        assert 2 <= runner.run(asked_meanwhile()) <= 4
