"""One supervisor per directory; orphaned workers; who holds a port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.address import Endpoint
from proxy.control import orphans
from proxy.control.listeners import KEEPALIVE_IDLE, Listeners
from proxy.control.pid_file import PidFile, running_pid
from proxy.control.port_holder import port_holder
from proxy.errors import RefusedError, StateError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_directory_has_one_supervisor(tmp_path: Path) -> None:
    directory = str(tmp_path / "deep" / "state")
    assert running_pid(directory) is None
    lock = PidFile.acquire(directory)
    assert running_pid(directory) == os.getpid()
    with pytest.raises(RefusedError, match=f"already runs as pid {os.getpid()}"):
        PidFile.acquire(directory)
    lock.close()
    assert running_pid(directory) is None
    PidFile.acquire(directory).close()


def test_a_pid_file_of_a_dead_supervisor_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "proxy.pid").write_text("1\n")
    assert running_pid(str(tmp_path)) is None
    PidFile.acquire(str(tmp_path)).close()


def test_a_directory_that_can_not_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="can't be written"):
        PidFile.acquire(str(tmp_path / "file" / "state"))


def test_orphans_are_known_by_pid_and_start(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        orphans.record(str(tmp_path), [child.pid, 2**22 + 1])
        assert orphans.recorded(str(tmp_path)) == [child.pid]
        text = (tmp_path / "workers").read_text()
        (tmp_path / "workers").write_text(f"{os.getpid()} 1\nx\n\n{text}")
        assert orphans.recorded(str(tmp_path)) == [child.pid], "another start is another process"
        noted = orphans.noted(str(tmp_path))
        assert set(noted) == {os.getpid(), child.pid}
        assert orphans.alive(noted) == [child.pid]
        orphans.dismiss([child.pid])
        assert child.wait(10) == -signal.SIGTERM
        assert orphans.recorded(str(tmp_path)) == []
        orphans.dismiss([child.pid])
    finally:
        child.kill()
        child.wait()
    assert orphans.recorded(str(tmp_path / "none")) == []


def test_the_holder_of_a_port_is_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert port_holder(port) == "", "bound is not listening"
        taken.listen()
        assert port_holder(port).startswith(f"pid {os.getpid()} (")


def test_listeners_are_shared_between_generations() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one, other = Endpoint("127.0.0.1", port), Endpoint("127.0.0.2", port)
    first = Listeners.open([one], 2)
    second = Listeners.open([one, other], 3, first)
    assert second.at(0)[0] is first.at(0)[0]
    assert [len(second.at(position)) for position in range(3)] == [2, 2, 2]
    third = Listeners.open([other], 1, second)
    assert third.at(0) == [second.at(position)[1] for position in range(3)], "the queue of none of them is lost"
    second.close(keep=third)
    assert [listener.fileno() < 0 for listener in first.at(0) + second.at(2)] == [True, True, False]
    assert all(listener.fileno() >= 0 for listener in third.at(0))
    third.close()


def test_a_client_that_has_vanished_is_found_out() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = Endpoint("127.0.0.1", probe.getsockname()[1])
    listeners = Listeners.open([endpoint], 1)
    with socket.create_connection((endpoint.host, endpoint.port)):
        listeners.at(0)[0].setblocking(True)
        accepted, _ = listeners.at(0)[0].accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE
    listeners.close()


def test_listeners_that_can_not_be_had_leave_the_old_ones() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        first = Listeners.open([Endpoint("127.0.0.1", free)], 1)
        with pytest.raises(RefusedError, match=f"port {port} is taken by pid {os.getpid()}"):
            Listeners.open([Endpoint("127.0.0.1", free), Endpoint("127.0.0.1", port)], 1, first)
        assert first.at(0)[0].fileno() >= 0
        first.close()
