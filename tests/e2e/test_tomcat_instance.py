"""Real Tomcats: two instances that share sessions, their start, stop, death and failures."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
import threading
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_war
from ports import free_ports

from deployer.clock import SystemClock
from deployer.errors import ConfigurationError, InstanceError
from deployer.server.java import Java, find_java
from deployer.tomcat import sessions
from deployer.tomcat.home import TomcatHome, find_tomcat
from deployer.tomcat.layout import InstanceSpec, Peer
from deployer.tomcat.process import Instance

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.tomcat]
KEY = "00112233445566778899aabbccddeeff"
START_SECONDS = 60.0


@dataclass(frozen=True)
class Health:
    """How the small application shows that it works."""

    path: str | None = "/health"
    successes: int = 2


@dataclass(frozen=True)
class Ground:
    """A directory that Tomcat's user may enter, and the application in two shapes."""

    directory: Path
    home: TomcatHome
    java: Java
    good: Path
    changed: Path
    classes: Path

    def pair(self, name: str, context: str = "") -> tuple[Instance, Instance]:
        """Two prepared instances of one session cluster."""
        ports = free_ports(6)
        made = []
        for number in (1, 2):
            mine = ports[3 * number - 3 : 3 * number]
            base = self.directory / f"{name} {number}"
            spec = InstanceSpec(
                name=f"slot{number}",
                base=base,
                http_port=mine[0],
                control_port=mine[1],
                cluster_port=mine[2],
                unique_id=number,
                log_file=base / "logs" / "tomcat.log",
                tomcat_major=self.home.major,
                encryption_key=KEY,
                control_password='not "so" <secret> & long',
                peers=(Peer(ports[5 if number == 1 else 2], 3 - number),),
                context=context,
                user="tomcat",
                jvm=("-XX:TieredStopAtLevel=1",),
            )
            made.append(Instance(spec, self.home, self.java, env=os.environ))
            made[-1].prepare()
        return made[0], made[1]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    try:
        home = find_tomcat("auto", os.environ)
        java = find_java("auto", os.environ, home.least_java)
    except ConfigurationError as why:
        pytest.skip(f"{why}: {why.advice}")
    # Not pytest's directory: only its owner may enter it, and Tomcat runs as a user of its own.
    directory = Path(tempfile.mkdtemp(prefix="switchyard-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        old = tiny_war.compile_classes(home, directory / "old", item_version=1)
        new = tiny_war.compile_classes(home, directory / "new", item_version=2)
        good = tiny_war.make_war(old, directory / "good.war")
        changed = tiny_war.make_war(new, directory / "changed.war")
        yield Ground(directory, home, java, good, changed, old)
    finally:
        shutil.rmtree(directory)


@pytest.fixture
def pair(ground: Ground, request: pytest.FixtureRequest) -> Iterator[tuple[Instance, Instance]]:
    made = ground.pair(request.function.__name__, getattr(request, "param", ""))
    try:
        yield made
    finally:
        for instance in made:
            instance.stop(0)


def deploy(instance: Instance, war: Path) -> None:
    instance.deploy(war, hashlib.sha256(war.read_bytes()).hexdigest()[:12])


def launch(instance: Instance, war: Path, health: Health) -> None:
    deploy(instance, war)
    instance.start()
    instance.wait_ready(health, START_SECONDS, lambda stage: None)


def get(instance: Instance, path: str, cookie: str = "") -> tuple[str, str]:
    """The body and the session cookie."""
    headers = {"Cookie": cookie} if cookie else {}
    request = urllib.request.Request(instance.spec.origin + instance.spec.context + path, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read().decode(), (response.headers["Set-Cookie"] or "").partition(";")[0]


def test_sessions_travel_and_stops_are_graceful(pair: tuple[Instance, Instance], ground: Ground) -> None:
    one, two = pair
    launch(one, ground.good, Health())
    cookies = [get(one, "/count")[1] for _ in range(20)]
    stages: list[str] = []
    deploy(two, ground.good)
    two.start()
    two.wait_ready(Health(), START_SECONDS, stages.append)
    assert stages[-1] == "ready"
    sessions.wait_transferred(two.control, two.records, 10, SystemClock(), stages.append)
    found = sessions.check(one.control, two.control, two.records, 0.0, 5, SystemClock())
    assert (found.ok, found.live, found.idle) == (True, 20, 20), str(found)
    assert one.control.members() == (two.spec.cluster_port,)

    for cookie in cookies[:5]:
        assert [get(instance, "/count", cookie)[0] for instance in (two, one, two)] == ["2", "3", "4"]

    facts = two.observe()
    assert (facts.running, facts.http_ready, facts.sessions) == (True, True, 20)
    assert facts.release_id == hashlib.sha256(ground.good.read_bytes()).hexdigest()[:12]
    assert (facts.memory or 0) > 20 << 20
    if os.geteuid() == 0 and one.account.other:
        assert os.stat(f"/proc/{facts.pid}").st_uid == one.account.uid

    slow: list[str] = []
    asking = threading.Thread(target=lambda: slow.append(get(one, "/slow")[0]))
    asking.start()
    while (one.control.busy_threads() or 0) < 1:
        SystemClock().sleep(0.02)
    assert one.stop(20).how == "SIGTERM"
    asking.join()
    assert slow == ["slept"]
    assert get(two, "/count", cookies[5])[0] == "2"
    assert two.control.members() == ()


def test_a_tomcat_outlives_its_deployer_and_is_found_again(pair: tuple[Instance, Instance], ground: Ground) -> None:
    one, _ = pair
    launch(one, ground.good, Health())
    pid = one.observe().pid
    again = Instance(one.spec, ground.home, ground.java, env={})
    assert again.observe().pid == pid
    (one.spec.base / "tomcat.pid.json").unlink()
    assert again.observe().pid == pid
    with pytest.raises(InstanceError, match=f"runs already, as pid {pid}"):
        again.start()
    stopped = again.stop(20)
    assert (stopped.how, stopped.pid) == ("SIGTERM", pid)
    assert not again.observe().running
    assert [record for record in again.records() if record.severe] == []


@pytest.mark.parametrize("pair", ["/a/b"], indirect=True)
def test_another_context_path_and_a_release_that_cannot_read_the_sessions(
    pair: tuple[Instance, Instance], ground: Ground
) -> None:
    one, two = pair
    health = Health("/a/b/health")
    launch(one, ground.good, health)
    for _ in range(5):
        get(one, "/count")
    launch(two, ground.changed, health)
    assert two.control.state_transferred()
    found = sessions.check(one.control, two.control, two.records, 0.02, 0, SystemClock())
    assert not found.ok
    assert "5 of 5 sessions are not on the other slot" in str(found)
    assert "a session could not be read by this release: java.io.InvalidClassException: tiny.Item" in str(found)


def test_failed_starts_name_their_cause(pair: tuple[Instance, Instance], ground: Ground) -> None:
    one, _ = pair
    broken = ground.directory / "truncated.war"
    broken.write_bytes(ground.good.read_bytes()[:-200])
    listener = tiny_war.make_war(ground.classes, ground.directory / "l.war", extra=tiny_war.BAD_LISTENER_XML)
    servlet = tiny_war.make_war(ground.classes, ground.directory / "s.war", extra=tiny_war.BAD_SERVLET_XML)
    expected = {
        listener: ("a listener of the application threw", "java.sql.SQLException: database shop is down"),
        servlet: ("a servlet that loads on startup threw", "licence key missing"),
        broken: ("the WAR cannot be unpacked", "ZipException"),
    }
    for war, words in expected.items():
        with pytest.raises(InstanceError, match="did not start") as error:
            launch(one, war, Health())
        assert all(word in str(error.value) for word in (*words, str(one.log_path))), str(error.value)
        assert one.observe().running
        assert not one.observe().http_ready
        one.stop(20)


def test_a_port_taken_during_the_start_ends_the_jvm(pair: tuple[Instance, Instance], ground: Ground) -> None:
    one, _ = pair
    deploy(one, ground.good)
    one.start()
    with socket.socket() as thief:
        # The port is looked at before the start; this one is taken after it and before Tomcat opens it.
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", one.spec.http_port))
        thief.listen()
        with pytest.raises(InstanceError, match="its process ended while it started") as error:
            one.wait_ready(Health(), START_SECONDS, lambda stage: None)
    assert "a port is taken by another process" in str(error.value)
    with suppress(InstanceError):
        one.stop(0)
    assert not one.observe().running
