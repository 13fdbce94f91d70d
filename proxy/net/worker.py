"""One serving process: listeners, and the link to the supervisor that gives the orders."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import traceback
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

import uvloop

from proxy.core import orders
from proxy.errors import LinkError, OperatorError
from proxy.net.accepting import Acceptor
from proxy.net.access_log import AccessLog
from proxy.net.app import FRAME_SECONDS, App
from proxy.net.channel import Channel
from proxy.net.decision import decided_epochs
from proxy.net.downstream import Downstream
from proxy.net.server import Server
from proxy.net.static import build_index
from proxy.net.syn_filter import drop_new_connections
from proxy.settings import Settings
from proxy.urgency import Haste

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from proxy.core.files import FileIndex

BACKLOG: Final = 4096
HANDSHAKE_SECONDS: Final = 0.2
"""How long a client may take to end its handshake with a listener that takes no new ones."""


@dataclass(slots=True)
class _Loaded:
    """What Start named, kept up to date until Serve."""

    worker: int
    settings: Settings
    slots: dict[str, dict[str, orders.SlotState]]
    files: dict[str, dict[str, FileIndex]]

    def health_changed(self, order: orders.HealthChanged) -> None:
        state = self.slots[order.app][order.slot]
        if order.backend in state.backends:
            backends = {**state.backends, order.backend: order.up}
            self.slots[order.app][order.slot] = replace(state, backends=backends)


class Worker:
    """Takes orders one by one until Stop, SIGTERM, or the end of its last connection after either.

    When the supervisor is gone the worker serves on with what it knows, and what the state file says.
    `lent`: descriptors of those listeners that a service manager keeps open, for whoever comes after us.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, listeners: Sequence[socket.socket], lent: Collection[int] = ()
    ) -> None:
        self._loop = loop
        self._listeners = listeners
        self._own_listeners = [listener for listener in listeners if listener.fileno() not in lent]
        self._channel: Channel | None = None
        self._loaded: _Loaded | None = None  # between Start and Serve
        self._server: Server | None = None
        self._log: AccessLog | None = None
        self._acceptors: list[Acceptor] = []
        self._orders: deque[orders.Order] = deque()
        self._order_task: asyncio.Task[None] | None = None
        self._haste = Haste(loop.call_later)
        self._orphaned = False  # whether no further order will come
        self._stop_task: asyncio.Task[None] | None = None
        self._done = loop.create_future()

    def __repr__(self) -> str:
        return f"<Worker pid={os.getpid()} {self._server!r}>"

    async def run(self, link: socket.socket) -> int:
        """Serves until it has stopped; returns the process's exit code."""
        self._loop.add_signal_handler(signal.SIGTERM, self._on_sigterm)
        self._channel = await Channel.open(link, self._message, self._link_closed)
        code: int = await self._done
        return code

    # --- orders ------------------------------------------------------------------------------------------------

    def _message(self, payload: bytes) -> None:
        self._orders.append(orders.decode_order(payload))
        if self._order_task is None:
            self._carry_out()

    def _carry_out(self) -> None:
        """Orders are carried out in turn; one that must wait for a thread lets the later ones wait too."""
        while self._orders:
            order = self._orders.popleft()
            if isinstance(order, orders.Start | orders.Serve | orders.SlotChanged):
                self._order_task = self._loop.create_task(self._carry_out_slowly(order))
                return
            self._obey(order)
        if self._orphaned and self._server is not None:
            decided = decided_epochs(self._server.settings.state_dir)
            for name, app in self._server.apps.items():
                app.orders_ended(decided.get(name))

    async def _carry_out_slowly(self, order: orders.Start | orders.Serve | orders.SlotChanged) -> None:
        try:
            match order:
                case orders.Start():
                    await self._prepare(order)
                case orders.Serve():
                    await self._serve(order)
                case orders.SlotChanged():
                    await self._change_slot(order)
        except Exception as error:
            # Whatever it is, the supervisor must not wait for what will not come.
            self._failed(order, error)
        finally:
            self._order_task = None
        self._carry_out()

    def _failed(self, order: orders.Start | orders.Serve | orders.SlotChanged, error: Exception) -> None:
        if not isinstance(error, OperatorError):
            traceback.print_exception(error, file=sys.stderr)
        message = str(error) if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"
        if isinstance(order, orders.SlotChanged):
            self._tell(orders.SlotFailed(app=order.app, slot=order.slot, message=message))
        else:
            self._tell(orders.StartFailed(message=message))
            self._finish(1)

    def _obey(self, order: orders.Order) -> None:
        if isinstance(order, orders.StatsRequest):
            if self._server is not None:
                self._tell(orders.StatsReply(id=order.id, snapshot=self._server.snapshot()))
            return
        if isinstance(order, orders.Stop):
            self._begin_stop(order.grace, last=order.last)
            return
        assert not isinstance(order, orders.Start | orders.Serve | orders.SlotChanged)
        if self._loaded is not None:
            if isinstance(order, orders.HealthChanged):
                self._loaded.health_changed(order)
            return
        app = self._server.apps.get(order.app) if self._server is not None else None
        if app is None:
            return
        match order:
            case orders.Hold():
                self._haste.bound()
                app.hold(order)
            case orders.ReleaseHold():
                app.release_hold(order)
                self._haste.end()
            case orders.Switch():
                app.switch(order)
                self._haste.end()
            case orders.SessionsEnded():
                app.sessions_ended(order)
            case orders.Drain():
                app.drain(order)
            case orders.Cut():
                app.cut(order)
            case orders.Admission():
                app.admit(order)
            case orders.HealthChanged():
                app.health_changed(order)
            case orders.CloseIdle():
                app.close_idle(order)
            case orders.SampleRequest():
                self._tell(orders.SampleReply(id=order.id, requests=app.recent.rows(monotonic())))
            case orders.InflightRequest():
                exchanges, truncated = app.inflight(order.limit)
                self._tell(orders.InflightReply(id=order.id, exchanges=exchanges, truncated=truncated))

    def _tell(self, event: orders.Event) -> None:
        if self._channel is not None:
            self._channel.send(orders.encode(event))

    def _link_closed(self, error: Exception | None) -> None:
        if self._server is None:
            self._finish(1)
            return
        if error is not None:
            print(f"worker {os.getpid()}: the link to the supervisor ended: {error}; serving on", file=sys.stderr)
        self._orphaned = True
        if self._order_task is None:
            self._carry_out()

    # --- starting ------------------------------------------------------------------------------------------------

    async def _prepare(self, order: orders.Start) -> None:
        """Loads all that takes time."""
        settings = Settings.model_validate_json(order.settings)
        self._log = AccessLog(settings.access_log.path, settings.access_log.format)
        files = {app: await self._load_files(settings, app, slots) for app, slots in order.apps.items()}
        self._loaded = _Loaded(order.worker, settings, {app: dict(slots) for app, slots in order.apps.items()}, files)
        self._tell(orders.Prepared(pid=os.getpid()))

    async def _load_files(
        self, settings: Settings, app: str, slots: dict[str, orders.SlotState]
    ) -> dict[str, FileIndex]:
        static = settings.apps[app].static
        if static is None:
            return {}
        roots = {slot: state.static_root or static.root for slot, state in slots.items()}
        indexes = {root: await asyncio.to_thread(build_index, root) for root in set(roots.values())}
        return {slot: indexes[root] for slot, root in roots.items()}

    async def _serve(self, order: orders.Serve) -> None:
        loaded, log = self._loaded, self._log
        assert loaded is not None
        assert log is not None
        apps = {
            name: App(
                name,
                loaded.settings,
                slots,
                order.apps[name],
                worker=loaded.worker,
                loop=self._loop,
                now=monotonic,
                tell=self._tell,
                log=log,
                files=loaded.files[name],
            )
            for name, slots in loaded.slots.items()
        }
        self._loaded = None
        server = Server(loaded.settings, apps, loop=self._loop, now=monotonic, log=log)
        self._server = server
        self._acceptors = [Acceptor(listener, lambda: Downstream(server), self._loop) for listener in self._listeners]
        for acceptor in self._acceptors:
            acceptor.start(BACKLOG)
        server.start_clock()
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._tell(orders.Ready(pid=os.getpid()))

    async def _change_slot(self, order: orders.SlotChanged) -> None:
        settings = self._server.settings if self._server is not None else self._loaded and self._loaded.settings
        if not settings or order.app not in settings.apps:
            return
        files = (await self._load_files(settings, order.app, {order.slot: order.state})).get(order.slot)
        if self._loaded is not None:
            self._loaded.slots[order.app][order.slot] = order.state
            if files is not None:
                self._loaded.files[order.app][order.slot] = files
        elif self._server is not None:
            self._server.apps[order.app].slot_changed(order, files)

    # --- stopping --------------------------------------------------------------------------------------------------

    def _on_sigterm(self) -> None:
        last = self._channel is None or self._channel.closed
        if last:
            for listener in self._own_listeners:
                with suppress(OSError):  # Without the filter, what comes in the very last moment is reset.
                    drop_new_connections(listener)
        self._tell(orders.Leaving(pid=os.getpid()))
        self._begin_stop(None, last=last)

    def _begin_stop(self, grace: float | None, *, last: bool) -> None:
        if self._server is None:
            self._finish(0)
        elif self._stop_task is None:
            self._stop_task = self._loop.create_task(
                self._stop(self._server, self._server.timeouts.stop if grace is None else grace, last)
            )

    async def _stop(self, server: Server, grace: float, last: bool) -> None:
        """Accepts what is queued, then no more; lets what is outstanding end, at most for `grace` seconds."""
        for acceptor in self._acceptors:
            acceptor.close()
        server.stop()
        if last:
            self._accept_queued()
            await asyncio.sleep(HANDSHAKE_SECONDS)
        self._accept_queued()  # at once before the end: who is still in the queue then is reset
        for listener in self._listeners:
            listener.close()
        for acceptor in self._acceptors:
            await acceptor.settled()
        server.stop()
        await self._end_connections(server, grace)
        await asyncio.sleep(0)
        if self._log is not None:
            self._log.close()
        self._tell(orders.Stopped(snapshot=server.snapshot()))
        self._finish(0)

    async def _end_connections(self, server: Server, grace: float) -> None:
        """WebSockets do not end by themselves: they are told to, over the time that there is."""
        frames = min(FRAME_SECONDS, grace)
        for seconds, spread in ((grace - frames, grace - frames), (frames, 0.0)):
            for app in server.apps.values():
                app.close_websockets(spread)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await server.empty()
        server.abort()

    def _accept_queued(self) -> None:
        for acceptor in self._acceptors:
            acceptor.accept_queued(BACKLOG)

    def _finish(self, code: int) -> None:
        if self._channel is not None:
            self._channel.close()
        if not self._done.done():
            self._done.set_result(code)


async def _run(channel_fd: int, listen_fds: Sequence[int], lent: Collection[int]) -> int:
    # The supervisor has the terminal's Ctrl-C; it tells its workers what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(asyncio.get_running_loop(), [socket.socket(fileno=fd) for fd in listen_fds], lent)
    return await worker.run(socket.socket(fileno=channel_fd))


def _allow_descriptors() -> None:
    """As many as the system lets us have: each exchange takes two, and the usual first limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(channel_fd: int, listen_fds: Sequence[int], lent: Collection[int]) -> int:
    """Runs a worker on inherited descriptors: one end of a link, and listening sockets. Returns the exit code.

    `lent`: those of the listening sockets that are a service manager's.
    """
    _allow_descriptors()
    try:
        return uvloop.run(_run(channel_fd, listen_fds, lent))
    except LinkError as error:
        print(f"worker {os.getpid()}: {error}", file=sys.stderr)
        return 1
