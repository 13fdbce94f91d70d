"""New clients do not wait for one turn of the event loop each."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import uvloop

from proxy.net.accepting import ACCEPTS_A_TURN, accept_on

CLIENTS = 10 * ACCEPTS_A_TURN


class Counting(asyncio.Protocol):
    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counting.made += 1
        transport.close()


async def accept_all() -> tuple[int, int]:
    """(turns of the loop, clients accepted) when CLIENTS are waiting."""
    Counting.made = 0
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CLIENTS))
        for _ in range(CLIENTS):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        acceptors = await accept_on(listener, Counting, CLIENTS)
        turns = 0
        while Counting.made < CLIENTS and turns < 10 * CLIENTS:
            await asyncio.sleep(0)
            turns += 1
        for acceptor in acceptors:
            acceptor.close()
        await asyncio.sleep(0)
        return turns, Counting.made


def test_several_clients_are_accepted_in_one_turn() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        turns, made = runner.run(accept_all())
    assert made == CLIENTS
    assert turns <= 2 * CLIENTS / ACCEPTS_A_TURN


async def listening_after_the_end() -> bool:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for acceptor in await accept_on(listener, Counting, 16):
            acceptor.close()
        await asyncio.sleep(0)
        with socket.create_connection(listener.getsockname()):
            listener.settimeout(5)
            end, _ = listener.accept()
            end.close()
            return True


def test_the_listener_stays_open() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(listening_after_the_end())
