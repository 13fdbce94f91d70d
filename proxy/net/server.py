"""What all client connections of one worker share, and the clock that keeps their deadlines."""

from __future__ import annotations

import asyncio
import math
import os
import resource
from email.utils import formatdate
from heapq import nsmallest
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from proxy.core.routes import AppRoute, Router
from proxy.http1.rewrite import Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from proxy.http1.head import RequestHead
    from proxy.net.access_log import AccessLog
    from proxy.net.app import App
    from proxy.net.downstream import Downstream
    from proxy.settings import Settings

TICK: Final = 0.25
"""Seconds between two looks at the deadlines. One pass over all connections costs less than a timer per request."""

CLOSED_AT_LIMIT: Final = 16
TURN_REQUESTS: Final = 1024
"""Reads of requests after which those of the same turn of the event loop are left to the next one. libuv looks for more
events up to 48 times, 1,024 at a time, before it turns: with 5,000 busy connections a turn took two seconds (measured
with uvloop 0.23), in which no timer ran, and no connection to a backend was made. They are counted over turns: it would
cost something to see where a turn ends, and costs nothing to leave a request to the next one now and then."""
REMEMBER_SECONDS: Final = 5.0
"""How long an idle connection remembers its last request's fields. Clients that repeat them at all do so soon."""
MANY: Final = 1000
REMEMBER_SECONDS_OF_MANY: Final = 0.5
"""With more than MANY connections. A browser's head takes 3 KiB, and what 10,000 have held at a time stays with the
process when they let it go."""
_LOW_DIGITS: Final = tuple(b"%02x" % number for number in range(256))
LAST_REQUEST_SECONDS: Final = 2.0
"""How long a connection waits for one more request while the worker stops."""


class Server:
    """The worker's connections, apps and clock.

    `time` and `date` are those of the last tick: good enough for deadlines, and free; `date_line` is the whole field.
    `remember_until` and `response_until` are the deadlines of what begins now. `byte_seconds` is the time that a byte
    of a slow body buys, `least_progress` what a slow reader must take in `timeouts.body`, `remember_seconds` how long
    idle connections remember. `turn_left` is what is left of TURN_REQUESTS; below zero, requests are for
    `in_next_turn`.

    `now` is read before it is called, where that is for each request: a call of an attribute that is no method has the
    interpreter look through the class first.
    """

    __slots__ = (
        "_accepted", "_clients", "_emptied", "_id_format", "_id_start", "_log", "_none_idle_at", "_own", "_request_ids",
        "_timer", "_trusted", "_turn_ends", "apps", "byte_seconds", "date", "date_line", "least_progress", "limits",
        "loop", "max_body", "max_fields", "max_head", "now", "remember_seconds", "remember_until", "response_until",
        "router", "settings", "stopping", "time", "timeouts", "turn_left",
    )  # fmt: skip

    def __init__(
        self,
        settings: Settings,
        apps: Mapping[str, App],
        *,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        log: AccessLog,
    ) -> None:
        self.settings = settings
        self.apps = dict(apps)
        self.loop = loop
        self.now = now
        self.timeouts = settings.timeouts
        self.limits = settings.limits
        self.max_head = settings.limits.header_bytes
        self.max_fields = settings.limits.headers
        rate = settings.limits.min_rate
        self.byte_seconds = 1 / rate if rate else math.inf
        self.least_progress = max(1, int(rate * settings.timeouts.body)) if rate else 1
        self.max_body = settings.limits.body if settings.limits.body is not None else 1 << 62
        self.router = Router(
            AppRoute(name, app.hosts, app.path, app.static.prefix if app.static is not None else None)
            for name, app in settings.apps.items()
        )
        self.stopping = False
        self.turn_left = TURN_REQUESTS
        self._turn_ends = False
        self._clients: dict[Downstream, None] = {}  # in the order of their arrival
        self._look_at_clock()
        self._log = log
        self._trusted = tuple(ip_network(network) for network in settings.trusted_proxies)
        self._accepted = 0
        self._none_idle_at = -1.0
        self._own = [0] * 600  # by status
        self._request_ids = 0
        self._id_format = os.urandom(6).hex().encode() + b"%04x"
        self._id_start = self._id_format % 0
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Server {len(self._clients)} connections{' stopping' if self.stopping else ''}>"

    @property
    def connections(self) -> int:
        return len(self._clients)

    # --- for the connections ---------------------------------------------------------------------------------------

    def peer(self, transport: asyncio.BaseTransport) -> Peer:
        """Who is at the other end."""
        known = transport.get_extra_info("peername")  # None when the client has gone already
        address = str(known[0]).removeprefix("::ffff:") if known is not None else "unknown"
        port = transport.get_extra_info("sockname")[1]
        trusted = known is not None and any(ip_address(address) in network for network in self._trusted)
        return Peer(address.encode(), b"http", b"%d" % port, trusted)

    def opened(self, client: Downstream) -> None:
        """Counts the connection in. At the limit the oldest idle ones make room, or else the new one goes.

        Next to idle are those of which only a part of a head has come: a byte now and then must not keep others out.
        """
        self._accepted += 1
        if len(self._clients) >= self.limits.connections and not self._make_room():
            client.abort()
        self._clients[client] = None

    def _make_room(self) -> bool:
        """Closes some connections that await a request; False when there is none.

        That is found out once a tick at most: looking through all connections for each one that comes and goes would
        take all the time there is, just when many come.
        """
        if self._none_idle_at == self.time:
            return False
        idle = nsmallest(
            CLOSED_AT_LIMIT,
            (other for other in self._clients if other.awaits_head),
            key=lambda other: (not other.idle, other.waits_since),
        )
        for other in idle:
            other.close_idle()
        if not idle:
            self._none_idle_at = self.time
        return bool(idle)

    def in_next_turn(self, begin: Callable[[bytes], None]) -> None:
        """Calls `begin(b"")` when what else has come was read. Connections go on in the order in which they ask."""
        self.loop.call_soon(begin, b"")
        if self.turn_left < 0 and not self._turn_ends:
            self._turn_ends = True
            self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn_ends = False
        self.turn_left = TURN_REQUESTS

    def closed(self, client: Downstream) -> None:
        self._clients.pop(client, None)
        if self._emptied is not None and not self._clients and not self._emptied.done():
            self._emptied.set_result(None)

    def next_request_id(self) -> bytes:
        """Unique over workers and restarts."""
        number = self._request_ids = self._request_ids + 1
        low = number & 0xFF
        if not low:
            self._id_start = self._id_format % (number >> 8)
        return self._id_start + _LOW_DIGITS[low]

    def own_answer(
        self,
        client: bytes,
        head: RequestHead | None,
        status: int,
        size: int,
        request_id: bytes,
        started: float,
        cut_off: bool = False,
    ) -> None:
        """Counts and logs what was answered without a backend. `cut_off`: the client has not got all of it."""
        self._own[status] += 1
        now = self.now
        self._log.own(client, head, status, size, request_id, now() - started, cut_off)

    # --- for the worker --------------------------------------------------------------------------------------------

    def start_clock(self) -> None:
        """Begins to keep deadlines."""
        self._timer = self.loop.call_later(TICK, self._tick)

    def _look_at_clock(self) -> None:
        self.time = now = self.now()
        self.date = formatdate(usegmt=True).encode()
        self.date_line = b"Date: %b\r\n" % self.date
        idle = LAST_REQUEST_SECONDS if self.stopping else self.timeouts.idle
        self.remember_seconds = REMEMBER_SECONDS if len(self._clients) <= MANY else REMEMBER_SECONDS_OF_MANY
        self.remember_until = now + min(self.remember_seconds, idle)
        self.response_until = now + self.timeouts.response

    def _tick(self) -> None:
        self._timer = self.loop.call_later(TICK, self._tick)
        last = self.time
        self._look_at_clock()
        now = self.time
        # Since the last look the sockets were read, which is not sure for what came since: timers run before that, and
        # on a busy machine this process may have had no time at all.
        for client in [client for client in self._clients if client.deadline < last]:
            client.expired(now)
        for app in self.apps.values():
            app.look()
        self._log.flush()

    def stop(self) -> None:
        """Lets each connection end with its answer."""
        self.stopping = True
        self._look_at_clock()
        now = self.time
        for client in list(self._clients):
            client.stop(now)

    async def empty(self) -> None:
        """Returns when there is no connection."""
        if self._clients:
            self._emptied = self.loop.create_future()
            await self._emptied

    def abort(self) -> None:
        """Ends what is still there, and the clock."""
        for client in list(self._clients):
            client.abort()
        if self._timer is not None:
            self._timer.cancel()

    def snapshot(self) -> dict[str, Any]:
        """Counters, in the shape that `proxy.core.stats.merge` adds up."""
        return {
            "connections": len(self._clients),
            "connections_total": self._accepted,
            "requests": self._request_ids,
            "rss": _resident_bytes(),
            "tasks": len(asyncio.all_tasks(self.loop)),
            "own": self._answered_here(),
            "log_dropped": self._log.dropped,
            "apps": {name: app.snapshot() for name, app in self.apps.items()},
        }

    def _answered_here(self) -> dict[str, int]:
        own = {status: count for status, count in enumerate(self._own) if count}
        for app in self.apps.values():
            for status, count in app.unserved.items():
                own[status] = own.get(status, 0) + count
        return {str(status): count for status, count in own.items()}


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
