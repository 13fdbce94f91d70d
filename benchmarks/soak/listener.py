"""A backend's port: it listens, refuses, or ends each new connection; and when it does which."""

from __future__ import annotations

import asyncio
import socket
import struct
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from benchmarks.soak.backend_log import watch
from proxy.net.syn_filter import drop_new_connections

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from benchmarks.soak.backend_log import Log

BACKLOG: Final = 1024
BOTH_IN: Final = 8
"""One window in so many is of both backends of a slot."""
EMPTY_SECONDS: Final = 1.0
_QUEUED_OFFSET: Final = 24
"""Of tcpi_unacked in struct tcp_info (linux/tcp.h): of a listening socket, how many wait to be accepted."""


class Listener:
    """One backend: a port that listens, refuses, or ends each new connection.

    `serve` serves a connection of the port; OSError and IncompleteReadError are the proxy's end of it.
    """

    def __init__(
        self,
        port: int,
        log: Log,
        serve: Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> None:
        self.port = port
        self._log = log
        self._serve = serve
        self._slams = False
        self._slammed = 0
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None

    def __repr__(self) -> str:
        state = "refuses" if self._server is None else "ends connections" if self._slams else "serves"
        return f"<Listener {self.port} {state}>"

    async def open(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)
        self._server = await asyncio.start_server(self._accepted, sock=self._socket, backlog=BACKLOG)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._slams:
                await self._slam(reader, writer)
            else:
                await self._serve(self.port, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except RuntimeError:
            if not writer.is_closing():  # uvloop's answer to a write after the proxy has gone
                raise
        finally:
            writer.close()

    async def _slam(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ends a new connection: in turn at once, and with a reset when the request has come."""
        self._slammed += 1
        if self._slammed % 2:
            writer.write_eof()
        await watch(reader, writer, lambda number: self._log.step(number, self.port, "slammed"))

    async def window(self, kind: str, seconds: float) -> None:
        """Refuses ("refuse") or ends ("slam") new connections for so long."""
        start = monotonic_ns()
        if kind == "slam":
            self._slams = True
        else:
            await self.close()
        await asyncio.sleep(seconds)
        self._slams = False
        if self._server is None:
            await self.open()
        self._log.window(kind, self.port, start, monotonic_ns())

    async def close(self) -> None:
        """Refuses from now on. A listener that is closed resets what its queue holds: first that is let run empty."""
        if self._server is None or self._socket is None:
            return
        drop_new_connections(self._socket)
        async with asyncio.timeout(EMPTY_SECONDS):
            while _queued(self._socket):  # noqa: ASYNC110 - the kernel tells nobody when a queue is empty
                await asyncio.sleep(0.002)
        await asyncio.sleep(0)
        self._server.close()
        self._server = self._socket = None


def _queued(listener: socket.socket) -> int:
    """Connections that wait to be accepted."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED_OFFSET + 4)
    return int(struct.unpack_from("=I", info, _QUEUED_OFFSET)[0])


async def trouble(slots: list[list[Listener]], pause: float, chance: random.Random) -> None:
    """Windows for ever, `pause` seconds apart on average: of one backend, or now and then of both of a slot."""
    count = 0
    while True:
        await asyncio.sleep(pause * chance.uniform(0.5, 1.5))
        count += 1
        listeners = chance.choice(slots)
        seconds = chance.uniform(0.2, 0.8)
        if count % BOTH_IN == 0:
            await asyncio.gather(*(listener.window("refuse", seconds) for listener in listeners))
        else:
            await chance.choice(listeners).window(chance.choice(("refuse", "refuse", "slam")), seconds)
