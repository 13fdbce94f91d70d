"""A real worker without the rest of a proxy: the test gives the orders, and can hold the process still between two."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from ports import free_port
from proxy_process import PATIENCE, ROOT, Backend

from proxy.address import Endpoint
from proxy.config_file import loads
from proxy.control.listeners import Listeners
from proxy.control.state import AppRecord, State, StateStore
from proxy.control.worker_process import COMMAND
from proxy.core import orders
from proxy.net.channel import Channel

if TYPE_CHECKING:
    from pathlib import Path


class Supervisor:
    """As much of one as a worker needs; `die` ends the link, as its death would. `timeouts`: further settings."""

    def __init__(self, directory: Path, backends: dict[str, Backend], **timeouts: str) -> None:
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
            "timeouts": timeouts,
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

    @property
    def pid(self) -> int:
        """The worker's."""
        assert self._process is not None
        return self._process.pid

    async def ended(self) -> int:
        """The worker's exit code, when it has ended."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    def tell(self, order: orders.Order) -> None:
        assert self._link is not None
        self._link.send(orders.encode(order))

    async def ask(self, order: orders.Order, answer: type[orders.Event]) -> None:
        self.tell(order)
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
            with suppress(ProcessLookupError):  # It has ended by itself.
                self._process.kill()
            await self._process.wait()
