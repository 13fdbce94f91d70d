"""An instance's steps and what is left when one is cut off. Tomcat itself is in tests/e2e."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from ports import free_ports

from deployer.errors import ConfigurationError, InstanceError
from deployer.server.account import Account
from deployer.server.java import Java
from deployer.server.processes import ProcessId
from deployer.tomcat import files
from deployer.tomcat.home import TomcatHome
from deployer.tomcat.keys import installation_keys
from deployer.tomcat.layout import InstanceSpec
from deployer.tomcat.process import Instance


class FakeProcesses:
    """One process at most. `obeys`: the signals that end it."""

    def __init__(self, obeys: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)) -> None:
        self.process: ProcessId | None = None
        self.obeys = obeys
        self.got: list[signal.Signals] = []
        self.command: list[str] = []
        self.dies_at_once = False
        self.log_text = ""

    def launch(self, command: list[str], *, log: int, **more: object) -> int:
        os.write(log, self.log_text.encode())
        self.command = command
        self.process = None if self.dies_at_once else ProcessId(4711, 99, "boot")
        return 4711

    def identity(self, pid: int) -> ProcessId | None:
        return self.process

    def alive(self, process: ProcessId) -> bool:
        return process == self.process

    def find(self, program: str, argument: str, uids: object) -> list[ProcessId]:
        return [self.process] if self.process and argument in self.command else []

    def signal(self, process: ProcessId, number: signal.Signals) -> bool:
        self.got.append(number)
        if number in self.obeys:
            self.process = None
        return True

    def wait_exit(self, process: ProcessId, seconds: float) -> bool:
        return self.process is None

    def started(self, process: ProcessId) -> float:
        return 1000.0

    def memory(self, pid: int) -> int | None:
        return 1 << 20


class FakeClock:
    """Time that passes only by waiting."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class NoProbe:
    """Health without a probe."""

    path = None
    successes = 1


@pytest.fixture
def spec(tmp_path: Path) -> InstanceSpec:
    http, control, cluster = free_ports(3)
    return InstanceSpec(
        name="temp",
        base=tmp_path / "temp",
        http_port=http,
        control_port=control,
        cluster_port=cluster,
        unique_id=1,
        log_file=tmp_path / "temp" / "logs" / "tomcat.log",
        tomcat_major=10,
        encryption_key="0" * 32,
        control_password="secret",
    )


def make(spec: InstanceSpec, processes: FakeProcesses) -> Instance:
    web_xml = spec.base.parent / "web.xml"
    web_xml.write_text("<web-app/>")
    home = TomcatHome(Path("/opt/tomcat"), (10, 1, 60), (), web_xml)
    java = Java(Path("/opt/java/bin/java"), 17)
    return Instance(spec, home, java, env={}, processes=processes, clock=FakeClock())  # type: ignore[arg-type]


def release(tmp_path: Path, content: bytes = b"war") -> tuple[Path, str]:
    war = tmp_path / "x.war"
    war.write_bytes(content)
    return war, hashlib.sha256(content).hexdigest()[:12]


def test_prepare_writes_once_and_repairs_what_was_changed(spec: InstanceSpec, tmp_path: Path) -> None:
    instance = make(spec, FakeProcesses())
    first = instance.prepare()
    assert {"conf/server.xml", "conf/web.xml"} < set(first)
    assert instance.prepare() == []
    (spec.base / "conf" / "server.xml").chmod(0o666)
    (spec.base / "conf" / "context.xml").write_text("<Context/>")
    assert sorted(instance.prepare()) == ["conf/context.xml", "conf/server.xml"]
    assert (spec.base / "conf" / "server.xml").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_prepare_hands_over_what_another_user_left(spec: InstanceSpec) -> None:
    make(spec, FakeProcesses()).prepare()
    page = spec.base / "webapps" / "ROOT" / "index.jsp"
    page.parent.mkdir()
    page.touch()
    outside = spec.base.parent / "web.xml"
    (spec.base / "work" / "link").symlink_to(outside)
    home = TomcatHome(Path("/opt/tomcat"), (10, 1, 60), (), outside)
    files.prepare(spec, home, Account("other", 1234, 5678, other=True))
    for path in (page, page.parent, spec.base / "work", spec.base / "logs"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 5678)
    assert outside.stat().st_uid == 0
    config = (spec.base / "conf" / "server.xml").stat()
    assert (config.st_uid, config.st_gid) == (0, 5678)


def test_prepare_says_where_it_may_not_write(spec: InstanceSpec, tmp_path: Path) -> None:
    (tmp_path / "temp").write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot prepare slot temp") as error:
        make(spec, FakeProcesses()).prepare()
    assert "slots.temp.base" in error.value.advice


def test_deploy_replaces_everything_of_the_context_and_nothing_else(spec: InstanceSpec, tmp_path: Path) -> None:
    instance = make(spec, FakeProcesses())
    instance.prepare()
    webapps = spec.base / "webapps"
    for name in ("ROOT/old.jsp", "ROOT##1/old.jsp", "other/kept.jsp"):
        (webapps / name).parent.mkdir()
        (webapps / name).touch()
    (webapps / "ROOT.war").write_bytes(b"old")
    (spec.base / "work" / "Catalina").mkdir()
    instance.deploy(*release(tmp_path))
    assert sorted(entry.name for entry in webapps.iterdir()) == ["ROOT.war", "other"]
    assert (webapps / "ROOT.war").read_bytes() == b"war"
    assert list((spec.base / "work").iterdir()) == []
    assert instance.observe().release_id == release(tmp_path)[1]


def test_a_damaged_war_is_not_deployed(spec: InstanceSpec, tmp_path: Path) -> None:
    instance = make(spec, FakeProcesses())
    instance.prepare()
    instance.deploy(*release(tmp_path))
    war, identity = release(tmp_path)
    war.write_bytes(b"bit rot")
    with pytest.raises(InstanceError, match="damaged"):
        instance.deploy(war, identity)
    assert instance.observe().release_id is None
    assert list((spec.base / "webapps").iterdir()) == []


def test_a_deployment_that_was_cut_off_leaves_no_release(spec: InstanceSpec, tmp_path: Path) -> None:
    instance = make(spec, FakeProcesses())
    instance.prepare()
    instance.deploy(*release(tmp_path))
    with pytest.raises(InstanceError, match="cannot deploy"):
        instance.deploy(tmp_path / "missing.war", "0" * 12)
    assert instance.observe().release_id is None
    with pytest.raises(InstanceError, match="nothing is deployed"):
        instance.start()


@pytest.mark.parametrize("marker", [b"", b"{", b"[]", b'{"release": 5}', b"\xff"])
def test_a_damaged_marker_is_no_release(spec: InstanceSpec, marker: bytes) -> None:
    instance = make(spec, FakeProcesses())
    instance.prepare()
    (spec.base / "release.json").write_bytes(marker)
    assert instance.observe().release_id is None


def started(spec: InstanceSpec, tmp_path: Path, processes: FakeProcesses) -> Instance:
    instance = make(spec, processes)
    instance.prepare()
    instance.deploy(*release(tmp_path))
    instance.start()
    return instance


def test_a_running_instance_is_neither_deployed_to_nor_started(spec: InstanceSpec, tmp_path: Path) -> None:
    instance = started(spec, tmp_path, FakeProcesses())
    with pytest.raises(InstanceError, match="runs as pid 4711"):
        instance.deploy(*release(tmp_path))
    with pytest.raises(InstanceError, match="runs already"):
        instance.start()
    facts = instance.observe()
    assert (facts.running, facts.pid, facts.http_ready, facts.sessions) == (True, 4711, False, None)
    assert "pid 4711" in repr(instance)


def test_a_later_deployer_finds_it_with_and_without_the_pid_file(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    started(spec, tmp_path, processes)
    assert make(spec, processes).observe().pid == 4711
    (spec.base / "tomcat.pid.json").unlink()
    assert make(spec, processes).observe().pid == 4711
    (spec.base / "tomcat.pid.json").write_text("nonsense")
    assert make(spec, processes).observe().pid == 4711


def test_a_recycled_pid_is_not_ours(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    instance = started(spec, tmp_path, processes)
    processes.process, processes.command = ProcessId(4711, 12345, "boot"), ["/usr/bin/editor"]
    assert not instance.observe().running
    assert instance.stop(5).how == "not running"
    assert processes.got == []


def test_stop_asks_first(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    stopped = started(spec, tmp_path, processes).stop(5)
    assert (stopped.how, stopped.pid, processes.got) == ("SIGTERM", 4711, [signal.SIGTERM])
    assert not (spec.base / "tomcat.pid.json").exists()


def test_stop_kills_what_does_not_obey(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses(obeys=(signal.SIGKILL,))
    assert started(spec, tmp_path, processes).stop(0).how == "SIGKILL"
    assert processes.got == [signal.SIGTERM, signal.SIGKILL]


def test_stop_says_when_even_that_fails(spec: InstanceSpec, tmp_path: Path) -> None:
    instance = started(spec, tmp_path, FakeProcesses(obeys=()))
    with pytest.raises(InstanceError, match="not even by SIGKILL"):
        instance.stop(0)
    assert (spec.base / "tomcat.pid.json").exists()


def test_a_taken_port_is_named_with_its_holder(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    with socket.socket() as server:
        server.bind(("127.0.0.1", spec.cluster_port))
        server.listen()
        with pytest.raises(InstanceError, match=f"port {spec.cluster_port} is taken by pid {os.getpid()}") as error:
            started(spec, tmp_path, processes)
    assert "slots.temp.cluster_port" in error.value.advice
    assert processes.command == []


def test_a_jvm_that_ends_at_once_is_explained(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    processes.dies_at_once = True
    processes.log_text = "Unrecognized VM option 'UseFoo'\n"
    with pytest.raises(InstanceError, match="UseFoo"):
        started(spec, tmp_path, processes)


def test_a_process_that_dies_while_it_starts_is_explained(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    processes.log_text = "java.lang.OutOfMemoryError\n"
    instance = started(spec, tmp_path, processes)
    processes.process = None
    with pytest.raises(InstanceError, match="its process ended") as error:
        instance.wait_ready(NoProbe(), 5, lambda stage: None)
    assert "OutOfMemoryError" in str(error.value)
    assert str(spec.log_file) in str(error.value)


def test_a_start_that_takes_too_long_is_ended_by_the_deadline(spec: InstanceSpec, tmp_path: Path) -> None:
    stages: list[str] = []
    instance = started(spec, tmp_path, FakeProcesses())
    with pytest.raises(InstanceError, match=r"not ready within 5 s \(the JVM starts\)"):
        instance.wait_ready(NoProbe(), 5, stages.append)
    assert stages == ["the JVM starts"]


def test_each_run_has_its_own_log_and_a_few_old_ones_stay(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    processes.log_text = "run 0\n"
    instance = started(spec, tmp_path, processes)
    for number in range(1, 8):
        instance.stop(5)
        processes.log_text = f"run {number}\n"
        instance.start()
    assert instance.tail(5) == ["run 7"]
    assert instance.tail(0) == []
    kept = sorted(path.name for path in spec.log_file.parent.iterdir())
    assert kept == ["tomcat.log", *(f"tomcat.log.{number}" for number in range(1, 6))]
    assert (spec.log_file.parent / "tomcat.log.5").read_text() == "run 2\n"


def test_a_log_that_cannot_be_written_stops_the_start(spec: InstanceSpec, tmp_path: Path) -> None:
    processes = FakeProcesses()
    broken = replace(spec, log_file=spec.base / "none" / "tomcat.log")
    instance = make(broken, processes)
    instance.prepare()
    instance.deploy(*release(tmp_path))
    (spec.base / "none").rmdir()
    with pytest.raises(InstanceError, match="cannot write the log"):
        instance.start()
    assert processes.command == []


def test_keys_are_made_once_and_a_damaged_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state" / "keys.json"
    keys = installation_keys(path)
    assert installation_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.encryption_key not in repr(keys)
    path.write_text(json.dumps({"encryption_key": "short", "control_password": "x"}))
    with pytest.raises(ConfigurationError, match="damaged"):
        installation_keys(path)
