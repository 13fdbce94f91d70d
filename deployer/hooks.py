"""The operator's commands: run by the shell, with a time limit, their output captured and shown when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from deployer.errors import ReleaseFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.clock import Clock
    from deployer.site import Say

_LOOK = 0.25
"""Seconds between two looks at a command that runs, so that an interrupt and its time limit are noticed."""
_SHOWN_LINES = 20
_SHOWN_BYTES = 16 * 1024


class Command(Protocol):
    """A shell command. timeout: seconds."""

    @property
    def run(self) -> str:
        """See the class."""

    @property
    def timeout(self) -> float:
        """See the class."""


@dataclass(frozen=True, slots=True)
class ShellHooks:
    """Commands by moment. base: the environment to which each moment's variables are added."""

    commands: Mapping[str, Sequence[Command]]
    base: Mapping[str, str]
    clock: Clock

    def run(self, moment: str, environment: Mapping[str, str], say: Say) -> str:
        """Runs the moment's commands in order; returns the end of what each one printed.

        Raises ReleaseFailed, with the same, when one fails.
        """
        commands = self.commands.get(moment, ())
        printed: list[str] = []
        for command in commands:
            say(f"runs {command.run}")
            printed += self._run_one(moment, command, {**self.base, **environment})
        return "\n".join([f"hooks.{moment}: {len(commands)} done", *(f"  {line}" for line in printed)])

    def _run_one(self, moment: str, command: Command, environment: Mapping[str, str]) -> list[str]:
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", command.run],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise ReleaseFailed(f"hooks.{moment} can't be started: {error}") from error
            try:
                status = self._wait(process, command.timeout)
            finally:
                _end(process)
            if status == 0:
                return _tail(output)
            how = f"ended with status {status}" if status is not None else f"took longer than {command.timeout:g} s"
            said = "".join(f"\n  {line}" for line in _tail(output))
            raise ReleaseFailed(f"hooks.{moment}: `{command.run}` {how}{said}", "mend the command, then release again")

    def _wait(self, process: subprocess.Popen[bytes], timeout: float) -> int | None:
        end = self.clock.monotonic() + timeout
        while (status := process.poll()) is None and self.clock.monotonic() < end:
            self.clock.sleep(_LOOK)
        return status


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the command and all that it started in its session, if it still runs."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(output: IO[bytes]) -> list[str]:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _SHOWN_BYTES))
    return output.read().decode("utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
