"""Who starts and ends a slot's server. Here: the deployer itself, as a process of its own that lives on without it."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from deployer import durable
from deployer.errors import InstanceError
from deployer.server.log import fresh_log
from deployer.server.processes import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deployer.clock import Clock
    from deployer.server.account import Account
    from deployer.server.processes import Processes

_KILL_WAIT = 10.0

End = Literal["not running", "SIGTERM", "SIGKILL"]


@dataclass(frozen=True, slots=True)
class Stopped:
    """How a server came to its end. SIGKILL: requests that were still running were cut."""

    how: End
    pid: int | None
    seconds: float

    def __str__(self) -> str:
        if self.how == "SIGKILL":
            return f"killed after {self.seconds:.1f} s: it did not stop by itself"
        return "was not running" if self.how == "not running" else f"stopped in {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started. log: gets stdout and stderr; a new file for each run, so that what is in it happened since."""

    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    account: Account
    log: Path


class Launcher(Protocol):
    """Starts one slot's server, finds it again, ends it. Methods raise InstanceError."""

    def running(self) -> ProcessId | None:
        """The server's process now. Raises nothing."""

    def obstacles(self) -> list[InstanceError]:
        """What would keep it from being started, besides ports. Raises nothing."""

    def launch(self, launch: Launch) -> ProcessId | None:
        """Starts it; None when its process ended at once. It must not run already."""

    def stop(self, grace: float) -> Stopped:
        """Asks it to stop, and kills it after `grace` seconds."""


class ProcessLauncher:
    """A server that is the deployer's own process. name: the slot's. pid_file: remembers it.

    find: the processes of this server that run now, oldest first. A deployer that was killed between a launch and
    the pid file leaves a server that only this finds; and a stop finds by it what the server has left behind.
    """

    def __init__(
        self,
        name: str,
        pid_file: Path,
        find: Callable[[], Sequence[ProcessId]],
        processes: Processes,
        clock: Clock,
    ) -> None:
        self._name = name
        self._pid_file = pid_file
        self._find = find
        self._processes = processes
        self._clock = clock

    def __repr__(self) -> str:
        return f"<ProcessLauncher {self._name} {self.running()}>"

    def running(self) -> ProcessId | None:
        """See Launcher."""
        try:
            known = ProcessId(**json.loads(self._pid_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            known = None
        if known is not None and self._processes.alive(known):
            return known
        found = self._find()
        return found[0] if found else None

    def obstacles(self) -> list[InstanceError]:
        """See Launcher."""
        return []

    def launch(self, launch: Launch) -> ProcessId | None:
        """See Launcher."""
        descriptor = fresh_log(launch.log, launch.account)
        try:
            pid = self._processes.launch(
                launch.command, log=descriptor, cwd=launch.cwd, env=launch.env, account=launch.account
            )
        finally:
            os.close(descriptor)
        identity = self._processes.identity(pid)
        if identity is not None:
            self._remember(identity)
        return identity

    def stop(self, grace: float) -> Stopped:
        """See Launcher."""
        began = self._clock.monotonic()
        process = self.running()
        how: End = "not running" if process is None else self._end(process, grace)
        # A shell or a master that was ended may leave what it had started, which would keep the port.
        for left in self._find():
            rest = max(0.0, began + grace - self._clock.monotonic())
            if self._end(left, rest) == "SIGKILL":
                how = "SIGKILL"
        if self._pid_file.exists():
            durable.remove(self._pid_file)
        return Stopped(how, process.pid if process else None, self._clock.monotonic() - began)

    def _end(self, process: ProcessId, grace: float) -> End:
        self._processes.signal(process, signal.SIGTERM)
        if self._processes.wait_exit(process, grace):
            return "SIGTERM"
        self._processes.signal(process, signal.SIGKILL)
        if not self._processes.wait_exit(process, _KILL_WAIT):
            raise InstanceError(
                f"slot {self._name}: pid {process.pid} does not end, not even by SIGKILL",
                "the kernel holds it (a dead disk or mount?): see dmesg",
            )
        return "SIGKILL"

    def _remember(self, process: ProcessId) -> None:
        try:
            durable.write(self._pid_file, (json.dumps(asdict(process)) + "\n").encode(), 0o644)
        except OSError as why:
            self._processes.signal(process, signal.SIGKILL)
            raise InstanceError(
                f"cannot write {self._pid_file}: {why}; the server just started was ended", "make room"
            ) from why
