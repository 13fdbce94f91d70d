"""`proxy run`: puts the parts together, at a start and after an upgrade."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop
from aiohttp import web

from proxy import urgency
from proxy.address import Endpoint, UnixEndpoint
from proxy.config_file import load
from proxy.control import orphans, signals
from proxy.control.activation import given_sockets
from proxy.control.admin import AdminApi
from proxy.control.admin_access import load_token
from proxy.control.admin_socket import open_admin_socket, taken_over_admin_socket
from proxy.control.callers import Callers
from proxy.control.events import EventBus
from proxy.control.handover import Handover, receive, running_settings
from proxy.control.keeper import StateKeeper
from proxy.control.notify import Notifier
from proxy.control.pid_file import PidFile
from proxy.control.state import StateStore
from proxy.control.successor import Successor
from proxy.control.supervisor import Supervisor
from proxy.control.upgrade import Upgrade
from proxy.control.worker_process import COMMAND
from proxy.privileges import become

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from proxy.control.state import State
    from proxy.settings import Settings
    from proxy.wire import Event

_SHUTDOWN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the process has before its loop runs, and hands on in an upgrade. `given`: by a service manager."""

    config: str
    settings: Settings
    store: StateStore
    state: State
    token: str | None
    lock: PidFile
    admin: socket.socket
    notifier: Notifier
    given: list[socket.socket]
    command: Sequence[str]
    handed: Handover | None


def run(config: str, command: Sequence[str] = COMMAND) -> int:
    """Serves until it is told to stop; returns the exit code. Raises OperatorError when it can't start."""
    urgency.allow(urgency.SUPERVISOR)
    notifier = Notifier.from_environment(os.environ)
    handed = receive(os.environ)
    given = given_sockets(os.environ, os.getpid())
    if handed is None:
        settings = load(config)
        if settings.user is not None:
            become(settings.user, _directories(settings))
        lock = PidFile.acquire(settings.state_dir)
    else:
        settings = running_settings(handed.supervisor)[0]
        lock = PidFile.taken_over(settings.state_dir, handed.lock)
    try:
        token = load_token(settings.admin.token_file) if settings.admin.token_file else None
        store = StateStore(settings.state_dir)
        state = store.load()
        endpoint = settings.admin.endpoint
        admin = open_admin_socket(endpoint) if handed is None else taken_over_admin_socket(handed.admin)
        ground = _Ground(config, settings, store, state, token, lock, admin, notifier, given, command, handed)
        try:
            return uvloop.run(_serve(ground))
        finally:
            admin.close()
            if isinstance(endpoint, UnixEndpoint):
                Path(endpoint.path).unlink(missing_ok=True)
    finally:
        lock.close()


def _directories(settings: Settings) -> list[str]:
    """Where it writes."""
    files = [settings.admin.token_file]
    if isinstance(settings.admin.endpoint, UnixEndpoint):
        files.append(settings.admin.endpoint.path)
    if settings.access_log.format != "off" and settings.access_log.path != "-":
        files.append(settings.access_log.path)
    return [settings.state_dir, *(str(Path(file).parent) for file in files if file is not None)]


async def _serve(ground: _Ground) -> int:
    asyncio.get_running_loop().set_default_executor(signals.deaf_executor())
    bus = EventBus(time.time, _log)
    supervisor = Supervisor(
        ground.config,
        ground.settings,
        StateKeeper(ground.store, ground.state),
        bus,
        clock=time.time,
        command=ground.command,
        notifier=ground.notifier,
        given=ground.given,
    )
    told = signals.Signals(supervisor)
    runner = _admin_runner(ground, supervisor, told)
    await runner.setup()
    site = web.SockSite(runner, ground.admin.dup())
    # If an upgrade fails here, the workers are left as they are: they serve on without a supervisor.
    leave_workers = ground.handed is not None
    if ground.handed is not None:
        await supervisor.take_over(ground.handed.supervisor)
    await site.start()
    try:
        starting = asyncio.create_task(_start(ground, supervisor))
        await _until_stopped(ground, supervisor, told, starting)
        leave_workers = False
        ground.notifier.stopping()
        bus.publish("worker", "stopping")
        await supervisor.stop(supervisor.settings.timeouts.stop)
        orphans.record(ground.settings.state_dir, ())
        await asyncio.gather(starting, return_exceptions=True)
    finally:
        if not leave_workers:
            supervisor.fleet.kill_all()
        await runner.cleanup()
    return 0


async def _start(ground: _Ground, supervisor: Supervisor) -> None:
    """Starts the workers, or ends an upgrade."""
    if ground.handed is None:
        if orphans.recorded(ground.settings.state_dir):
            # They serve meanwhile.
            await asyncio.sleep(
                orphans.barrier_left(ground.store.path, ground.settings.timeouts.barrier, supervisor.clock())
            )
        await supervisor.start()
        ground.notifier.ready(supervisor.serving())
    else:
        await Successor(supervisor, ground.handed.callers).run()


def _admin_runner(ground: _Ground, supervisor: Supervisor, told: signals.Signals) -> web.AppRunner:
    callers = Callers()
    upgrade = Upgrade(
        supervisor,
        callers,
        lock=ground.lock.descriptor,
        admin=ground.admin.fileno(),
        notify_address=ground.notifier.address,
        told_to_stop=told.stop.is_set,
    )
    by_address = isinstance(ground.settings.admin.endpoint, Endpoint)
    api = AdminApi(supervisor, ground.token, by_address=by_address, callers=callers, upgrade=upgrade.begin)
    return web.AppRunner(api.make(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handle_signals=False)


async def _until_stopped(
    ground: _Ground, supervisor: Supervisor, told: signals.Signals, starting: asyncio.Task[None]
) -> None:
    """Returns when the proxy is to stop, even while it is still `starting`."""
    state_dir = ground.settings.state_dir
    known = {worker.pid for worker in supervisor.fleet.workers.values()}
    former = {pid: started for pid, started in orphans.noted(state_dir).items() if pid not in known}
    supervisor.former_workers = lambda: orphans.alive(former)
    stopping = asyncio.create_task(told.stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        await starting
        supervisor.bus.publish("worker", f"the admin API is at {ground.settings.admin.listen}")
        if left := orphans.alive(former):
            supervisor.bus.publish("worker", f"workers of a supervisor that is gone may leave: {left}")
            orphans.dismiss(left)
        recording = asyncio.create_task(_record_workers(supervisor))
        await stopping
        recording.cancel()


async def _record_workers(supervisor: Supervisor) -> None:
    while True:
        pids = [*(worker.pid for worker in supervisor.fleet.workers.values()), *supervisor.former_workers()]
        orphans.record(supervisor.settings.state_dir, pids)
        await supervisor.fleet.changed()


def _log(event: Event) -> None:
    """One line on standard error."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(event.time))
    where = f" {event.app}" if event.app else ""
    print(f"{moment} {event.type}{where}: {event.message}", file=sys.stderr, flush=True)
