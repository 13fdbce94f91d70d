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
    waiting: asyncio.Handle
    async with asyncio.timeout(None) as limit:

        def look(turns: int) -> None:
            nonlocal waiting
            if turns:
                waiting = loop.call_soon(look, turns - 1)
            else:
                limit.reschedule(loop.time())

        waiting = loop.call_later(seconds + SECOND_LOOK, look, TURNS)
        try:
            yield
        finally:
            waiting.cancel()
