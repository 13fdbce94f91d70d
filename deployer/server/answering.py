"""A slot's server that is known by its process, its log and its answers alone: no control service, no sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import InstanceError
from deployer.release import InstanceFacts
from deployer.server.log import read_log
from deployer.server.probe import port_obstacles, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deployer.clock import Clock
    from deployer.server.deployment import Deployment
    from deployer.server.launcher import Launch, Launcher, Stopped
    from deployer.server.probe import Health
    from deployer.server.processes import Processes
    from deployer.site import Say

_LOOK_INTERVAL = 0.1
"""Seconds between two looks at a starting server, which tells nobody when it is ready."""

_PROBE_TIMEOUT = 5.0
_STATUS_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Address:
    """The slot's name, and where its server answers HTTP."""

    slot: str
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Scheme, host and port. The context path comes after it."""
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True)
class AnsweringServer:
    """Its methods raise InstanceError, with the cause and what to do. explain: why a start failed, from the log."""

    address: Address
    log: Path
    health: Health
    launcher: Launcher
    deployment: Deployment
    explain: Callable[[Sequence[str]], str]
    processes: Processes
    clock: Clock

    def observe(self) -> InstanceFacts:
        """What it does now; ready is whether health.path answers 200. At most a few seconds. Raises nothing."""
        process = self.launcher.running()
        release = self.deployment.release_id()
        if process is None:
            return InstanceFacts(False, None, None, False, release, None, None)
        return InstanceFacts(
            running=True,
            pid=process.pid,
            started=self.processes.started(process),
            http_ready=self._probe(_STATUS_TIMEOUT) == "200",
            release_id=release,
            sessions=None,
            memory=self.processes.memory(process.pid),
        )

    def obstacles(self) -> list[InstanceError]:
        """Who has the stopped server's port. Raises nothing."""
        return port_obstacles(self.address.slot, self.address.host, {"http_port": self.address.port})

    def need_stopped(self) -> None:
        """Raises InstanceError when it runs: a release is never replaced under a running server."""
        process = self.launcher.running()
        if process is not None:
            raise InstanceError(
                f"slot {self.address.slot} runs as pid {process.pid}: a release is never replaced under it",
                f"stop it first: deployer stop {self.address.slot}",
            )

    def start(self, make: Callable[[Path], Launch]) -> None:
        """Starts it and returns. make: what to launch for the deployed file."""
        slot, process = self.address.slot, self.launcher.running()
        if process is not None:
            raise InstanceError(f"slot {slot} runs already, as pid {process.pid}", f"deployer stop {slot}")
        file = self.deployment.file()
        if file is None:
            raise InstanceError(f"nothing is deployed in slot {slot}", "make a release first")
        for obstacle in self.obstacles():
            raise obstacle
        if self.launcher.launch(make(file)) is None:
            raise self._failure("its process ended at once")

    def wait_ready(self, deadline: float, say: Say) -> None:
        """Waits until its process lives and health.path gave 200 `successes` times in a row."""
        end = self.clock.monotonic() + deadline
        process = self.launcher.running()
        told, passed = "", 0
        while True:
            if process is None or not self.processes.alive(process):
                raise self._failure("its process ended while it started")
            answer = self._probe(_PROBE_TIMEOUT)
            passed = passed + 1 if answer == "200" else 0
            # Another program on our port would answer too; then ours has ended.
            if passed >= self.health.successes and self.processes.alive(process):
                break
            stage = f"{self.health.path} answers: {answer}"
            if stage != told:
                say(stage)
                told = stage
            if self.clock.monotonic() >= end:
                raise self._failure(
                    f"it was not ready within {deadline:g} s ({told})", "mend the application, or raise health.timeout"
                )
            self.clock.sleep(_LOOK_INTERVAL)
        say("ready")

    def stop(self, grace: float) -> Stopped:
        """Asks it to stop (SIGTERM), waits `grace` seconds, then kills it and what it has left behind."""
        return self.launcher.stop(grace)

    def tail(self, lines: int) -> list[str]:
        """The last lines of the log of the current or last run."""
        return read_log(self.log)[-lines:] if lines > 0 else []

    def _probe(self, timeout: float) -> str:
        return probe(self.address.host, self.address.port, self.health.path or "/", timeout)

    def _lines(self) -> list[str]:
        try:
            return read_log(self.log)
        except OSError as why:
            return [f"its log cannot be read: {why}"]

    def _failure(self, what: str, advice: str = "") -> InstanceError:
        cause = self.explain(self._lines())
        lines = [f"slot {self.address.slot}: {what}", *([cause] if cause else []), f"log: {self.log}"]
        return InstanceError("\n".join(lines), advice or "mend the application, then release again")
