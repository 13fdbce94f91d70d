"""One slot's Tomcat: its files, its process, its release.

Everything that is known of it lies in its base directory and in the process itself, so that any later deployer can
take over: Tomcat outlives the deployer, is found by its pid file, and without one by its command line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployer.clock import SystemClock
from deployer.errors import InstanceError
from deployer.release import InstanceFacts
from deployer.server import account as accounts
from deployer.server.deployment import Deployment
from deployer.server.launcher import Launch, ProcessLauncher, Stopped
from deployer.server.log import read_log
from deployer.server.probe import Health, connects, port_obstacles, probe
from deployer.server.processes import Processes, ProcessId
from deployer.tomcat import files, layout, log
from deployer.tomcat.control import Control, ControlError
from deployer.tomcat.readiness import Seen, Streak, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deployer.clock import Clock
    from deployer.server.java import Java
    from deployer.server.launcher import Launcher
    from deployer.tomcat.home import TomcatHome
    from deployer.tomcat.layout import InstanceSpec

_LOOK_INTERVAL = 0.1
"""Seconds between two looks at a starting Tomcat, which tells nobody when it is ready."""

_PROBE_TIMEOUT = 5.0
_PORT_KEYS = ("http_port", "control_port", "cluster_port")


class Instance:
    """One slot's Tomcat. Construction touches nothing.

    env: the environment that Tomcat gets. launcher: makes who starts it from the
    deployer's own way; None is that way.
    Methods raise InstanceError, with the cause and what to do.
    """

    def __init__(
        self,
        spec: InstanceSpec,
        home: TomcatHome,
        java: Java,
        *,
        env: Mapping[str, str],
        processes: Processes | None = None,
        clock: Clock | None = None,
        launcher: Callable[[Instance, Launcher], Launcher] | None = None,
    ) -> None:
        self.spec = spec
        self.home = home
        self.java = java
        self.control = Control.of(spec)
        self._env = env
        self._processes = processes or Processes()
        self._clock: Clock = clock or SystemClock()
        self._deployment = Deployment(
            spec.base,
            "webapps",
            (*(("webapps", name) for name in (spec.webapp, f"{spec.webapp}.war", f"{spec.webapp}##*")), ("work", "*")),
        )
        own = ProcessLauncher(spec.name, spec.base / "tomcat.pid.json", self._find, self._processes, self._clock)
        self._launcher: Launcher = launcher(self, own) if launcher else own

    def __repr__(self) -> str:
        process = self._running()
        state = f"pid {process.pid}" if process else "stopped"
        return f"<Instance {self.spec.name} {state} release {self._deployment.release_id()} in {self.spec.base}>"

    @property
    def log_path(self) -> Path:
        """The log of the current or last run: stdout and stderr. Earlier runs are beside it as .1, .2 …"""
        return self.spec.log_file

    @property
    def account(self) -> accounts.Account:
        """Who runs it; its `warning` is worth showing."""
        needed = [self.spec.base, self.home.path / "bin", self.home.path / "lib", self.java.path.parent]
        return accounts.named(self.spec.user, needed)

    def prepare(self) -> list[str]:
        """Writes the directories and files that are not as `spec` says; the paths that it changed.

        A running Tomcat reads them at its next start. Raises ConfigurationError.
        """
        return files.prepare(self.spec, self.home, self.account)

    def deploy(self, war: Path, release_id: str) -> None:
        """Puts a WAR into the stopped instance. release_id: how the WAR's SHA-256 in hex begins."""
        process = self._running()
        if process is not None:
            raise InstanceError(
                f"slot {self.spec.name} runs as pid {process.pid}: a WAR is never replaced under a running Tomcat",
                f"stop it first: deployer stop {self.spec.name}",
            )
        self._deployment.place(war, release_id, self.account, f"{self.spec.webapp}.war")

    def faults(self) -> list[InstanceError]:
        """What would keep it from being started again, but for ports. It raises nothing."""
        return self._launcher.obstacles()

    def obstacles(self) -> list[InstanceError]:
        """What would keep a stopped instance from listening on its ports, and who has them. It raises nothing."""
        spec = self.spec
        wanted = dict(zip(_PORT_KEYS, spec.ports, strict=False))
        return [*self.faults(), *port_obstacles(spec.name, spec.address, wanted)]

    def start(self) -> None:
        """Starts the JVM and returns; `wait_ready` waits for the application.

        Raises InstanceError when it runs already, nothing is deployed, or a port is taken (by whom).
        """
        process = self._running()
        if process is not None:
            raise InstanceError(
                f"slot {self.spec.name} runs already, as pid {process.pid}", f"deployer stop {self.spec.name}"
            )
        if self._deployment.release_id() is None:
            raise InstanceError(f"nothing is deployed in slot {self.spec.name}", "release a WAR first")
        for obstacle in self.obstacles():
            raise obstacle
        if self._launcher.launch(self.launch()) is None:
            raise self._failure("its JVM ended at once")

    def launch(self) -> Launch:
        """What is started: the same command for whoever starts it."""
        account = self.account
        command = layout.java_command(self.spec, self.home, self.java)
        env = {**self._env, **account.environment(self.spec.base)}
        return Launch(command, self.spec.base, env, account, self.log_path)

    def wait_ready(self, health: Health, deadline: float, on_progress: Callable[[str], None]) -> None:
        """Waits until the application serves, at most `deadline` seconds from now.

        Ready means: the process lives, the application's state is STARTED, `health.path` gave 200 `health.successes`
        times in a row, and nothing SEVERE was logged since the start, but for session replication (see sessions.py).
        An application that has started and steadily answers with another status is not waited for (see Streak).
        on_progress is called with a few words whenever the stage changes. Raises InstanceError with the log's cause.
        """
        end = self._clock.monotonic() + deadline
        process = self._running()
        told, streak = "", Streak(health.successes)
        while True:
            seen = self._look(process)
            verdict = judge(seen)
            if verdict is Verdict.DIED:
                raise self._failure("its process ended while it started")
            if verdict is Verdict.FAILED:
                raise self._failure(f"the application did not start (its state is {seen.application or 'absent'})")
            stage = str(seen)
            if verdict is Verdict.PROBE:
                if health.path is None:
                    break
                answer = probe(self.spec.address, self.spec.http_port, health.path, _PROBE_TIMEOUT)
                streak.add(answer, self._clock.monotonic())
                if streak.passed:
                    break
                if streak.definite:
                    raise self._failure(f"it has started, and {health.path} answers: {answer}")
                stage = f"{health.path} answers: {answer}"
            if stage != told:
                on_progress(stage)
                told = stage
            if self._clock.monotonic() >= end:
                raise self._failure(
                    f"it was not ready within {deadline:g} s ({told})", "mend the application, or raise health.timeout"
                )
            self._clock.sleep(_LOOK_INTERVAL)
        if log.severe(self._records()):
            raise self._failure("it answers, but logged a SEVERE record while it started")
        on_progress("ready")

    def stop(self, grace: float) -> Stopped:
        """Asks it to stop (SIGTERM), waits `grace` seconds for requests in flight, then kills it."""
        return self._launcher.stop(grace)

    def observe(self) -> InstanceFacts:
        """What it does now. Takes milliseconds, and at most a few seconds when Tomcat hangs. Raises nothing."""
        process = self._running()
        if process is None:
            return InstanceFacts(False, None, None, False, self._deployment.release_id(), None, None)
        sessions, ready = None, False
        try:
            ready = self.control.state_name() == "STARTED" and connects(self.spec.address, self.spec.http_port)
            sessions = self.control.active_sessions()
        except ControlError:
            ready = False
        return InstanceFacts(
            running=True,
            pid=process.pid,
            started=self._processes.started(process),
            http_ready=ready,
            release_id=self._deployment.release_id(),
            sessions=sessions,
            memory=self._processes.memory(process.pid),
        )

    def records(self) -> list[log.LogRecord]:
        """What the current or last run logged. Raises InstanceError when the log cannot be read."""
        try:
            return self._records()
        except OSError as why:
            raise InstanceError(f"cannot read the log {self.log_path}: {why}", "mend the file's mode") from why

    def tail(self, lines: int) -> list[str]:
        """The last lines of the log of the current or last run."""
        return read_log(self.log_path)[-lines:] if lines > 0 else []

    def _running(self) -> ProcessId | None:
        return self._launcher.running()

    def _find(self) -> Sequence[ProcessId]:
        users = {os.geteuid(), self.account.uid}
        return self._processes.find("java", layout.base_argument(self.spec.base), users)

    def _look(self, process: ProcessId | None) -> Seen:
        if process is None or not self._processes.alive(process):
            return Seen(alive=False)
        try:
            service = self.control.service_state()
            return Seen(alive=True, control=True, application=self.control.state_name(), service=service)
        except ControlError:
            return Seen(alive=True)

    def _records(self) -> list[log.LogRecord]:
        return log.parse(read_log(self.log_path))

    def _failure(self, what: str, advice: str = "") -> InstanceError:
        try:
            cause = log.explain(self._records())
        except OSError as why:
            cause = f"its log cannot be read: {why}"
        lines = [f"slot {self.spec.name}: {what}", *([cause] if cause else []), f"log: {self.log_path}"]
        return InstanceError("\n".join(lines), advice or "mend the application, then release again")
