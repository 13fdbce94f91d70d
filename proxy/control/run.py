"""`proxy run`: puts the parts together, and obeys the signals of whoever started it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from proxy.address import Endpoint, UnixEndpoint
from proxy.config_file import load
from proxy.control import orphans
from proxy.control.admin import AdminApi
from proxy.control.admin_access import load_token
from proxy.control.events import EventBus
from proxy.control.keeper import StateKeeper
from proxy.control.listeners import cannot_listen
from proxy.control.pid_file import PidFile
from proxy.control.state import StateStore
from proxy.control.supervisor import Supervisor
from proxy.control.worker_process import COMMAND
from proxy.errors import AdminError, OperatorError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.control.state import State
    from proxy.settings import Settings
    from proxy.wire import Event

_SHUTDOWN_SECONDS: Final = 1.0


def run(config: str, command: Sequence[str] = COMMAND) -> int:
    """Serves until it is told to stop; returns the exit code. Raises OperatorError when it can't start."""
    settings = load(config)
    lock = PidFile.acquire(settings.state_dir)
    try:
        token = load_token(settings.admin.token_file) if settings.admin.token_file else None
        store = StateStore(settings.state_dir)
        state = store.load()
        endpoint = settings.admin.endpoint
        admin = open_admin_socket(endpoint)
        try:
            return uvloop.run(_serve(config, settings, store, state, token, admin, command))
        finally:
            admin.close()
            if isinstance(endpoint, UnixEndpoint):
                Path(endpoint.path).unlink(missing_ok=True)
    finally:
        lock.close()


async def _serve(
    config: str,
    settings: Settings,
    store: StateStore,
    state: State,
    token: str | None,
    admin: socket.socket,
    command: Sequence[str],
) -> int:
    bus = EventBus(time.time, _log)
    supervisor = Supervisor(config, settings, StateKeeper(store, state), bus, clock=time.time, command=command)
    signals = _Signals(supervisor)
    by_address = isinstance(settings.admin.endpoint, Endpoint)
    runner = web.AppRunner(
        AdminApi(supervisor, token, by_address=by_address).make(),
        access_log=None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        handle_signals=False,
    )
    await runner.setup()
    await web.SockSite(runner, admin).start()
    left = orphans.recorded(settings.state_dir)
    try:
        starting = asyncio.create_task(supervisor.start())
        stopping = asyncio.create_task(signals.stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            bus.publish("worker", f"the admin API is at {settings.admin.listen}")
            if left:
                bus.publish("worker", f"workers of a supervisor that is gone may leave: {left}")
                orphans.dismiss(left)
            recording = asyncio.create_task(_record_workers(supervisor))
            await stopping
            recording.cancel()
        bus.publish("worker", "stopping")
        await supervisor.stop(supervisor.settings.timeouts.stop)
        orphans.record(settings.state_dir, ())
        await asyncio.gather(starting, return_exceptions=True)
    finally:
        supervisor.fleet.kill_all()
        await runner.cleanup()
    return 0


async def _record_workers(supervisor: Supervisor) -> None:
    while True:
        pids = [worker.pid for worker in supervisor.fleet.workers.values()]
        orphans.record(supervisor.settings.state_dir, pids)
        await supervisor.fleet.changed()


class _Signals:
    """SIGTERM, SIGINT: stop gracefully; the second one: at once. SIGHUP: reload."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.stop = asyncio.Event()
        self._supervisor = supervisor
        self._reload: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop)
        loop.add_signal_handler(signal.SIGINT, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)

    def _on_stop(self) -> None:
        if self.stop.is_set():
            self._supervisor.fleet.kill_all()
        self.stop.set()

    def _on_reload(self) -> None:
        if self._reload is None or self._reload.done():
            self._reload = asyncio.create_task(self._try_reload())

    async def _try_reload(self) -> None:
        try:
            await self._supervisor.reload()
        except AdminError as error:
            self._supervisor.bus.publish("reload", f"not reloaded: {error}")
        except OperatorError:
            pass  # The supervisor has published it.

    def __repr__(self) -> str:
        return f"<_Signals stop={self.stop.is_set()}>"


def open_admin_socket(endpoint: Endpoint | UnixEndpoint) -> socket.socket:
    """Raises RefusedError when it is taken, ConfigurationError when it can't be had."""
    if isinstance(endpoint, UnixEndpoint):
        return _open_unix(endpoint.path)
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((endpoint.host, endpoint.port))
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise cannot_listen(endpoint, error, "admin.listen") from error
    return opened


def _open_unix(path: str) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # The mode is that of the umask at bind; a chmod afterwards would leave a moment for others.
        umask = os.umask(0o177)
        try:
            opened.bind(path)
        finally:
            os.umask(umask)
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise RefusedError(
            f"can't listen on unix:{path}: {error.strerror}", "set admin.listen to another path"
        ) from error
    except BaseException:
        opened.close()
        raise
    return opened


def _remove_stale(path: str) -> None:
    """Removes a socket that nobody listens on any more; anything else that is there is an error."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise RefusedError(f"{path} is there and is no socket", "set admin.listen to another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise RefusedError(f"another process listens on {path}", "stop it, or set admin.listen to another path")


def _log(event: Event) -> None:
    """One line on standard error."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(event.time))
    where = f" {event.app}" if event.app else ""
    print(f"{moment} {event.type}{where}: {event.message}", file=sys.stderr, flush=True)
