"""The connections to one backend: kept ones are used again, and few are made at a time."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from proxy.http1.head import KnownHeads
from proxy.net.time_limit import time_limit
from proxy.net.upstream import ConnectError, ConnectTimeoutError, GoneError, Upstream

if TYPE_CHECKING:
    import asyncio

    from proxy.core.backends import Backend

MAX_CONNECTING: Final = 64
"""Connections that are being made at one time. A backend accepts them one by one from a short queue (Tomcat's
acceptCount is 100), and what overflows that is tried again by TCP only after 1, 3 and 7 seconds (RFC 6298)."""


class CrowdedError(ConnectError):
    """Too many wait for a connection. No fault of the backend's is known: it was not asked for one."""


class Applicant(Protocol):
    """Who needs a connection: an exchange. It is told once, and not before `Pool.ask` has returned."""

    def connected(self, upstream: Upstream) -> None: ...

    def not_connected(self, error: ConnectError) -> None: ...


class Pool:
    """Idle connections are taken last in, first out, so that a lull lets the others age.

    While MAX_CONNECTING are being made, who needs one waits in line for either: a turn to make one, or one that
    another exchange is done with. `waiting` counts them, `connecting` the turns.
    """

    __slots__ = (
        "_idle", "_loop", "_making", "_retired", "_time", "_waiting", "_waiting_for_new", "backend", "connect_timeout",
        "known_heads", "max_fields", "max_idle_age",
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
        self._time = now  # of the last look: near enough for an age, and for how long one has waited
        self.known_heads = KnownHeads()
        self._idle: dict[Upstream, None] = {}  # an ordered set
        self._making: dict[Applicant, asyncio.Task[None]] = {}
        # Both with the time until which each waits, which is their order.
        self._waiting: OrderedDict[Applicant, float] = OrderedDict()
        self._waiting_for_new: OrderedDict[Applicant, float] = OrderedDict()
        self._retired = False

    def __repr__(self) -> str:
        counts = f"idle={self.idle} connecting={self.connecting} waiting={self.waiting}"
        return f"<Pool {self.backend.address} {counts}{' retired' if self._retired else ''}>"

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def connecting(self) -> int:
        return len(self._making)

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a connection, or for their turn to make one."""
        return len(self._waiting) + len(self._waiting_for_new)

    # --- kept connections ------------------------------------------------------------------------------------------

    def take(self) -> Upstream | None:
        """An idle connection that is still open, or None."""
        while self._idle:
            upstream, _ = self._idle.popitem()
            if _usable(upstream):
                return upstream
        return None

    def put(self, upstream: Upstream) -> None:
        """An exchange is done with the connection, which may serve another: at once, where one waits."""
        if self._waiting and _usable(upstream):
            applicant, _ = self._waiting.popitem(last=False)
            applicant.connected(upstream)
        elif self._retired:
            upstream.close()
        elif not upstream.transport.is_closing():
            upstream.idle_since = self._time
            self._idle[upstream] = None

    def discard(self, upstream: Upstream) -> None:
        """The connection is closed or closing."""
        self._idle.pop(upstream, None)

    def close_idle(self) -> None:
        """Closes what is idle now. An idle keep-alive connection would make a Tomcat's stop take its whole grace."""
        idle, self._idle = self._idle, {}
        for upstream in idle:
            upstream.close()

    def retire(self) -> None:
        """Closes what is idle, and what becomes idle later. Who waits is for another backend."""
        self._retired = True
        self.close_idle()
        for line in (self._waiting_for_new, self._waiting):
            while line:
                line.popitem(last=False)[0].not_connected(CrowdedError("the application's servers have changed"))

    # --- new ones --------------------------------------------------------------------------------------------------

    def ask(self, applicant: Applicant, *, fresh: bool = False) -> None:
        """The applicant, which has found none to take, will be told of a connection: a new one with `fresh`.

        Or it is told of a ConnectError, or one of its kind. The wait for a turn and the making of the connection have
        `connect_timeout` each.
        """
        if len(self._making) < MAX_CONNECTING:
            self._begin(applicant)
        else:
            line = self._waiting_for_new if fresh else self._waiting
            line[applicant] = self._time + self.connect_timeout

    def leave(self, applicant: Applicant) -> None:
        """The applicant, which was not told yet, needs no connection any more."""
        making = self._making.pop(applicant, None)
        if making is not None:
            making.cancel()
            self._next()
        elif self._waiting.pop(applicant, None) is None:
            self._waiting_for_new.pop(applicant, None)

    def look(self, now: float) -> None:
        """Closes what has been idle for too long: the backend must never be the one to close first.

        Who has waited for too long is told, if that was so at the last look too: since then what has come was read.
        """
        last = self._time
        self._time = now
        limit = now - self.max_idle_age
        for upstream in [upstream for upstream in self._idle if upstream.idle_since < limit]:
            upstream.close()
        for line in (self._waiting_for_new, self._waiting):
            late = [applicant for applicant, until in line.items() if until < last]
            for applicant in late:
                if line.pop(applicant, None) is not None:
                    applicant.not_connected(CrowdedError("too many requests wait for a connection to the application"))

    def _begin(self, applicant: Applicant) -> None:
        self._making[applicant] = self._loop.create_task(self._make(applicant))

    def _next(self) -> None:
        """A turn is for who needs a new connection, and has waited before; else for who waits longest."""
        line = self._waiting_for_new or self._waiting
        if line:
            self._begin(line.popitem(last=False)[0])

    async def _make(self, applicant: Applicant) -> None:
        made: Upstream | ConnectError
        try:
            async with time_limit(self.connect_timeout):
                made = await self._connect()
        except TimeoutError:
            made = ConnectTimeoutError("the application does not accept connections in time")
        except OSError:
            made = ConnectError("the application does not accept connections")
        del self._making[applicant]
        self._next()
        if isinstance(made, ConnectError):
            applicant.not_connected(made)
        elif made.transport.is_closing():
            applicant.not_connected(GoneError("the application closed the connection at once"))
        else:
            applicant.connected(made)

    async def _connect(self) -> Upstream:
        host, _, port = self.backend.address.rpartition(":")
        _, upstream = await self._loop.create_connection(lambda: Upstream(self), host.strip("[]"), int(port))
        return upstream


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
