"""A process that had no time does not take for late what came in time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvloop
from asking import Asking

from proxy.core.backends import Backend
from proxy.net.pool import Pool
from proxy.net.time_limit import SECOND_LOOK, time_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 0.05


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


async def connect(port: int) -> None:
    backend = Backend(f"127.0.0.1:{port}")
    loop = asyncio.get_running_loop()
    pool = Pool(backend, loop, 0.0, connect_timeout=LIMIT, max_idle_age=30, max_fields=100)
    upstream = await Asking(pool).told
    upstream.close()


def test_a_backend_that_accepted_in_time_is_not_called_late(runner: asyncio.Runner) -> None:
    async def stand_still(port: int) -> None:
        # The kernel makes the connection meanwhile.
        asyncio.get_running_loop().call_soon(time.sleep, 4 * LIMIT)
        await connect(port)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner.run(stand_still(listener.getsockname()[1]))


def test_nor_is_it_when_each_turn_of_the_loop_takes_longer(runner: asyncio.Runner) -> None:
    async def turn_slowly(port: int) -> None:
        loop = asyncio.get_running_loop()
        always, end = socket.socketpair()
        with always, end:
            end.send(b"read by nobody")
            loop.add_reader(always, time.sleep, LIMIT + 2 * SECOND_LOOK)
            await connect(port)
            loop.remove_reader(always)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        runner.run(turn_slowly(listener.getsockname()[1]))


def test_after_a_stall_the_other_side_has_time_to_answer(runner: asyncio.Runner) -> None:
    async def ask(port: int) -> bytes:
        async with time_limit(LIMIT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            # It stands still before what it says has left it.
            asyncio.get_running_loop().call_soon(time.sleep, LIMIT + 2 * SECOND_LOOK)
            await asyncio.sleep(0)
            writer.write(b"how are you?")
            answer = await reader.readexactly(4)
            writer.close()
            return answer

    def answer(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.recv(100)
            time.sleep(SECOND_LOOK / 4)
            client.sendall(b"well")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        assert runner.run(ask(listener.getsockname()[1])) == b"well"
        server.join()


def test_what_does_not_come_is_late(runner: asyncio.Runner) -> None:
    async def wait() -> None:
        async with time_limit(LIMIT):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        runner.run(wait())


def test_nothing_is_left_of_a_limit_that_was_kept(runner: asyncio.Runner) -> None:
    async def keep() -> None:
        async with time_limit(LIMIT):
            await asyncio.sleep(0)
        await asyncio.sleep(4 * LIMIT)

    runner.run(keep())
