"""The unit files, as systemd itself reads them; and what a service manager gives and is told."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from proxy_process import PATIENCE, Load, ProxyProcess, until

from proxy.config_file import loads
from proxy.control.systemd import Place, units

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from proxy_process import Backend

SITE = """
listen: ["http://0.0.0.0:80", "http://[::]:8080"]
user: www-data
admin: {listen: "unix:run/admin.sock", token_file: var/admin.token}
access_log: {path: "log files/100%.log"}
timeouts: {stop: 40s}
limits: {connections: 20000}
apps: {shop: {slots: {production: {backends: ["127.0.0.1:1"]}}}}
"""


def place(directory: str = "/srv/the site", python: str = "/opt/switchyard/bin/python") -> Place:
    return Place("switchyard", "www-data", (python, "-P", "-m", "proxy"), "proxy $1.yaml", directory)


def lines(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


@pytest.mark.parametrize("sockets", [False, True])
def test_systemd_reads_the_units_without_a_complaint(tmp_path: Path, sockets: bool) -> None:
    made = units(loads(SITE), place(str(tmp_path), sys.executable), 2, sockets=sockets)
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in made)],
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert len(made) == 1 + sockets


def test_what_the_service_may(tmp_path: Path) -> None:
    text = units(loads(SITE), place(), 2, sockets=False)["switchyard.service"]
    assert lines(text, "ExecStart") == [
        '/opt/switchyard/bin/python -P -m proxy run -c "/srv/the site/proxy $$1.yaml"',
    ]
    assert lines(text, "User") == ["www-data"]
    assert lines(text, "TimeoutStopSec") == ["55"]
    assert lines(text, "ReadWritePaths") == [
        '"/srv/the site/log files"',
        '"/srv/the site/run"',
        '"/srv/the site/var"',
        '"/srv/the site/var/proxy"',
    ]
    assert lines(text, "CapabilityBoundingSet") == lines(text, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]
    assert int(lines(text, "LimitNOFILE")[0]) >= 2 * 20_000
    assert (lines(text, "ProtectHome"), lines(text, "PrivateTmp")) == (["yes"], ["yes"])
    in_home = units(loads(SITE), place("/home/me/site"), 2, sockets=False)["switchyard.service"]
    assert lines(in_home, "ProtectHome") == ["read-only"]


def test_each_worker_has_a_socket_of_each_address() -> None:
    made = units(loads(SITE), place(), 3, sockets=True)
    assert lines(made["switchyard.socket"], "ListenStream") == ["0.0.0.0:80"] * 3 + ["[::]:8080"] * 3
    assert lines(made["switchyard.socket"], "ReusePort") == ["yes"]
    assert lines(made["switchyard.service"], "AmbientCapabilities") == [""]


async def test_the_command_writes_them(tmp_path: Path, backends: dict[str, Backend]) -> None:
    proxy = ProxyProcess(tmp_path, backends)
    try:
        proxy.configure()
        code, said = await proxy.command("systemd", "--socket-activation", "--write", str(tmp_path))
        assert (code, said.count("wrote ")) == (0, 2), said
        assert f"WorkingDirectory={tmp_path}" in (tmp_path / "switchyard.service").read_text()
        code, said = await proxy.command("systemd", "--write", str(tmp_path / "none"))
        assert (code, "can't be written" in said) == (3, True), said
        code, said = await proxy.command("systemd")
        assert (code, "Type=notify" in said) == (0, True), said
    finally:
        await proxy.stop()


# What systemd does before it executes a service: sockets from descriptor 3 on, and their number in the environment.
ACTIVATE = """
import os, sys
given = [int(descriptor) for descriptor in sys.argv[2:]]
for number, descriptor in enumerate(given):
    os.dup2(descriptor, 100 + number)
for number in range(len(given)):
    os.dup2(100 + number, 3 + number)
    os.close(100 + number)
count = len(given)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=":".join(["http"] * count))
os.execv(sys.executable, [sys.executable, "-m", "proxy", "run", "-c", sys.argv[1]])
"""


class Manager:
    """Hears what the proxy tells its service manager."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return [message.split("\n")[0] for message in self.heard]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
async def unstarted(tmp_path: Path, backends: dict[str, Backend], manager: Manager) -> AsyncIterator[ProxyProcess]:
    proxy = ProxyProcess(tmp_path, backends)
    proxy.configure()
    proxy.environment["NOTIFY_SOCKET"] = str(manager.path)
    try:
        yield proxy
    finally:
        await proxy.stop()


@contextmanager
def listening(port: int, sockets: int) -> Iterator[list[int]]:
    """The descriptors of so many sockets, which the service manager keeps open."""
    with ExitStack() as opened:
        made = [socket.create_server(("127.0.0.1", port), reuse_port=True) for _ in range(sockets)]
        yield [opened.enter_context(each).fileno() for each in made]


async def activate(proxy: ProxyProcess, descriptors: list[int]) -> None:
    with (proxy.directory / "proxy.log").open("ab") as log:
        proxy.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ACTIVATE, str(proxy.config), *map(str, descriptors)),
            pass_fds=descriptors,
            cwd=proxy.directory,
            stderr=log,
            env={**os.environ, **proxy.environment},
        )


async def activated(proxy: ProxyProcess, sockets: int) -> None:
    with listening(proxy.port, sockets) as descriptors:
        await activate(proxy, descriptors)


async def test_the_service_manager_is_told(unstarted: ProxyProcess, manager: Manager) -> None:
    proxy = await unstarted.start()
    await until(lambda: manager.listen() == ["READY=1"])
    assert f"STATUS=2 workers serve http://127.0.0.1:{proxy.port}" in manager.heard[0]
    assert (await proxy.call("POST", "/v1/reload"))[0] == 200
    await until(lambda: manager.listen() == ["READY=1", "RELOADING=1", "READY=1"])
    assert "MONOTONIC_USEC=" in manager.heard[1]
    assert (await proxy.call("POST", "/v1/upgrade"))[0] == 200
    await until(lambda: manager.listen()[-2:] == ["RELOADING=1", "READY=1"] and len(manager.heard) >= 5)
    assert (await proxy.command("stop"))[0] == 0
    assert manager.listen()[-1] == "STOPPING=1"


@pytest.mark.parametrize("sockets", [1, 2, 5])
async def test_sockets_of_the_service_manager_are_all_served(unstarted: ProxyProcess, sockets: int) -> None:
    """Fewer than workers: some share one. More: some workers have several. None is left without a worker."""
    proxy = unstarted
    await activated(proxy, sockets)
    await proxy.until_ready(2)
    async with Load(proxy.port) as load:
        assert await asyncio.gather(*(proxy.get() for _ in range(40))) == ["production"] * 40
        for workers, path in ((3, "/v1/reload"), (1, "/v1/reload"), (1, "/v1/upgrade")):
            proxy.configure(workers=workers)
            assert (await proxy.call("POST", path))[0] == 200
            await load.more(20)
        assert await asyncio.gather(*(proxy.get() for _ in range(40))) == ["production"] * 40
    assert load.failures == []


async def test_the_workers_of_a_killed_supervisor_leave_their_sockets_to_the_next(unstarted: ProxyProcess) -> None:
    proxy = unstarted
    with listening(proxy.port, 2) as descriptors:
        await activate(proxy, descriptors)
        before = {worker.pid for worker in (await proxy.until_ready(2)).workers}
        assert proxy.process is not None
        proxy.process.kill()
        await proxy.process.wait()
        async with Load(proxy.port) as load:
            await load.more(20)
            await activate(proxy, descriptors)
            await proxy.until_ready(2)
            await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
            await load.more(20)
            async with asyncio.timeout(PATIENCE):
                assert await asyncio.gather(*(proxy.get() for _ in range(40))) == ["production"] * 40
    assert load.failures == []


async def test_a_socket_that_listen_does_not_name_is_an_error(unstarted: ProxyProcess) -> None:
    proxy = unstarted
    proxy.configure(listen=["http://127.0.0.1:19090"])
    await activated(proxy, 1)
    assert proxy.process is not None
    assert await proxy.process.wait() == 2
    assert f"gave a socket for 127.0.0.1:{proxy.port}, which listen does not name" in proxy.log()


async def test_a_reload_can_not_forget_a_socket_of_the_service_manager(unstarted: ProxyProcess) -> None:
    proxy = unstarted
    await activated(proxy, 2)
    await proxy.until_ready(2)
    proxy.configure(listen=["http://127.0.0.1:19090"])
    status, problem = await proxy.call("POST", "/v1/reload")
    assert (status, "which listen does not name" in problem["detail"]) == (422, True), problem
    assert await proxy.get() == "production"
