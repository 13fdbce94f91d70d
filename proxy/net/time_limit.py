"""A time limit that counts nothing against the other side that was this process's own fault."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECOND_LOOK: Final = 0.1
"""Seconds in which what came in time is read, when the time is up."""


@asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[None]:
    """As asyncio.timeout: raises TimeoutError, SECOND_LOOK after `seconds`.

    libuv runs timers before it reads sockets. A process that a busy machine gave no time for so long would call late
    what has been waiting for it.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds, lambda: limit.reschedule(loop.time() + SECOND_LOOK))
        try:
            yield
        finally:
            timer.cancel()
