"""`deployer init` and `deployer doctor` as processes."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from deployed_site import Deployed
from fake_proxy import FakeProxy
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployed]:
    ports = free_ports(7)
    with FakeProxy(ports[6], {"production": ports[0], "temp": ports[3]}) as proxy:
        deployed = Deployed(tmp_path, proxy.url, ports[:6])
        deployed.configure()
        yield deployed
        deployed.stop_all()


def findings(site: Deployed, command: str, code: int) -> list[dict[str, Any]]:
    done = site.run(command, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


def test_init_makes_what_is_missing_and_changes_nothing_that_is_there(site: Deployed) -> None:
    configuration = (site.directory / "deployer.yaml").read_text()
    states = {one["state"] for one in findings(site, "init", 0)}
    assert states <= {"made", "ok", "note"}
    keys = site.directory / "var/deployer/keys.json"
    assert keys.stat().st_mode & 0o777 == 0o600
    made = keys.read_bytes()
    again = findings(site, "init", 0)
    assert "made" not in {one["state"] for one in again}
    assert keys.read_bytes() == made
    assert (site.directory / "deployer.yaml").read_text() == configuration


def test_init_in_an_empty_directory_writes_a_configuration_and_says_what_to_do(site: Deployed) -> None:
    (site.directory / "deployer.yaml").unlink()
    site.environment |= {"CATALINA_HOME": str(site.directory / "tomcat-home")}
    site.environment |= {"JAVA_HOME": str(site.directory / "java-home")}
    done = site.run("init", "-c", "new/deployer.yaml")
    assert "made    configuration new/deployer.yaml" in done.stdout
    assert "the proxy at http://127.0.0.1:9900" in done.stdout
    assert site.run("status", "-c", "new/deployer.yaml").returncode == 3


def test_doctor_is_content_with_a_site_that_works(site: Deployed) -> None:
    site.run("init")
    assert site.run("release", str(site.war(1))).returncode == 0
    assert {one["state"] for one in findings(site, "doctor", 0)} <= {"ok", "note"}


def test_doctor_names_each_trouble_with_its_mend(site: Deployed) -> None:
    site.run("init")
    (site.directory / "var/deployer/keys.json").chmod(0o644)
    with socket.create_server(("127.0.0.1", site.ports[3])):
        found = findings(site, "doctor", 3)
    missing = {one["what"]: one["advice"] for one in found if one["state"] == "missing"}
    assert len(missing) == 2
    [keys, port] = sorted(missing, key=lambda what: "port" in what)
    assert keys.endswith("keys.json can be read by others")
    assert missing[keys].startswith("chmod 600 ")
    assert port.startswith(f"slot temp: port {site.ports[3]} is taken by pid")
    site.configure(proxy="http://127.0.0.1:1")
    down = [one for one in findings(site, "doctor", 3) if "does not answer" in one["what"]]
    assert "proxy run" in down[0]["advice"]


def test_doctor_sees_slots_that_the_proxy_has_otherwise(site: Deployed) -> None:
    text = (site.directory / "deployer.yaml").read_text()
    other = free_ports(1)[0]
    (site.directory / "deployer.yaml").write_text(text.replace(f"http_port: {site.ports[3]}", f"http_port: {other}"))
    found = findings(site, "doctor", 3)
    assert f"the proxy's slot temp has the ports {site.ports[3]}, not {other}" in [one["what"] for one in found]


def test_doctor_without_java_says_what_to_install(site: Deployed) -> None:
    site.configure(java="/nowhere")
    [only] = findings(site, "doctor", 3)
    assert "there is no Java at /nowhere/bin/java" in only["what"]
    assert "install" in only["advice"]
