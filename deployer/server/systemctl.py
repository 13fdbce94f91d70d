"""Systemd as the one who starts and ends a slot's server: its unit is asked and ordered about by systemctl(1)."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import InstanceError
from deployer.server.launcher import Stopped
from deployer.server.log import fresh_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployer.clock import Clock
    from deployer.server.launcher import Launch, Launcher
    from deployer.server.processes import Processes, ProcessId

    Ask = Callable[[Sequence[str], float], subprocess.CompletedProcess[str]]
    """Runs systemctl with these arguments, so many seconds at most. Raises OSError, subprocess.TimeoutExpired."""

UNIT_DIRECTORY = "/etc/systemd/system"
ASK_SECONDS = 10.0
STOP_MARGIN = 15.0
"""Seconds more than the stop itself, in which systemd kills what is left."""

_FACTS = ("LoadState", "ActiveState", "MainPID", "Result", "NeedDaemonReload", "FragmentPath")
_GONE = ("inactive", "failed")


def systemctl(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """The real one."""
    return subprocess.run(
        ["systemctl", "--no-ask-password", "--no-pager", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
        timeout=seconds,
        check=False,
    )


@dataclass(frozen=True)
class SystemdLauncher:
    """See Launcher. unit: its name. text: what its file should be; asked for only where a slot is to start.

    own: how the deployer would start it. A server that it started, before `tomcat.run` became systemd, is found too.
    """

    unit: str
    text: Callable[[], str]
    own: Launcher
    ask: Ask
    processes: Processes
    clock: Clock

    def running(self) -> ProcessId | None:
        """See Launcher."""
        try:
            process = self._main(self._facts())
        except InstanceError:
            process = None
        return process or self.own.running()

    def obstacles(self) -> list[InstanceError]:
        """See Launcher: systemd does not run, or its unit is not what deployer.yaml says."""
        write = f"`deployer systemd --write {UNIT_DIRECTORY}`, then `systemctl daemon-reload`"
        try:
            facts = self._facts()
        except InstanceError as error:
            return [error]
        if facts.get("LoadState") != "loaded":
            return [InstanceError(f"systemd has no unit {self.unit} ({facts.get('LoadState', 'unknown')})", write)]
        if facts.get("NeedDaemonReload") == "yes":
            return [InstanceError(f"systemd has not read the new {self.unit} yet", "`systemctl daemon-reload`")]
        path = Path(facts.get("FragmentPath", ""))
        try:
            same = path.read_text("utf-8") == self.text()
        except OSError as why:
            return [InstanceError(f"cannot read {path}: {why.strerror}", "mend its mode")]
        return [] if same else [InstanceError(f"{path} is not what deployer.yaml says now", write)]

    def launch(self, launch: Launch) -> ProcessId | None:
        """See Launcher. The unit has the same command, and appends to the log that is made here."""
        os.close(fresh_log(launch.log, launch.account))
        # After several failed starts systemd refuses the next one for a while; here a person or a release asks for it.
        self._order("reset-failed", ASK_SECONDS, must=False)
        self._order("start", ASK_SECONDS)
        return self._main(self._facts())

    def stop(self, grace: float) -> Stopped:
        """See Launcher. `grace`: the unit's own time to stop counts; this bounds the wait for it."""
        began = self.clock.monotonic()
        facts = self._facts_or_none()
        if facts is None or facts.get("ActiveState", "inactive") in _GONE:
            return self.own.stop(grace)
        process = self._main(facts)
        self._order("stop", grace + STOP_MARGIN)
        killed = self._facts().get("Result") == "timeout"
        seconds = self.clock.monotonic() - began
        return Stopped("SIGKILL" if killed else "SIGTERM", process.pid if process else None, seconds)

    def _main(self, facts: Mapping[str, str]) -> ProcessId | None:
        pid = facts.get("MainPID", "0")
        return self.processes.identity(int(pid)) if pid.isdigit() and pid != "0" else None

    def _facts_or_none(self) -> Mapping[str, str] | None:
        try:
            return self._facts()
        except InstanceError:
            return None

    def _facts(self) -> Mapping[str, str]:
        """What systemd says of the unit, also when it has none. Raises InstanceError when it does not answer."""
        done = self._run(["show", f"--property={','.join(_FACTS)}", self.unit], ASK_SECONDS)
        if done.returncode != 0:
            raise _no_systemd(_words(done))
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    def _order(self, verb: str, seconds: float, *, must: bool = True) -> None:
        done = self._run([verb, self.unit], seconds)
        if must and done.returncode != 0:
            raise InstanceError(
                f"systemctl {verb} {self.unit} failed: {_words(done)}",
                f"see `systemctl status {self.unit}`; systemd obeys root, or whom polkit lets manage this unit",
            )

    def _run(self, arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        try:
            return self.ask(arguments, seconds)
        except OSError as why:
            raise _no_systemd(f"systemctl: {why.strerror}") from why
        except subprocess.TimeoutExpired as why:
            raise InstanceError(
                f"systemctl {arguments[0]} {self.unit} took longer than {seconds:g} s", "is systemd busy or stuck?"
            ) from why


def _no_systemd(why: str) -> InstanceError:
    return InstanceError(
        f"tomcat.run is systemd, and systemd does not answer: {why}",
        "start the machine with systemd (a container often has none), or set tomcat.run: process",
    )


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
