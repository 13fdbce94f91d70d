"""A unit that systemctl is asked about: odd answers, and how a stop is told."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.errors import InstanceError
from deployer.server.account import Account
from deployer.server.launcher import Launch, Stopped
from deployer.server.processes import ProcessId
from deployer.server.systemctl import SystemdLauncher
from deployer.tomcat.unit import unit_text

if TYPE_CHECKING:
    from collections.abc import Sequence

PROCESS = ProcessId(4711, 99, "boot")


class FakeClock:
    def monotonic(self) -> float:
        return 0.0


class Processes:
    def identity(self, pid: int) -> ProcessId | None:
        return PROCESS if pid == PROCESS.pid else None


class Own:
    """The process way, by which nothing runs but `process`."""

    def __init__(self) -> None:
        self.process: ProcessId | None = None

    def running(self) -> ProcessId | None:
        return self.process

    def stop(self, grace: float) -> Stopped:
        return Stopped("not running", None, 0.0)


@dataclass
class Systemctl:
    """Answers `show` with facts, and orders with a status."""

    facts: dict[str, str]
    orders: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fails: Exception | None = None

    def __call__(self, arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        self.asked.append(arguments[0])
        if self.fails:
            raise self.fails
        if arguments[0] == "show":
            return subprocess.CompletedProcess(arguments, 0, "".join(f"{k}={v}\n" for k, v in self.facts.items()), "")
        code, words = self.orders.get(arguments[0], (0, ""))
        return subprocess.CompletedProcess(arguments, code, "", words)


def launcher(ask: Systemctl, own: Own | None = None, text: str = "unit") -> SystemdLauncher:
    return SystemdLauncher("x.service", lambda: text, own or Own(), ask, Processes(), FakeClock())  # type: ignore[arg-type]


def test_its_main_process_runs_else_what_the_deployer_had_started() -> None:
    assert launcher(Systemctl({"MainPID": "4711"})).running() == PROCESS
    own = Own()
    own.process = ProcessId(5, 5, "boot")
    assert launcher(Systemctl({"MainPID": "0"}), own).running() == own.process
    assert launcher(Systemctl({}, fails=FileNotFoundError(2, "No such file")), own).running() == own.process


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"LoadState": "masked"}, "systemd has no unit x.service (masked)"),
        ({"LoadState": "loaded", "NeedDaemonReload": "yes"}, "has not read the new x.service yet"),
        ({"LoadState": "loaded", "FragmentPath": "/nowhere/x.service"}, "cannot read /nowhere/x.service"),
    ],
)
def test_a_unit_that_is_not_as_it_should_be(facts: dict[str, str], expected: str) -> None:
    [problem] = launcher(Systemctl(facts)).obstacles()
    assert expected in str(problem)
    assert problem.advice


def test_a_unit_must_be_what_the_settings_say(tmp_path: Path) -> None:
    file = tmp_path / "x.service"
    file.write_text("unit")
    facts = {"LoadState": "loaded", "FragmentPath": str(file)}
    assert launcher(Systemctl(facts)).obstacles() == []
    assert "is not what deployer.yaml says now" in str(launcher(Systemctl(facts), text="other").obstacles()[0])


@pytest.mark.parametrize(
    "fails", [FileNotFoundError(2, "No such file or directory"), subprocess.TimeoutExpired("systemctl", 10)]
)
def test_no_answer_is_an_obstacle(fails: Exception) -> None:
    [problem] = launcher(Systemctl({}, fails=fails)).obstacles()
    assert "systemctl" in str(problem)


@pytest.mark.parametrize(("result", "how"), [("success", "SIGTERM"), ("timeout", "SIGKILL")])
def test_a_stop_tells_whether_it_was_killed(result: str, how: str) -> None:
    ask = Systemctl({"ActiveState": "active", "MainPID": "4711", "Result": result})
    assert launcher(ask).stop(5) == Stopped(how, 4711, 0.0)  # type: ignore[arg-type]
    assert "stop" in ask.asked
    idle = Systemctl({"ActiveState": "failed"})
    assert launcher(idle).stop(5).how == "not running"
    assert idle.asked == ["show"]


def test_a_refused_order_says_whom_systemd_obeys(tmp_path: Path) -> None:
    ask = Systemctl({}, {"start": (1, "Interactive authentication required.\n")})
    with pytest.raises(InstanceError, match=r"start x\.service failed: Interactive authentication required") as error:
        launcher(ask).launch(launch(tmp_path))
    assert "obeys root" in error.value.advice
    assert (tmp_path / "log").exists()


def launch(base: Path) -> Launch:
    account = Account("tomcat", os.geteuid(), os.getegid())
    return Launch(["/jdk/bin/java", "-Dprice=5$", "-Dx=100%", "start"], base, {}, account, base / "log")


def test_the_unit_has_the_same_command_and_writes_what_tomcat_writes(tmp_path: Path) -> None:
    text = unit_text("shop", "temp", Path("/usr/share/tomcat10"), launch(Path("/srv/the shop")), 7.5)
    lines = text.splitlines()
    assert "ExecStart=/jdk/bin/java -Dprice=5$$ -Dx=100%% start" in lines
    assert {"User=tomcat", "TimeoutStopSec=8", "SuccessExitStatus=143", "CapabilityBoundingSet="} <= set(lines)
    assert 'ReadWritePaths="/srv/the shop/webapps"' in lines
    assert not any("conf" in line for line in lines if line.startswith("ReadWritePaths"))
    assert "MemoryDenyWriteExecute=yes" not in lines
