"""The comparison for sessions: two replicating Tomcats alone, hit in parallel and in turn, with no proxy between.

Tomcat sends the changes of two requests of one session that end together in no certain order, so the other
Tomcat may keep the older value. What is found here is not the proxy's doing, and nothing in front can mend it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from benchmarks.switching.hits import Client, open_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.switching.counting import Hit

SETTLE_SECONDS: Final = 0.5
"""Between two bursts: ten times what a replication takes."""


async def alternate(ports: Sequence[int], clients: int, bursts: int, each: int) -> list[Hit]:
    """One session's hits: bursts of `clients` in parallel, `each` often, now at one port and now at the other."""
    cookie, first = await open_session(ports[0], 0)
    hits = [first]
    for burst in range(bursts):
        await asyncio.sleep(SETTLE_SECONDS)
        port = ports[burst % len(ports)]
        found = [Client(port, 0, number, cookie, each) for number in range(clients)]
        await asyncio.gather(*(client.run(asyncio.Event()) for client in found))
        hits += [hit for client in found for hit in client.hits]
    return hits
