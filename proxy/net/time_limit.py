"""A time limit that counts nothing against the other side that was this process's own fault."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECOND_LOOK: Final = 0.1
"""Seconds in which what came in time is read, when the time is up."""
TURNS: Final = 6
"""Turns of the event loop that it may take from there to who waits for it: uvloop makes a connection in three."""


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """As asyncio.timeout: raises TimeoutError, SECOND_LOOK and TURNS after `seconds`.

    libuv runs timers before it reads sockets. A process that a busy machine gave no time for so long would call late
    what has been waiting for it, and so would one whose turns of the loop are long.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        end = _End(loop, limit)
        end.handle = loop.call_later(seconds, end.first_look)
        try:
            yield
        finally:
            end.handle.cancel()


class _End:
    """What comes when the time is up. `handle` is the next step's."""

    __slots__ = ("_limit", "_loop", "handle")

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout) -> None:
        self._loop = loop
        self._limit = limit
        self.handle: asyncio.Handle

    def first_look(self) -> None:
        self.handle = self._loop.call_later(SECOND_LOOK, self.look, TURNS)

    def look(self, turns: int) -> None:
        if turns:
            self.handle = self._loop.call_soon(self.look, turns - 1)
        else:
            self._limit.reschedule(self._loop.time())
