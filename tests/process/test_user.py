"""Started by root to listen on a low port, and going on as a user that can do nothing else."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ports import first_free
from proxy_process import ROOT, Load, ProxyProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from proxy_process import Backend

USER = "nobody"
GROUP = "nogroup"
BIND_SERVICE = 1 << 10

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can listen on a low port and then become a user")


def python_for_all() -> tuple[str, str] | None:
    """A Python that USER can run, and the PYTHONPATH with which it finds this program and what that needs."""
    packages = sysconfig.get_path("purelib")
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        environment = {"PYTHONPATH": os.pathsep.join((str(ROOT), packages))}
        try:
            ran = subprocess.run(
                [python, "-c", "import proxy.control.run, encodings.idna"], user=USER, group=GROUP, extra_groups=[],
                env=environment, cwd="/", capture_output=True,
            )  # fmt: skip
        except OSError:
            continue
        if ran.returncode == 0:
            return python, environment["PYTHONPATH"]
    return None


def free_low_port() -> int:
    return first_free(range(1023, 600, -1))


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that every user can read; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
async def proxy(directory: Path, backends: dict[str, Backend]) -> AsyncIterator[ProxyProcess]:
    found = python_for_all()
    if found is None:
        pytest.skip(f"user {USER} can read neither {sys.executable} and this checkout nor a Python in /usr/bin")
    proxy = ProxyProcess(directory, backends)
    proxy.python, proxy.environment["PYTHONPATH"] = found
    proxy.port = free_low_port()
    settings = {"user": USER, "admin": {"listen": f"http://127.0.0.1:{proxy.admin_port}", "token_file": None}}
    proxy.configure(**settings, access_log={"path": "logs/access.log"})
    proxy.config.chmod(0o644)
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()


def _process(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _check_rights(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    user = pwd.getpwnam(USER)
    supervisor = _process(proxy.process.pid)
    assert set(supervisor["Uid"].split()) == {str(user.pw_uid)}
    assert set(supervisor["Gid"].split()) == {str(user.pw_gid)}
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(supervisor[kind], 16) == BIND_SERVICE, kind
    workers = proxy.worker_pids(proxy.process.pid)
    assert len(workers) == 2
    for worker in (_process(pid) for pid in workers):
        assert set(worker["Uid"].split()) == {str(user.pw_uid)}
        assert [int(worker[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
        assert worker["NoNewPrivs"] == "1"


async def test_it_keeps_the_right_to_low_ports_and_no_other(proxy: ProxyProcess) -> None:
    assert await proxy.get() == "production"
    _check_rights(proxy)
    for made in ("var/proxy/state.json", "var/proxy", "var", "logs", "logs/access.log"):
        assert (proxy.directory / made).owner() == USER
    further = free_low_port()
    listen = [f"http://127.0.0.1:{port}" for port in (proxy.port, further)]
    proxy.configure(
        user=USER,
        listen=listen,
        admin={"listen": f"http://127.0.0.1:{proxy.admin_port}", "token_file": None},
        access_log={"path": "logs/access.log"},
    )
    async with Load(proxy.port) as load:
        assert (await proxy.call("POST", "/v1/reload"))[0] == 200
        _, writer = await asyncio.open_connection("127.0.0.1", further)
        writer.close()
        status, done = await proxy.call("POST", "/v1/upgrade")
        assert status == 200, done
        await load.more(20)
        await proxy.until_ready(2)
        _check_rights(proxy)
        assert (await proxy.switch("temp"))[0] == 200
    assert load.failures == []
    assert (await proxy.command("stop"))[0] == 0


async def test_what_can_not_be_is_said(tmp_path: Path, backends: dict[str, Backend]) -> None:
    proxy = ProxyProcess(tmp_path, backends)
    try:
        proxy.configure(user="no-such-user")
        code, said = await proxy.command("run")
        assert (code, "there is no user no-such-user" in said) == (2, True), said
        proxy.configure(user="root:root")
        code, said = await proxy.command("check")
        assert (code, "user: found " in said) == (2, True), said
    finally:
        await proxy.stop()
