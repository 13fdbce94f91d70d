"""Releases on trial: the deployer as a process, the real proxy with users on it, and stand-ins for Tomcat."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from deployed_site import ROOT, Deployed
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROXY = """\
listen: ["http://127.0.0.1:{front}"]
workers: 2
admin: {{listen: "http://127.0.0.1:{admin}", token_file: token}}
state_dir: var/proxy
access_log: {{format: "off"}}
apps:
  shop:
    slots:
      production: {{backends: ["127.0.0.1:{production}"]}}
      temp: {{backends: ["127.0.0.1:{temp}"]}}
    health: {{path: /health, interval: 250ms, timeout: 2s, rise: 1, fall: 3}}
"""


class TrialSite:
    """A site whose first release is live. front: the port of the users."""

    def __init__(self, deployed: Deployed, front: int) -> None:
        self.deployed = deployed
        self.front = front

    def watch(self, text: str) -> None:
        """Sets the key `watch`."""
        self.deployed.configure()
        file = self.deployed.directory / "deployer.yaml"
        file.write_text(file.read_text().replace("watch: {for: 300ms}", f"watch: {{{text}}}"))

    @contextmanager
    def users(self, count: int = 2) -> Iterator[Counter[int]]:
        """How often they got which status."""
        stop, seen, lock = threading.Event(), Counter[int](), threading.Lock()

        def ask(number: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.front, timeout=20)
            while not stop.wait(0.05):
                connection.request("GET", f"/cart?item={number}")
                response = connection.getresponse()
                response.read()
                with lock:
                    seen[response.status] += 1
            connection.close()

        threads = [threading.Thread(target=ask, args=(number % 3,)) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def version(self) -> str:
        """What users get now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.front, timeout=5)
        connection.request("GET", "/health")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def killed_in_the_watch(self, war: Path, strategy: str) -> None:
        """A release whose deployer is killed in its first watch."""
        with self.deployed.started("release", str(war), "--strategy", strategy, "--json") as running:
            assert running.stdout is not None
            for line in running.stdout:
                event: dict[str, Any] = json.loads(line)
                if event.get("step") == "watch temp" and event["state"] == "started":
                    running.kill()
            running.wait()

    def until_active(self, slot: str) -> None:
        end = time.monotonic() + 30
        while self.deployed.status()["active"] != slot:
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[TrialSite]:
    front, admin, *ports = free_ports(8)
    deployed = Deployed(tmp_path, f"http://127.0.0.1:{admin}", ports)
    deployed.configure()
    (tmp_path / "token").chmod(0o600)
    text = PROXY.format(front=front, admin=admin, production=ports[0], temp=ports[3])
    (tmp_path / "proxy.yaml").write_text(text)
    with (tmp_path / "proxy.log").open("wb") as log:
        command = [sys.executable, "-m", "proxy", "run", "-c", "proxy.yaml"]
        environment = {**deployed.environment, "PYTHONPATH": str(ROOT)}
        proxy = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            wait_for(front, proxy)
            made = TrialSite(deployed, front)
            first = deployed.run("release", str(deployed.war(1)))
            assert first.returncode == 0, first.stdout + first.stderr
            yield made
        finally:
            deployed.stop_all()
            proxy.send_signal(signal.SIGTERM)
            proxy.wait(40)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the proxy did not start")


def test_a_release_with_errors_is_undone_by_the_proxy_and_the_deployer_says_why(site: TrialSite) -> None:
    site.watch("for: 20s")
    with site.users() as seen:
        done = site.deployed.run("release", str(site.deployed.war(2, errors=True)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the trial of temp failed" in done.stdout
    assert "answers in" in done.stdout
    assert "production is active again" in done.stdout
    assert "GET /cart?item=" in done.stdout
    assert ": 500, " in done.stdout
    assert "java.lang.IllegalStateException: there is no stock" in done.stdout
    assert seen[500] > 0
    status = site.deployed.status()
    assert (status["active"], status["last_trial"]["outcome"], status["trial"]) == ("production", "reverted", None)
    assert not status["slots"]["temp"]["running"]
    assert site.version() == "ok 1"
    shown = site.deployed.run("show", "2").stdout
    assert "the trial of temp failed" in shown


def test_a_slow_release_is_undone_by_the_proxy(site: TrialSite) -> None:
    site.watch("for: 30s, max_p99: 200ms")
    with site.users(count=16):
        done = site.deployed.run("release", str(site.deployed.war(2, slow=0.4)), "--strategy", "swap")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the 99th percentile of" in done.stdout
    assert "production is active again" in done.stdout
    assert site.deployed.status()["last_trial"]["outcome"] == "reverted"
    assert site.version() == "ok 1"


def test_a_good_release_is_confirmed_at_each_switch(site: TrialSite) -> None:
    site.watch("for: 1s")
    with site.users() as seen:
        done = site.deployed.run("release", str(site.deployed.war(2)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("; confirmed") == 2
    assert set(seen) == {200}
    status = site.deployed.status()
    assert (status["trial"], status["last_trial"]["outcome"]) == (None, "confirmed")
    assert site.version() == "ok 2"


@pytest.mark.parametrize("then", ["rollback", "resume", "release"])
def test_a_killed_deployers_switch_is_undone_by_the_proxy(site: TrialSite, then: str) -> None:
    site.watch("for: 1s, grace: 1s")
    with site.users() as seen:
        site.killed_in_the_watch(site.deployed.war(2), "return")
        during = site.deployed.run("status").stdout
        site.until_active("production")
        after = site.deployed.run("status").stdout
        war = [str(site.deployed.war(3))] if then == "release" else []
        done = site.deployed.run(then, *war)
    assert "temp is on trial: unless it is confirmed within" in during
    assert "the trial of temp was not confirmed: production is active again" in after
    assert "was cut off at step" in after
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.version() == {"rollback": "ok 1", "resume": "ok 2", "release": "ok 3"}[then]
    status = site.deployed.status()
    assert (status["active"], status["cut_off"], status["trial"]) == ("production", None, None)
    assert not status["slots"]["temp"]["running"]
    assert set(seen) == {200}


@pytest.mark.parametrize(("strategy", "then"), [("return", "resume"), ("swap", "resume"), ("return", "rollback")])
def test_a_trial_is_taken_over_from_a_killed_deployer(site: TrialSite, strategy: str, then: str) -> None:
    site.watch("for: 1s, grace: 60s")
    with site.users() as seen:
        site.killed_in_the_watch(site.deployed.war(2), strategy)
        assert site.version() == "ok 2"
        if strategy == "swap":
            another = site.deployed.run("release", str(site.deployed.war(3)))
            assert another.returncode == 3
            assert "the switch to temp is on trial: another release can't begin" in another.stderr
            stopped = site.deployed.run("stop", "production")
            assert stopped.returncode == 3
            assert "production is where the trial of temp goes back to" in stopped.stderr
        done = site.deployed.run(then)
    assert done.returncode == 0, done.stdout + done.stderr
    status = site.deployed.status()
    assert status["trial"] is None
    assert site.version() == ("ok 2" if then == "resume" else "ok 1")
    assert status["active"] == ("temp" if strategy == "swap" else "production")
    if strategy == "return":
        assert not status["slots"]["temp"]["running"]
    assert set(seen) == {200}
