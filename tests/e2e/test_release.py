"""Releases of the shop on real Tomcats behind the real proxy, with users on it: none may notice."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shop_wars import ShopWars

pytestmark = [pytest.mark.tomcat]
ROOT = Path(__file__).parents[2]
USERS = 6
PAUSE = 0.05

PROXY = """\
listen: ["http://127.0.0.1:{front}"]
workers: 2
admin: {{listen: "http://127.0.0.1:{admin}", token_file: token}}
state_dir: var/proxy
access_log: {{format: "off"}}
apps:
  shop:
    slots:
      production: {{backends: ["127.0.0.1:{http1}"]}}
      temp: {{backends: ["127.0.0.1:{http2}"]}}
    health: {{path: /health, interval: 250ms, timeout: 2s, rise: 1, fall: 3}}
    static: {{prefix: /static/, root: var/static}}
"""

DEPLOYER = """\
app: shop
proxy: {{url: "http://127.0.0.1:{admin}", token_file: token, public_url: "http://127.0.0.1:{front}"}}
tomcat: {{jvm: "-Xmx128m -XX:TieredStopAtLevel=1"}}
slots:
  production: {{http_port: {http1}, cluster_port: {cluster1}, control_port: {control1}, base: var/production}}
  temp: {{http_port: {http2}, cluster_port: {cluster2}, control_port: {control2}, base: var/temp}}
sessions: {{timeout: 5s}}
static: {{from_war: ["static/**"], to: var/static}}
health: {{path: /health, timeout: 60s, successes: 2}}
smoke: [{{path: /health, contains: ok}}]
warmup: {{requests: 60, paths: [/whoami], timeout: 10s}}
watch: {{for: 1s, max_p99: 5s}}
"""

# Its page is a JSP, which each start compiles anew: one release shows that, the others have no page to wait for.
PAGES = DEPLOYER.replace("smoke: [", "smoke: [{{path: /, contains: shop}}, ").replace("paths: [/whoami]", "paths: [/]")

# For releases that must fail: a slow page is an error.
STRICT = DEPLOYER.replace("smoke: [", "smoke: [{{path: /whoami, max_time: 700ms}}, ")

# For releases whose faults only users meet: the trial must find them, and ends soon when nobody confirms it.
TRIAL = (
    DEPLOYER.replace("warmup: {{requests: 60, paths: [/whoami], timeout: 10s}}", "warmup: null").replace(
        "watch: {{for: 1s, max_p99: 5s}}", "watch: {{for: 30s, max_p99: 500ms, grace: 1s}}"
    )
    + "switch: {{hold: 1s, drain: 3s}}\n"
)
KILLED = TRIAL.replace("for: 30s, max_p99: 500ms", "for: 1s, max_p99: 5s")


@dataclass
class Users:
    """Each is logged in, with a counter in the session that must grow by one with every request.

    failures: all that was not so.
    """

    port: int
    count: int = USERS
    failures: list[str] = field(default_factory=list)
    requests: int = 0

    @contextmanager
    def busy(self) -> Iterator[Users]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._one, args=(stop,)) for _ in range(self.count)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _one(self, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        cookie, expected = "", 0
        while not stop.is_set():
            try:
                if not expected:
                    form = {"Content-Type": "application/x-www-form-urlencoded"}
                    connection.request("POST", "/login", "user=anna", form)
                else:
                    connection.request("GET", "/counter", headers={"Cookie": cookie})
                response = connection.getresponse()
                body = response.read()
                given = response.getheader("Set-Cookie")
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            self.requests += 1
            if given and cookie:
                self.failures.append(f"the session was lost after {expected - 1}")
            cookie = given.split(";")[0] if given else cookie
            if response.status != 200 or (expected and json.loads(body)["counter"] != expected):
                self.failures.append(f"{response.status} {body[:80]!r} instead of {expected}")
            expected += 1
            time.sleep(PAUSE)
        connection.close()


@dataclass
class Shop:
    """The directory with the proxy's and the deployer's configuration. wars: by version and variant."""

    directory: Path
    front: int
    wars: Callable[[int, str], Path]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def war(self, version: int, variant: str = "") -> str:
        return str(self.wars(version, variant))

    def other_version(self) -> int:
        """Of 1 and 2 the one that users do not get now."""
        return 1 if self.version() == "2" else 2

    def deployer(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deployer", *arguments]
        return subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=110, check=False
        )

    def released(self, *arguments: str) -> str:
        done = self.deployer(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.deployer("status", "--json").stdout)
        return document

    def version(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.front, timeout=5)
        connection.request("GET", "/health")
        text = connection.getresponse().read().decode().split()[-1]
        connection.close()
        return text

    @contextmanager
    def users(self) -> Iterator[Users]:
        """Users who must not notice anything in the with-block."""
        users = Users(self.front)
        with users.busy():
            yield users
        assert users.failures == []
        assert users.requests > USERS


@pytest.fixture(scope="module")
def shop(shop_wars: ShopWars) -> Iterator[Shop]:
    directory = Path(tempfile.mkdtemp(prefix="release-"))
    directory.chmod(0o755)
    names = ("front", "admin", "http1", "http2", "cluster1", "cluster2", "control1", "control2")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    (directory / "proxy.yaml").write_text(PROXY.format(**ports))
    (directory / "deployer.yaml").write_text(DEPLOYER.format(**ports))
    (directory / "pages.yaml").write_text(PAGES.format(**ports))
    (directory / "strict.yaml").write_text(STRICT.format(**ports))
    (directory / "trial.yaml").write_text(TRIAL.format(**ports))
    (directory / "killed.yaml").write_text(KILLED.format(**ports))
    made = Shop(directory, ports["front"], shop_wars.get)
    log = (directory / "proxy.log").open("wb")
    command = [sys.executable, "-m", "proxy", "run", "-c", "proxy.yaml"]
    proxy = subprocess.Popen(command, cwd=directory, env=made.environment, stdout=log, stderr=log)
    try:
        wait_for(ports["front"], proxy)
        made.released("release", made.war(1), "--message", "the first one")
        yield made
    finally:
        for slot in ("temp", "production"):
            made.deployer("stop", slot, "--force")
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(40)
        log.close()
        shutil.rmtree(directory, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the proxy did not start")


def test_a_release_by_return_is_noticed_by_nobody(shop: Shop) -> None:
    new = shop.other_version()
    with shop.users():
        shop.released("release", shop.war(new), "-c", "pages.yaml")
    assert shop.version() == str(new)
    status = shop.status()
    assert status["active"] == "production"
    assert not status["slots"]["temp"]["running"]


def test_swap_and_the_rollback_at_once_are_noticed_by_nobody(shop: Shop) -> None:
    before, new = shop.version(), shop.other_version()
    with shop.users():
        shop.released("release", shop.war(new), "--strategy", "swap")
        assert shop.version() == str(new)
        said = shop.released("rollback", "--strategy", "swap")
    assert "one switch does it" in said
    assert shop.version() == before
    shop.released("stop", "temp")


@pytest.mark.parametrize(
    ("variant", "code", "causes"),
    [
        ("fails-to-start", 1, ("a listener of the application threw", "its order database does not answer")),
        ("fails-smoke", 1, ("/health answers: 500", "the site is as before")),
        ("errors", 1, ("warm-up requests to", "500", "the site is as before")),
        ("slow", 1, ("smoke test", "/whoami", "the site is as before")),
        ("not-serializable", 3, ("shop.Trail", "--accept-session-loss")),
        ("session-class", 3, ("serialVersionUID", "--accept-session-loss")),
    ],
)
def test_a_broken_release_is_noticed_by_nobody(shop: Shop, variant: str, code: int, causes: tuple[str, ...]) -> None:
    before = shop.status()
    version = shop.version()
    with shop.users():
        done = shop.deployer("release", shop.war(3, variant), "-c", "strict.yaml")
        assert done.returncode == code, done.stdout
    for cause in causes:
        assert cause in done.stdout + done.stderr
    assert shop.version() == version
    after = shop.status()
    assert after["active"] == before["active"]
    for name, slot in before["slots"].items():
        assert after["slots"][name]["running"] is slot["running"]
        assert not slot["running"] or after["slots"][name]["release_id"] == slot["release_id"]


@pytest.mark.parametrize(("at", "then"), [("watch temp", "rollback"), ("start production", "resume")])
def test_a_deployer_that_is_killed_is_noticed_by_nobody(shop: Shop, at: str, then: str) -> None:
    before, new = shop.version(), shop.other_version()
    with shop.users():
        command = [sys.executable, "-m", "deployer", "release", shop.war(new), "--json"]
        killed_at = 0
        with subprocess.Popen(command, cwd=shop.directory, env=shop.environment, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            for line in running.stdout:
                event = json.loads(line)
                if event.get("step") == at and event["state"] == "started":
                    killed_at = event["number"]
                    running.kill()
        status = shop.status()
        assert f"was cut off at step {killed_at}" in status["advice"][0]
        assert shop.version() == str(new)
        shop.released(then)
    assert shop.version() == (before if then == "rollback" else str(new))
    assert shop.status()["active"] == "production"


@pytest.mark.parametrize(
    ("variant", "why", "evidence"),
    [
        ("errors", "were 5xx", ": 500, "),
        ("slow", "the 99th percentile of", "/counter"),
    ],
)
def test_what_only_users_meet_is_undone_by_the_proxy(shop: Shop, variant: str, why: str, evidence: str) -> None:
    before = shop.version()
    users = Users(shop.front, count=30 if variant == "slow" else USERS)
    with users.busy():
        done = shop.deployer("release", shop.war(3, variant), "-c", "trial.yaml")
    assert done.returncode == 1, done.stdout
    for words in ("the trial of temp failed", why, "production is active again", evidence, "the site is as before"):
        assert words in done.stdout
    status = shop.status()
    assert (status["active"], status["last_trial"]["outcome"]) == ("production", "reverted")
    assert not status["slots"]["temp"]["running"]
    assert shop.version() == before


def test_a_killed_deployers_switch_is_undone_by_the_proxy_and_noticed_by_nobody(shop: Shop) -> None:
    before, new = shop.version(), shop.other_version()
    with shop.users():
        command = [sys.executable, "-m", "deployer", "release", shop.war(new), "-c", "killed.yaml", "--json"]
        with subprocess.Popen(command, cwd=shop.directory, env=shop.environment, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            for line in running.stdout:
                event = json.loads(line)
                if event.get("step") == "watch temp" and event["state"] == "started":
                    running.kill()
        end = time.monotonic() + 30
        while shop.status()["active"] != "production":
            assert time.monotonic() < end
            time.sleep(0.5)
        advice = "\n".join(shop.status()["advice"])
        assert "the trial of temp was not confirmed: production is active again" in advice
        assert shop.version() == before
        shop.released("resume")
    assert shop.version() == str(new)
    assert shop.status()["active"] == "production"
