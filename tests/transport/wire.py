"""A transport that carries scripted bytes, with the manners of uvloop's, and a loop whose time stands still."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STEPS = 8
"""Loop iterations after which everything that needs no time has happened."""


class ScriptedLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own and a scripted `create_connection`."""

    def __init__(self) -> None:
        self.clock = 1000.0
        self.connector: Callable[[Callable[[], Any], str], Awaitable[tuple[Any, Any]]] | None = None
        self.faults: list[str] = []
        super().__init__()
        self.set_exception_handler(lambda _, context: self.faults.append(f"{context['message']}: {context}"))

    def time(self) -> float:
        return self.clock

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        assert self.connector is not None
        return await self.connector(factory, f"{host}:{port}")

    def step(self, times: int = 1) -> None:
        """Runs what is ready; timers too, when the clock has reached them."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()


NO_QUEUE: Final = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
"""A descriptor that knows of no bytes that wait in the kernel."""


class FakeSocket:
    """Notes that SO_LINGER was set, which makes a close a reset."""

    def __init__(self) -> None:
        self.resets = False

    def fileno(self) -> int:
        return NO_QUEUE

    def setsockopt(self, *_: Any) -> None:
        self.resets = True


class Wire(asyncio.Transport):
    """The proxy's end of a connection; the test holds the other.

    Like uvloop's: `pause_writing` comes from within `write`; what is written after `close` is dropped; after
    `write_eof` or `connection_lost` a write raises RuntimeError; a close waits for the buffer; `connection_lost`
    comes in a later turn of the loop.
    """

    def __init__(self, loop: ScriptedLoop, peer: tuple[str, int] | None, here: tuple[str, int]) -> None:
        self.loop = loop
        self.peer = peer
        self.here = here
        self.socket: FakeSocket | None = FakeSocket()
        self.protocol: Any = None
        self.output = bytearray()
        self.unsent = bytearray()
        self.incoming: deque[bytes | None] = deque()
        self.peer_reads = True
        self.peer_gone = False
        self.reading = True
        self.eof_sent = False
        self.closing = False
        self.aborted = False
        self.lost = False
        self.write_paused = False
        self.high = 64 * 1024
        self.most_unsent = 0

    def __repr__(self) -> str:
        return f"<Wire {self.peer} {self.end} unsent={len(self.unsent)}>"

    @property
    def end(self) -> str:
        """How the proxy's side stands."""
        if self.aborted:
            return "reset" if self.socket is not None and self.socket.resets else "aborted"
        if self.closing:
            return "closed"
        return "eof" if self.eof_sent else "open"

    # --- for the protocol ------------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": self.peer, "sockname": self.here, "socket": self.socket}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self.high = high

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        if not self.reading and not self.closing:
            self.reading = True
            self.loop.call_soon(self.deliver)

    def write(self, data: Any) -> None:
        assert isinstance(data, bytes)
        if self.lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        if self.eof_sent:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.closing or not data:
            return
        if self.peer_gone:
            self.loop.call_soon(self.lose, BrokenPipeError(32, "Broken pipe"))
        elif self.peer_reads:
            self.output += data
        else:
            self.unsent += data
            self.most_unsent = max(self.most_unsent, len(self.unsent))
            if len(self.unsent) > self.high and not self.write_paused:
                self.write_paused = True
                self.protocol.pause_writing()

    def write_eof(self) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.eof_sent = True

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unsent:
                self.loop.call_soon(self.lose, None)

    def abort(self) -> None:
        if not self.lost:
            self.closing = self.aborted = True
            self.unsent.clear()
            self.loop.call_soon(self.lose, None)

    # --- for the peer ----------------------------------------------------------------------------------------------

    def deliver(self) -> None:
        """Hands over what has come, as far as the proxy reads."""
        while self.incoming and self.reading and not self.closing:
            data = self.incoming.popleft()
            if data is None:
                if not self.protocol.eof_received():
                    self.close()
            else:
                self.protocol.data_received(data)

    def drain(self, size: int | None = None) -> None:
        """The peer takes `size` of the unsent bytes, or all."""
        size = len(self.unsent) if size is None else size
        self.output += self.unsent[:size]
        del self.unsent[:size]
        if self.write_paused and len(self.unsent) <= self.high // 4:
            self.write_paused = False
            self.protocol.resume_writing()
        if self.closing and not self.unsent:
            self.loop.call_soon(self.lose, None)

    def lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = self.closing = True
            self.protocol.connection_lost(error)
