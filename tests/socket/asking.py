"""One who needs a connection to a backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.net.pool import Pool
    from proxy.net.upstream import ConnectError, Upstream


class Asking:
    """Asks at once. `told` has what the pool says."""

    def __init__(self, pool: Pool, *, fresh: bool = False) -> None:
        self.pool = pool
        self.told: asyncio.Future[Upstream] = asyncio.get_running_loop().create_future()
        pool.ask(self, fresh=fresh)
        assert not self.told.done()

    def connected(self, upstream: Upstream) -> None:
        self.told.set_result(upstream)

    def not_connected(self, error: ConnectError) -> None:
        self.told.set_exception(error)

    def leave(self) -> None:
        self.pool.leave(self)
