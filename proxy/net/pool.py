"""The connections to one backend: kept ones are used again, and few are made at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from proxy.net.time_limit import time_limit
from proxy.net.upstream import ConnectError, ConnectTimeoutError, GoneError, Upstream

if TYPE_CHECKING:
    from proxy.core.backends import Backend
    from proxy.http1.head import ResponseHead

MAX_CONNECTING: Final = 64
"""Connections that are being made at one time. A backend accepts them one by one from a short queue (Tomcat's
acceptCount is 100), and what overflows that is tried again by TCP only after 1, 3 and 7 seconds (RFC 6298)."""


class CrowdedError(ConnectError):
    """Too many wait for a connection. No fault of the backend's is known: it was not asked for one."""


class Pool:
    """Idle connections are taken last in, first out, so that a lull lets the others age.

    While MAX_CONNECTING are being made, who needs one waits in line for either: a turn to make one, or one that
    another exchange is done with. `connecting` counts the turns.
    """

    __slots__ = (
        "_idle", "_loop", "_retired", "_time", "_waiting", "backend", "connect_timeout", "connecting", "known_heads",
        "max_fields", "max_idle_age",
    )  # fmt: skip

    def __init__(
        self,
        backend: Backend,
        loop: asyncio.AbstractEventLoop,
        now: float,
        *,
        connect_timeout: float,
        max_idle_age: float,
        max_fields: int,
    ) -> None:
        self.backend = backend
        self.max_fields = max_fields
        self.connect_timeout = connect_timeout
        self.max_idle_age = max_idle_age
        self._loop = loop
        self._time = now  # of the last look: near enough for an age
        self.known_heads: dict[bytes, ResponseHead] = {}
        self._idle: dict[Upstream, None] = {}  # an ordered set
        self.connecting = 0
        # Each is told the connection that it gets, or None when it is its turn to make one. An ordered set.
        self._waiting: OrderedDict[asyncio.Future[Upstream | None], None] = OrderedDict()
        self._retired = False

    def __repr__(self) -> str:
        counts = f"idle={self.idle} connecting={self.connecting} waiting={self.waiting}"
        return f"<Pool {self.backend.address} {counts}{' retired' if self._retired else ''}>"

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a connection, or for their turn to make one."""
        return len(self._waiting)

    def take(self) -> Upstream | None:
        """An idle connection that is still open, or None."""
        while self._idle:
            upstream, _ = self._idle.popitem()
            if _usable(upstream):
                return upstream
        return None

    def put(self, upstream: Upstream) -> None:
        """An exchange is done with the connection, which may serve another."""
        if self._waiting and self._pass_on(upstream):
            return
        if self._retired:
            upstream.close()
            return
        upstream.idle_since = self._time
        self._idle[upstream] = None

    def discard(self, upstream: Upstream) -> None:
        """The connection is closed or closing."""
        self._idle.pop(upstream, None)

    async def connect(self, *, fresh: bool = False) -> Upstream:
        """A connection, a new one with `fresh`. Raises ConnectError, or one of its kind.

        The wait for a turn and the making of the connection have `connect_timeout` each.
        """
        kept = None if fresh else self.take()  # one may have become idle since the caller looked
        if kept is not None:
            return kept
        if self.connecting < MAX_CONNECTING:
            self.connecting += 1
        else:
            kept = await self._wait(fresh)
            if kept is not None:
                return kept
        try:
            async with time_limit(self.connect_timeout):
                return await self._make()
        except TimeoutError:
            raise ConnectTimeoutError("the application does not accept connections in time") from None
        except OSError as error:
            raise ConnectError("the application does not accept connections") from error

    async def _wait(self, fresh: bool) -> Upstream | None:
        """A connection that another exchange was done with, or None: it is the caller's turn, which `_make` ends."""
        try:
            async with time_limit(self.connect_timeout):
                kept = await self._turn()
                while kept is not None:
                    if fresh:
                        self.put(kept)
                    elif _usable(kept):
                        return kept
                    kept = await self._turn(first=True)
        except TimeoutError:
            raise CrowdedError("too many requests wait for a connection to the application") from None
        return None

    async def _turn(self, *, first: bool = False) -> Upstream | None:
        """Waits for a connection, or for a turn to make one. `first`: before all who wait."""
        if self.connecting < MAX_CONNECTING:
            self.connecting += 1
            return None
        turn: asyncio.Future[Upstream | None] = self._loop.create_future()
        self._waiting[turn] = None
        if first:
            self._waiting.move_to_end(turn, last=False)
        try:
            return await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if not turn.cancelled():  # its turn had come
                self._give_up(turn.result())
            raise

    async def _make(self) -> Upstream:
        host, _, port = self.backend.address.rpartition(":")
        try:
            _, upstream = await self._loop.create_connection(lambda: Upstream(self), host.strip("[]"), int(port))
        finally:
            self._give_up(None)
        if upstream.transport.is_closing():
            raise GoneError("the application closed the connection at once")
        return upstream

    def _give_up(self, got: Upstream | None) -> None:
        """A turn, or the connection that was got instead, is for whoever is next."""
        if got is not None:
            if not self._pass_on(got):
                got.close()  # while it was on its way, `close_idle` may have passed it over
        elif not self._pass_on(None):
            self.connecting -= 1

    def _pass_on(self, got: Upstream | None) -> bool:
        """Gives it to who has waited longest; False when nobody waits."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(got)
                return True
        return False

    def close_idle(self) -> None:
        """Closes what is idle now. An idle keep-alive connection would make a Tomcat's stop take its whole grace."""
        idle, self._idle = self._idle, {}
        for upstream in idle:
            upstream.close()

    def retire(self) -> None:
        """Closes what is idle, and what becomes idle later."""
        self._retired = True
        self.close_idle()

    def close_aged(self, now: float) -> None:
        """Closes what has been idle for too long: the backend must never be the one to close first."""
        self._time = now
        limit = now - self.max_idle_age
        aged = [upstream for upstream in self._idle if upstream.idle_since < limit]
        for upstream in aged:
            upstream.close()


def _usable(upstream: Upstream) -> bool:
    """Whether a kept connection can serve a request; else it is closed.

    The event loop may not have told yet what has come on it: the backend's end, after which a request that must not be
    sent twice would be lost, or a response too many, which the next request would get for its own.
    """
    if upstream.transport.is_closing():
        return False
    if upstream.unread(0):
        upstream.close()
        return False
    return True
