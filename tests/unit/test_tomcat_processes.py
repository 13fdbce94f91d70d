"""Processes, their ports, and who runs them, on this machine. A copy of the shell named `java` plays Tomcat."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.errors import InstanceError
from deployer.server import account as accounts
from deployer.server import ports
from deployer.server.processes import Processes, ProcessId

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "-Dcatalina.base=/nowhere/switchyard-test"


@pytest.fixture
def java(tmp_path: Path) -> Path:
    return Path(shutil.copy("/bin/sh", tmp_path / "java"))


@pytest.fixture
def launched(java: Path, tmp_path: Path) -> Iterator[ProcessId]:
    processes = Processes()
    with (tmp_path / "log").open("wb") as log:
        pid = processes.launch(
            [str(java), "-c", "echo out; echo err >&2; read x; while :; do sleep 30; done", MARK],
            log=log.fileno(),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            account=accounts.named(None, []),
        )
    identity = processes.identity(pid)
    assert identity is not None
    yield identity
    if processes.alive(identity):
        os.killpg(os.getpgid(identity.pid), signal.SIGKILL)


def test_a_process_lives_on_by_itself(launched: ProcessId, tmp_path: Path) -> None:
    processes = Processes()
    assert processes.alive(launched)
    assert os.getsid(launched.pid) != os.getsid(0)
    assert processes.memory(launched.pid)
    assert MARK in processes.command(launched.pid)
    assert os.stat(f"/proc/{launched.pid}").st_uid == os.geteuid()
    assert not processes.wait_exit(launched, 0.05)


def test_output_goes_to_the_log(java: Path, tmp_path: Path) -> None:
    processes = Processes()
    with (tmp_path / "log").open("wb") as log:
        pid = processes.launch(
            [str(java), "-c", "echo out; echo err >&2"],
            log=log.fileno(),
            cwd=tmp_path,
            env={},
            account=accounts.named(None, []),
        )
    identity = processes.identity(pid)
    assert identity is None or processes.wait_exit(identity, 10)
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_it_is_found_by_its_command_line(launched: ProcessId) -> None:
    processes = Processes()
    # Between a fork and an exec its child has the same command line.
    assert processes.find("java", MARK, {os.geteuid()})[0] == launched
    assert processes.find("javac", MARK, {os.geteuid()}) == []
    assert processes.find("java", MARK + "x", {os.geteuid()}) == []
    assert processes.find("java", MARK, {os.geteuid() + 1}) == []


def test_a_pid_that_was_given_to_another_is_left_alone(launched: ProcessId) -> None:
    processes = Processes()
    for other in (
        replace(launched, start_ticks=launched.start_ticks - 1),
        replace(launched, boot="another-boot"),
    ):
        assert not processes.alive(other)
        assert processes.signal(other, signal.SIGKILL) is False
        assert processes.wait_exit(other, 5)
    assert processes.alive(launched)


def test_the_end_of_a_process_is_seen(launched: ProcessId) -> None:
    processes = Processes()
    assert processes.signal(launched, signal.SIGKILL)
    assert processes.wait_exit(launched, 5)
    assert processes.identity(launched.pid) is None
    assert processes.signal(launched, signal.SIGTERM) is False
    assert processes.memory(launched.pid) is None
    assert processes.command(launched.pid) == []


def test_what_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, pytest.raises(InstanceError, match="cannot start"):
        Processes().launch(
            ["/bin/true"], log=log.fileno(), cwd=tmp_path / "none", env={}, account=accounts.named(None, [])
        )


def test_the_holder_of_a_port_is_named() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert ports.bindable("127.0.0.1", port) == "taken"
        found = ports.holder(port)
        assert found.pid == os.getpid()
        assert str(found) == f"port {port} is taken by pid {os.getpid()} ({found.program})"
    assert ports.bindable("127.0.0.1", port) == ""


def test_a_holder_that_the_kernel_hides_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text("  sl  local_address\n")
    assert "another user" in str(ports.holder(8081, tmp_path))


def test_an_address_that_is_not_ours_is_a_reason() -> None:
    assert ports.bindable("192.0.2.1", 8081) not in ("", "taken")


def test_tomcat_runs_as_its_own_user_where_it_can_reach_its_files(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    chosen = accounts.choose([tmp_path / "base"], "nobody")
    if os.geteuid() != 0:
        assert chosen == accounts.named(None, [])
        return
    assert (chosen.uid, chosen.other) == (0, False)
    assert "chmod o+x" in chosen.warning
    reachable = accounts.choose([Path("/usr/share")], "nobody")
    assert (reachable.name, reachable.other, reachable.warning) == ("nobody", True, "")
    assert reachable.popen_arguments["user"] == reachable.uid


def test_without_the_user_it_runs_as_ours() -> None:
    chosen = accounts.choose([], "no-such-user-here")
    assert (chosen.uid, chosen.other) == (os.geteuid(), False)
    assert ("no user no-such-user-here" in chosen.warning) == (os.geteuid() == 0)
    assert accounts.named(None, []).popen_arguments == {}
