"""The signals of whoever started the proxy."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from proxy.errors import AdminError, OperatorError

if TYPE_CHECKING:
    from proxy.control.supervisor import Supervisor

SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class Signals:
    """SIGTERM, SIGINT: stop gracefully; the second one: at once. SIGHUP: reload."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.stop = asyncio.Event()
        self._supervisor = supervisor
        self._reload: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop)
        loop.add_signal_handler(signal.SIGINT, self._on_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        unblock()

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
        return f"<Signals stop={self.stop.is_set()}>"


def block() -> None:
    """From now on they wait in the kernel, also over execve(2), as far as this thread goes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def deaf_executor() -> ThreadPoolExecutor:
    """Threads that take no signal: one that a thread takes is lost when execve ends the thread."""
    return ThreadPoolExecutor(thread_name_prefix="proxy", initializer=block)
