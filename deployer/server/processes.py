"""Processes of this machine: start one that outlives us, find it again, signal it, wait for its end.

Linux: proc(5) and pidfd_open(2). A process is known by its pid, its start time and the boot, so that a pid that was
given to another process since is never taken for ours.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import InstanceError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from deployer.server.account import Account

# The shell starts the program in the background, tells its pid and ends: the program is then nobody's child, so that
# it needs no reaping and looks the same to the deployer that started it and to a later one.
_LAUNCH = '"$@" 2>&1 </dev/null & echo $! >&2'


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process for all time. start_ticks: since the boot, in clock ticks (proc(5), stat field 22)."""

    pid: int
    start_ticks: int
    boot: str


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes under `proc`, normally /proc."""

    proc: Path = Path("/proc")

    def launch(self, command: Sequence[str], *, log: int, cwd: Path, env: Mapping[str, str], account: Account) -> int:
        """Starts `command` as `account` in a session of its own, with output to the descriptor `log`; its pid.

        Raises InstanceError when it cannot be started at all.
        """
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", _LAUNCH, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=dict(env),
                start_new_session=True,
                umask=0o027,
                timeout=10,
                check=True,
                **account.popen_arguments,
            )
            return int(done.stderr)
        except (OSError, subprocess.SubprocessError, ValueError) as why:
            raise InstanceError(f"cannot start {command[0]}: {why}") from why

    def identity(self, pid: int) -> ProcessId | None:
        """The process that has this pid now; None when there is none or it has ended (a zombie)."""
        fields = self._stat(pid)
        if fields is None or fields[0] in ("Z", "X"):
            return None
        return ProcessId(pid, int(fields[19]), self._boot())

    def alive(self, process: ProcessId) -> bool:
        """Whether this very process still runs."""
        return self.identity(process.pid) == process

    def started(self, process: ProcessId) -> float:
        """When it started, in Unix seconds, to about a second."""
        ticks = os.sysconf("SC_CLK_TCK")
        uptime = float((self.proc / "uptime").read_text().split()[0])
        return time.time() - uptime + process.start_ticks / ticks

    def memory(self, pid: int) -> int | None:
        """Resident bytes; None when it is gone."""
        try:
            pages = (self.proc / str(pid) / "statm").read_text().split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE") or None

    def command(self, pid: int) -> list[str]:
        """Its command line; [] when it is gone or hidden from us."""
        try:
            text = (self.proc / str(pid) / "cmdline").read_bytes().decode("utf-8", errors="replace")
        except OSError:
            return []
        return text.rstrip("\0").split("\0") if text else []

    def find(self, program: str, argument: str, uids: Collection[int]) -> list[ProcessId]:
        """The processes of these users whose program's file name is `program` and that were given `argument`."""
        found = []
        for entry in self.proc.iterdir():
            if not entry.name.isdigit():
                continue
            try:
                owner = entry.stat().st_uid
            except OSError:
                continue
            command = self.command(int(entry.name)) if owner in uids else []
            if argument in command and Path(command[0]).name == program:
                identity = self.identity(int(entry.name))
                found += [identity] if identity else []
        return sorted(found, key=lambda process: process.start_ticks)

    def find_marked(self, variable: str, value: str, uids: Collection[int]) -> list[ProcessId]:
        """The processes of these users in whose environment `variable` is `value`, but for this one; oldest first."""
        wanted = f"{variable}={value}".encode()
        found = []
        for entry in self.proc.iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                marked = entry.stat().st_uid in uids and wanted in (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            identity = self.identity(int(entry.name)) if marked else None
            found += [identity] if identity else []
        return sorted(found, key=lambda process: (process.start_ticks, process.pid))

    def signal(self, process: ProcessId, number: signal.Signals) -> bool:
        """Signals it; False when it has ended. Raises InstanceError when we are not allowed to."""
        descriptor = self._open(process)
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        except PermissionError as why:
            raise InstanceError(
                f"not allowed to signal pid {process.pid}: another user runs it",
                "run the deployer as the user who started it, or as root",
            ) from why
        finally:
            os.close(descriptor)
        return True

    def wait_exit(self, process: ProcessId, seconds: float) -> bool:
        """Waits until it has ended, at most so long; whether it has."""
        descriptor = self._open(process)
        if descriptor is None:
            return True
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(max(0.0, seconds) * 1000))
        finally:
            os.close(descriptor)

    def _open(self, process: ProcessId) -> int | None:
        """A descriptor that stays with the process even if its pid is given to another."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return None
        if self.alive(process):
            return descriptor
        os.close(descriptor)
        return None

    def _stat(self, pid: int) -> list[str] | None:
        """The fields after the command name, which may itself hold spaces and parentheses; [0] is the state."""
        try:
            text = (self.proc / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            return None
        return text.rpartition(")")[2].split() or None

    def _boot(self) -> str:
        try:
            return (self.proc / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
