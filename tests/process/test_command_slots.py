"""Slots of kind command: a server that a command starts, released and rolled back behind the real proxy."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pwd
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ports import free_port
from proxy_process import ROOT, Load, ProxyProcess

from deployer.clock import SystemClock
from deployer.config_file import loads
from deployer.errors import InstanceError
from deployer.kinds import find_kind
from deployer.release import Release

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from deployer.site import SlotServer

# A whole release in one file, as a jar or a packed gunicorn application would be.
APPLICATION = """\
import http.server, os, sys
VERSION = {version!r}
{more}
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (VERSION + " " + os.environ["SLOT"] if self.path == "/slot" else VERSION).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
assert os.environ["RELEASE"] == sys.argv[1] == os.path.abspath(__file__)
print("serving", os.getcwd(), flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

CONFIGURATION = """\
app: shop
kind: command
proxy: {{url: "http://127.0.0.1:{admin}"}}
command: {{run: [{run}], stop: {stop}}}
slots:
  production: {{http_port: {p0}, base: var/production}}
  temp: {{http_port: {p1}, base: var/temp}}
sessions: {{replicate: false}}
switch: {{hold: 2s, drain: 2s}}
health: {{path: /health, timeout: 20s, successes: 1}}
smoke: [{{path: /slot, contains: " "}}]
watch: {{for: 300ms}}
"""


def configuration(run: list[str], ports: list[int], admin: int = 1, stop: str = "5s") -> str:
    words = ", ".join(map(json.dumps, run))
    return CONFIGURATION.format(admin=admin, run=words, p0=ports[0], p1=ports[1], stop=stop)


class Site:
    """The proxy and the directory in which the deployer's commands run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = [free_port(), free_port()]
        self.proxy = ProxyProcess(directory, {})
        backends = {
            name: {"backends": [f"127.0.0.1:{port}"]}
            for name, port in zip(("production", "temp"), self.ports, strict=True)
        }
        self.proxy.configure(app={"slots": backends, "session_cookie": None})
        run = [sys.executable, "{release}", "{release}"]
        (directory / "deployer.yaml").write_text(configuration(run, self.ports, self.proxy.admin_port))

    def app(self, version: str, more: str = "") -> str:
        path = self.directory / f"app-{version}.py"
        path.write_text(APPLICATION.format(version=version, more=more))
        return path.name

    async def start_proxy(self) -> None:
        """Before the first release no slot is up, so that the proxy is not ready; it answers."""
        self.proxy.process = await self.proxy.spawn("run")
        async with asyncio.timeout(60):
            while True:
                with suppress(OSError):
                    if len((await self.proxy.status()).workers) == 2:
                        return
                await asyncio.sleep(0.05)

    async def run(self, *arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "deployer", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    try:
        await site.start_proxy()
        yield site
    finally:
        await site.proxy.stop()
        for slot in made(tmp_path, (tmp_path / "deployer.yaml").read_text()).values():
            slot.stop()


def made(directory: Path, text: str) -> dict[str, SlotServer]:
    text = text.replace("base: var/", f"base: {directory}/var/")
    return dict(find_kind(loads(text)).slots(SystemClock(), make_keys=False))


async def test_a_release_and_a_rollback_under_load(site: Site) -> None:
    code, said = await site.run("release", site.app("1"))
    assert code == 0, said
    async with Load(site.proxy.port) as load:
        await load.more(20)
        code, said = await site.run("release", site.app("2"))
        assert code == 0, said
        assert await site.proxy.get("/slot") == "2 production"
        await load.more(20)
        code, said = await site.run("rollback")
        assert code == 0, said
        assert await site.proxy.get("/slot") == "1 production"
        await load.more(20)
    assert load.failures == []
    assert set(load.answers) == {"1", "2"}

    code, said = await site.run("check", "app-2.py")
    assert code == 0
    assert "the checks of WARs are skipped" in said
    assert "each switch logs users out, unless the application keeps its sessions outside of its process" in said
    code, said = await site.run("plan", "app-2.py")
    assert "note: the deployer shares no sessions of kind command: each switch logs users out" in said
    assert f"empties {site.directory}/var/temp/release, then places" in said
    code, said = await site.run("status")
    assert "note: the deployer shares no sessions of kind command" in said
    assert (await site.run("logs", "production"))[1] == f"serving {site.directory}/var/production/work\n"
    assert (await site.run("doctor"))[0] == 0


async def test_a_release_that_does_not_start_is_undone_with_its_cause(site: Site) -> None:
    assert (await site.run("release", site.app("1")))[0] == 0
    code, said = await site.run("release", site.app("2", more='raise RuntimeError("no database")'))
    assert code == 1
    assert "its process ended while it started" in said
    assert "RuntimeError: no database" in said
    assert await site.proxy.get("/slot") == "1 production"


async def test_a_directory_or_an_empty_file_is_no_release(site: Site) -> None:
    code, said = await site.run("check", ".")
    assert (code, "pack a directory into one file" in said) == (3, True)
    (site.directory / "empty").touch()
    assert (await site.run("release", "empty"))[0] == 3


class Bare:
    """One slot without a proxy."""

    def __init__(self, directory: Path, run: list[str], stop: str = "5s") -> None:
        self.directory = directory
        self.text = configuration(run, [free_port(), free_port()], stop=stop)
        self.slot = self.again()

    def again(self) -> SlotServer:
        """As another deployer would see it."""
        return made(self.directory, self.text)["temp"]

    def start(self, more: str = "") -> None:
        data = APPLICATION.format(version="1", more=more).encode()
        path = self.directory / "stored"
        path.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        self.slot.deploy(Release(digest[:12], digest, path, len(data), 0.0, "the app.py"))
        self.slot.start()
        self.slot.wait_ready(lambda _: None)


@pytest.fixture
def bares() -> Iterator[list[Bare]]:
    made: list[Bare] = []
    yield made
    for bare in made:
        bare.slot.stop()


def test_a_server_that_nobody_noted_is_found_and_ends_with_all_it_started(tmp_path: Path, bares: list[Bare]) -> None:
    bare = Bare(tmp_path, ["sh", "-c", f'"{sys.executable}" "$RELEASE" "$RELEASE"; true'])
    bares.append(bare)
    bare.start()
    pid = bare.slot.observe().pid
    (tmp_path / "var/temp/server.pid.json").unlink()
    later = bare.again()
    assert later.observe().pid == pid
    with pytest.raises(InstanceError, match=f"runs already, as pid {pid}"):
        later.start()
    # SIGTERM ends the shell; the server that it had started would go on and keep the port.
    assert "stopped in" in later.stop()
    assert not later.observe().running
    assert later.obstacles() == []


def test_what_ignores_the_stop_is_killed(tmp_path: Path, bares: list[Bare]) -> None:
    bare = Bare(tmp_path, [sys.executable, "{release}", "{release}"], stop="300ms")
    bares.append(bare)
    bare.start("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert bare.slot.observe().http_ready
    assert "killed after" in bare.slot.stop()
    assert not bare.slot.observe().running


def test_a_program_that_is_not_there_is_an_obstacle(tmp_path: Path) -> None:
    slot = Bare(tmp_path, ["no-such-program", "{release}"]).slot
    assert "there is no program no-such-program" in str(slot.obstacles()[0])


FORKS = "if os.fork() == 0:\n    import time\n    time.sleep(600)\nopen('kept', 'w').write(str(os.getuid()))"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start servers as another user")
def test_as_root_it_runs_as_the_user_of_the_settings(bares: list[Bare]) -> None:
    # Not pytest's directory: only its owner may enter it.
    with tempfile.TemporaryDirectory(prefix="switchyard-", dir="/var/tmp") as made_here:
        directory = Path(made_here)
        directory.chmod(0o755)
        bare = Bare(directory, ["/usr/bin/python3", "{release}", "{release}"])
        bare.text = bare.text.replace("stop: 5s", "stop: 5s, user: nobody")
        bare.slot = bare.again()
        bares.append(bare)
        assert bare.slot.warning == ""
        bare.start(FORKS)
        uid = pwd.getpwnam("nobody").pw_uid
        assert os.stat(f"/proc/{bare.slot.observe().pid}").st_uid == uid
        assert (directory / "var/temp/work/kept").read_text() == str(uid)
        release = (directory / "var/temp/release/the app.py").stat()
        assert (release.st_uid, release.st_mode & 0o777) == (0, 0o750)
        # The child that it forked goes with it.
        bare.slot.stop()
        assert not bare.slot.observe().running
