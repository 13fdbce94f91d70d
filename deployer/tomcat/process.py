"""One slot's Tomcat: its files, its process, its release.

Everything that is known of it lies in its base directory and in the process itself, so that any later deployer can
take over: Tomcat outlives the deployer, is found by its pid file, and without one by its command line.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from deployer import durable
from deployer.clock import SystemClock
from deployer.errors import InstanceError
from deployer.release import InstanceFacts
from deployer.tomcat import account as accounts
from deployer.tomcat import files, layout, log, ports
from deployer.tomcat.control import Control, ControlError
from deployer.tomcat.deployment import Deployment
from deployer.tomcat.processes import Processes, ProcessId
from deployer.tomcat.readiness import Health, Seen, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from deployer.clock import Clock
    from deployer.tomcat.home import Java, TomcatHome
    from deployer.tomcat.layout import InstanceSpec

KEPT_LOGS = 5
"""How many earlier runs' logs stay beside the current one: .1 is the newest."""

_LOOK_INTERVAL = 0.1
"""Seconds between two looks at a starting Tomcat, which tells nobody when it is ready."""

_PROBE_TIMEOUT = 5.0
_PROBE_BODY = 200
_KILL_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """How an instance came to its end. SIGKILL: requests that were still running were cut."""

    how: Literal["not running", "SIGTERM", "SIGKILL"]
    pid: int | None
    seconds: float


class Instance:
    """One slot's Tomcat. Construction touches nothing.

    env: the environment that Tomcat gets. Methods raise InstanceError, with the cause and what to do.
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
    ) -> None:
        self.spec = spec
        self.home = home
        self.java = java
        self.control = Control.of(spec)
        self._env = env
        self._processes = processes or Processes()
        self._clock: Clock = clock or SystemClock()
        self._deployment = Deployment(spec.base, spec.webapp)

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
        self._deployment.place(war, release_id, self.account)

    def obstacles(self) -> list[InstanceError]:
        """What would keep a stopped instance from listening on its ports, and who has them. It raises nothing."""
        found = []
        keys = ("http_port", "control_port", "cluster_port")
        for key, port in zip(keys, self.spec.ports, strict=False):
            problem = ports.bindable(self.spec.address, port)
            setting = f"slots.{self.spec.name}.{key}"
            if problem == "taken":
                found.append(InstanceError(str(ports.holder(port)), f"stop it, or set {setting}"))
            elif problem:
                message = f"port {port} cannot be listened on: {problem}"
                found.append(InstanceError(message, f"set {setting} to another port"))
        return found

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
        account = self.account
        try:
            descriptor = self._open_log(account)
        except OSError as why:
            raise InstanceError(f"cannot write the log {self.log_path}: {why}", "make room or mend the mode") from why
        try:
            command = layout.java_command(self.spec, self.home, self.java)
            env = {**self._env, **account.environment(self.spec.base)}
            pid = self._processes.launch(command, log=descriptor, cwd=self.spec.base, env=env, account=account)
        finally:
            os.close(descriptor)
        identity = self._processes.identity(pid)
        if identity is None:
            raise self._failure("its JVM ended at once")
        self._remember(identity)

    def wait_ready(self, health: Health, deadline: float, on_progress: Callable[[str], None]) -> None:
        """Waits until the application serves, at most `deadline` seconds from now.

        Ready means: the process lives, the application's state is STARTED, `health.path` gave 200 `health.successes`
        times in a row, and nothing SEVERE was logged since the start, but for session replication (see sessions.py).
        on_progress is called with a few words whenever the stage changes. Raises InstanceError with the log's cause.
        """
        end = self._clock.monotonic() + deadline
        process = self._running()
        told, passed, answer = "", 0, "no answer yet"
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
                answer = self._probe(health.path)
                passed = passed + 1 if answer == "200" else 0
                if passed >= health.successes:
                    break
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
        began = self._clock.monotonic()
        process = self._running()
        how: Literal["not running", "SIGTERM", "SIGKILL"] = "not running"
        if process is not None:
            how = "SIGTERM"
            self._processes.signal(process, signal.SIGTERM)
            if not self._processes.wait_exit(process, grace):
                how = "SIGKILL"
                self._processes.signal(process, signal.SIGKILL)
                if not self._processes.wait_exit(process, _KILL_WAIT):
                    raise InstanceError(
                        f"slot {self.spec.name}: pid {process.pid} does not end, not even by SIGKILL",
                        "the kernel holds it (a dead disk or mount?): see dmesg",
                    )
        if self._pid_file.exists():
            durable.remove(self._pid_file)
        return Stopped(how, process.pid if process else None, self._clock.monotonic() - began)

    def observe(self) -> InstanceFacts:
        """What it does now. Takes milliseconds, and at most a few seconds when Tomcat hangs. Raises nothing."""
        process = self._running()
        if process is None:
            return InstanceFacts(False, None, None, False, self._deployment.release_id(), None, None)
        sessions, ready = None, False
        try:
            ready = self.control.state_name() == "STARTED" and self._connects()
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
        return log.read_log(self.log_path)[-lines:] if lines > 0 else []

    @property
    def _pid_file(self) -> Path:
        return self.spec.base / "tomcat.pid.json"

    def _running(self) -> ProcessId | None:
        try:
            known = ProcessId(**json.loads(self._pid_file.read_bytes()))
        except (OSError, ValueError, TypeError):
            known = None
        if known is not None and self._processes.alive(known):
            return known
        # A deployer that was killed between the launch and the pid file leaves a Tomcat that only this finds.
        users = {os.geteuid(), self.account.uid}
        found = self._processes.find("java", layout.base_argument(self.spec.base), users)
        return found[0] if found else None

    def _remember(self, process: ProcessId) -> None:
        try:
            durable.write(self._pid_file, (json.dumps(asdict(process)) + "\n").encode(), 0o644)
        except OSError as why:
            self._processes.signal(process, signal.SIGKILL)
            raise InstanceError(
                f"cannot write {self._pid_file}: {why}; the Tomcat just started was ended", "make room"
            ) from why

    def _open_log(self, account: accounts.Account) -> int:
        """A new file for each run, so that what is in it happened since the start."""
        for number in range(KEPT_LOGS, 0, -1):
            older = self.log_path.with_name(f"{self.log_path.name}.{number}")
            newer = self.log_path.with_name(f"{self.log_path.name}.{number - 1}") if number > 1 else self.log_path
            if newer.exists():
                os.replace(newer, older)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(self.log_path, flags, 0o640)
        if account.other:
            os.fchown(descriptor, -1, account.gid)
        return descriptor

    def _look(self, process: ProcessId | None) -> Seen:
        if process is None or not self._processes.alive(process):
            return Seen(alive=False)
        try:
            service = self.control.service_state()
            return Seen(alive=True, control=True, application=self.control.state_name(), service=service)
        except ControlError:
            return Seen(alive=True)

    def _probe(self, path: str) -> str:
        """The status of one GET, and how its body begins unless it is 200; or why there was no answer."""
        connection = http.client.HTTPConnection(self.spec.address, self.spec.http_port, timeout=_PROBE_TIMEOUT)
        try:
            connection.request("GET", path, headers={"Connection": "close", "User-Agent": "switchyard-deployer"})
            response = connection.getresponse()
            if response.status == http.client.OK:
                return "200"
            words = " ".join(response.read(_PROBE_BODY).decode(errors="replace").split())
            return f"{response.status} {words}".rstrip()
        except (OSError, http.client.HTTPException) as why:
            return str(why) or type(why).__name__
        finally:
            connection.close()

    def _connects(self) -> bool:
        try:
            with socket.create_connection((self.spec.address, self.spec.http_port), timeout=1.0):
                return True
        except OSError:
            return False

    def _records(self) -> list[log.LogRecord]:
        return log.parse(log.read_log(self.log_path))

    def _failure(self, what: str, advice: str = "") -> InstanceError:
        try:
            cause = log.explain(self._records())
        except OSError as why:
            cause = f"its log cannot be read: {why}"
        lines = [f"slot {self.spec.name}: {what}", *([cause] if cause else []), f"log: {self.log_path}"]
        return InstanceError("\n".join(lines), advice or "mend the application, then release again")
