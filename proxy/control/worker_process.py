"""One worker as the supervisor sees it: a process, and the link to it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from proxy import urgency
from proxy.control.handover import WorkerPart
from proxy.core import orders
from proxy.net.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.settings import Settings

COMMAND: Final = (sys.executable, "-P", "-m", "proxy", "_worker")
_LEAVE_SECONDS: Final = 2.0
"""How long a worker may live on after its link has ended."""

WorkerState = Literal["starting", "prepared", "ready", "draining", "lost"]


class WorkerOwner(Protocol):
    """Who hears of a worker."""

    def worker_event(self, worker: WorkerProcess, event: orders.Event) -> None: ...

    def worker_lost(self, worker: WorkerProcess) -> None:
        """Once, after the process's last event."""


class WorkerError(Exception):
    """The worker did not come up; the text says why."""


class WorkerProcess:
    """`number` is never used again; `position` says which listeners it has. Made by `start`."""

    def __init__(self, number: int, position: int, settings: Settings, owner: WorkerOwner, started: float) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.position = position
        self.settings = settings
        self.started = started
        self.state: WorkerState = "starting"
        self.pid = 0
        self.exit_code: int | None = None
        self.stop_by: float | None = None
        self.kill_reason = ""
        self._failure = ""
        self.prepared: asyncio.Future[None] = loop.create_future()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.gone = asyncio.Event()
        self._owner = owner
        self._loop = loop
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._channel: Channel | None = None
        self._linked = False

    async def start(
        self,
        listeners: Sequence[socket.socket],
        command: Sequence[str] = COMMAND,
        lent: Sequence[socket.socket] = (),
    ) -> None:
        """Starts the process. `lent`: the listeners of a service manager. Raises OSError when that is impossible."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._spawn(
                    theirs.fileno(),
                    [listener.fileno() for listener in listeners],
                    [listener.fileno() for listener in lent],
                    command,
                )
        except BaseException:
            ours.close()
            raise
        self._linked = True
        self._channel = await Channel.open(ours, self._message, self._link_closed)

    async def take_over(self, part: WorkerPart) -> None:
        """Goes on with a process that a former supervisor has started as a child of this very process."""
        self.pid = part.pid
        self._watch()
        self._linked = True
        self.state = "ready"
        _succeed(self.prepared)
        _succeed(self.ready)
        if part.stop_by is not None:
            self._draining(max(0.0, part.stop_by - self._loop.time()))
        if part.link < 0:
            self._link_closed(None)
            return
        link = socket.socket(fileno=part.link)
        self._channel = await Channel.open(link, self._message, self._link_closed, part.received)

    def hand_over(self, settings: int) -> WorkerPart:
        """`settings`: which of the handover's."""
        assert self.state in ("ready", "draining")
        return WorkerPart(
            number=self.number,
            position=self.position,
            settings=settings,
            pid=self.pid,
            link=self._channel.descriptor if self._channel is not None else -1,
            received=self._channel.received if self._channel is not None else b"",
            state="ready" if self.state == "ready" else "draining",
            started=self.started,
            stop_by=self.stop_by,
        )

    @property
    def unsent(self) -> int:
        """Bytes of orders that it has not taken yet."""
        return 0 if self._channel is None else self._channel.unsent

    def _spawn(self, link: int, listeners: list[int], lent: list[int], command: Sequence[str]) -> None:
        arguments = ["--channel", str(link), "--listen", ",".join(map(str, listeners))]
        if lent:
            arguments += ["--lent", ",".join(map(str, lent))]
        # The worker runs this very code, whatever the current directory holds; and its own session keeps the
        # terminal's Ctrl-C from it, since the supervisor tells it what to do.
        package_parent = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=[link, *listeners],
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.pid = self._process.pid
        self._watch()

    def _watch(self) -> None:
        # A pidfd and not SIGCHLD: it needs no signal handler, and can't name a later process of the same number.
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._ended)

    def send(self, order: orders.Order) -> None:
        """Never waits; to a worker that is gone it does nothing."""
        if self._channel is not None:
            self._channel.send(orders.encode(order))

    def hurry(self) -> None:
        """It gets the CPU at once until it has heard how the switch is decided, or for URGENT_SECONDS."""
        if self._pidfd >= 0:
            urgency.hurry(urgency.WORKER, self.pid)

    def stop(self, grace: float, *, last: bool = False) -> None:
        """Lets it end what it has, at most for `grace` seconds; kills it when it is late. `last`: see orders.Stop."""
        if self.state not in ("draining", "lost"):
            self.send(orders.Stop(grace=grace, last=last))
            self._draining(grace)

    def _draining(self, grace: float) -> None:
        self.state = "draining"
        self.stop_by = self._loop.time() + grace
        self._loop.call_later(grace + _LEAVE_SECONDS, self.kill, "it did not stop in time")

    def kill(self, reason: str) -> None:
        """Ends it now; `worker_lost` follows."""
        if self._pidfd < 0:
            return
        self.kill_reason = self.kill_reason or reason
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _message(self, payload: bytes) -> None:
        event = orders.decode_event(payload)
        match event:
            case orders.Prepared():
                self.state = "prepared"
                _succeed(self.prepared)
            case orders.Ready():
                if self.state == "prepared":
                    self.state = "ready"
                _succeed(self.ready)
            case orders.StartFailed(message=message):
                self._failure = message
                self._fail(message)
            case orders.Leaving() if self.state == "ready":
                self._draining(self.settings.timeouts.stop)
                self._owner.worker_event(self, event)
            case _:
                self._owner.worker_event(self, event)

    def _link_closed(self, error: Exception | None) -> None:
        self._linked = False
        if self._pidfd < 0:
            self._lost()
        elif error is not None:
            self.kill(f"its link failed: {error}")
        else:
            self._loop.call_later(_LEAVE_SECONDS, self.kill, "it closed its link and lived on")

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        if self._process is not None:
            self.exit_code = self._process.wait()
        else:
            self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        # The link's end is waited for, as its last events may still be unread.
        if not self._linked:
            self._lost()

    def _lost(self) -> None:
        if self.state == "lost":
            return
        self.state = "lost"
        self._fail(f"worker {self.number} {self.how_it_ended()}")
        self.gone.set()
        self._owner.worker_lost(self)

    def _fail(self, message: str) -> None:
        for waiting in (self.prepared, self.ready):
            if not waiting.done():
                waiting.set_exception(WorkerError(message))
                # Nobody has to wait for it; then the exception is not to be reported as never retrieved.
                waiting.exception()

    def how_it_ended(self) -> str:
        """`"was killed: it did not stop in time"`, `"ended with signal 9"`, `"ended with exit code 1"`."""
        if self._failure:
            return f"can't serve: {self._failure}"
        if self.kill_reason:
            return f"was killed: {self.kill_reason}"
        if self.exit_code is not None and self.exit_code < 0:
            return f"ended with signal {-self.exit_code}"
        return f"ended with exit code {self.exit_code}"

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.number} pid={self.pid} position={self.position} {self.state}>"


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
