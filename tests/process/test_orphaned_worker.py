"""A real worker whose supervisor dies while it holds requests: the state file tells it how the switch was decided."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from proxy_process import PATIENCE, ROOT, Backend, free_port

from proxy.address import Endpoint
from proxy.config_file import loads
from proxy.control.listeners import Listeners
from proxy.control.state import AppRecord, State, StateStore
from proxy.control.worker_process import COMMAND
from proxy.core import orders
from proxy.net.channel import Channel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BARRIER = 1.5


class Supervisor:
    """As much of one as a worker needs; `die` ends the link, as its death would."""

    def __init__(self, directory: Path, backends: dict[str, Backend]) -> None:
        self.port = free_port()
        self.store = StateStore(str(directory))
        self._events: asyncio.Queue[bytes] = asyncio.Queue()
        self._slots = {
            name: orders.SlotState(backends={f"127.0.0.1:{one.port}": None}) for name, one in backends.items()
        }
        settings = {
            "listen": [f"http://127.0.0.1:{self.port}"],
            "state_dir": str(directory),
            "access_log": {"format": "off"},
            "timeouts": {"barrier": f"{BARRIER}s"},
            "apps": {"shop": {"slots": {name: {"backends": list(one.backends)} for name, one in self._slots.items()}}},
        }
        self._settings = loads(json.dumps(settings))
        self._listeners = Listeners.open([Endpoint("127.0.0.1", self.port)], 1)
        self._process: asyncio.subprocess.Process | None = None
        self._link: Channel | None = None

    async def start(self) -> None:
        self.decide("production", 0)
        ours, theirs = socket.socketpair()
        listeners = [listener.fileno() for listener in self._listeners.at(0)]
        with theirs:
            arguments = ("--channel", str(theirs.fileno()), "--listen", ",".join(map(str, listeners)))
            self._process = await asyncio.create_subprocess_exec(
                *(*COMMAND, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *listeners],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self._link = await Channel.open(ours, self._events.put_nowait, lambda _: None)
        await self.ask(
            orders.Start(worker=1, settings=self._settings.model_dump_json(), apps={"shop": self._slots}),
            orders.Prepared,
        )
        await self.ask(orders.Serve(apps={"shop": orders.ActiveSlot(active="production", epoch=0)}), orders.Ready)

    async def ask(self, order: orders.Order, answer: type[orders.Event]) -> None:
        assert self._link is not None
        self._link.send(orders.encode(order))
        async with asyncio.timeout(PATIENCE):
            assert isinstance(orders.decode_event(await self._events.get()), answer)

    async def hold(self, spreading: orders.Spreading | None = None) -> None:
        hold = orders.Hold(app="shop", epoch=1, attempt=1, hold=60.0, to="temp", spreading=spreading)
        await self.ask(hold, orders.HoldAck)

    def decide(self, active: str, epoch: int) -> None:
        self.store.save(State(apps={"shop": AppRecord(active=active, epoch=epoch)}))

    def die(self) -> None:
        assert self._link is not None
        self._link.close()

    async def end(self) -> None:
        self.die()
        self._listeners.close()
        if self._process is not None:
            self._process.kill()
            await self._process.wait()


@pytest.fixture
async def supervisor(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path, backends)
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.end()


async def get(port: int, cookie: str = "") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        sent = f"Cookie: {cookie}\r\n" if cookie else ""
        writer.write(f"GET / HTTP/1.1\r\nHost: shop\r\n{sent}Connection: close\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return answer.rpartition(b"\r\n\r\n")[2].decode()


async def test_a_switch_that_was_decided_is_made(supervisor: Supervisor) -> None:
    await supervisor.hold()
    waiting = asyncio.create_task(get(supervisor.port))
    in_session = asyncio.create_task(get(supervisor.port, "JSESSIONID=one"))
    done, _ = await asyncio.wait((waiting, in_session), timeout=0.3)
    assert not done
    supervisor.decide("temp", 1)
    died = time.monotonic()
    supervisor.die()
    assert await waiting == "temp"
    assert not in_session.done(), "who still has which session on the old slot can't be told any more"
    assert await in_session == "temp"
    assert time.monotonic() - died >= BARRIER - 0.1
    assert await get(supervisor.port, "JSESSIONID=one") == "temp", "the barrier is over"


async def test_a_switch_that_was_not_decided_is_none(supervisor: Supervisor) -> None:
    await supervisor.hold()
    waiting = [asyncio.create_task(get(supervisor.port, cookie)) for cookie in ("", "JSESSIONID=one")]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    supervisor.die()
    assert await asyncio.gather(*waiting) == ["production", "production"]


async def test_a_state_file_that_can_t_be_read_is_no_decision(supervisor: Supervisor) -> None:
    await supervisor.hold()
    supervisor.store.path.write_text("{")
    supervisor.die()
    assert await get(supervisor.port) == "production"


async def test_without_a_hold_nothing_is_decided_by_the_file(supervisor: Supervisor) -> None:
    supervisor.decide("temp", 1)
    supervisor.die()
    assert await get(supervisor.port) == "production"


async def test_a_change_of_weights_that_was_decided_is_made(supervisor: Supervisor) -> None:
    await supervisor.hold(orders.Spreading(weights={"production": 1, "temp": 1}, sticky=False))
    supervisor.decide("production", 1)
    supervisor.die()
    assert {await get(supervisor.port, "JSESSIONID=one") for _ in range(6)} == {"production", "temp"}
