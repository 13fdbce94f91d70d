"""`tomcat.run: systemd`: the units as systemd reads them, and releases by them with a stand-in for systemctl."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deployed_site import Deployed
from fake_proxy import FakeProxy
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

UNITS = ("switchyard-shop-production.service", "switchyard-shop-temp.service")


@pytest.fixture
def ports() -> list[int]:
    return free_ports(7)


@pytest.fixture
def proxy(ports: list[int]) -> Iterator[FakeProxy]:
    with FakeProxy(ports[6], {"production": ports[0], "temp": ports[3]}) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, proxy: FakeProxy, ports: list[int]) -> Iterator[Deployed]:
    deployed = Deployed(tmp_path, proxy.url, ports[:6])
    configure(deployed)
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    stand_in = Path(__file__).with_name("stand_in_systemctl.py")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
    program.chmod(0o755)
    units = tmp_path / "units"
    units.mkdir()
    path = f"{program.parent}:{deployed.environment['PATH']}"
    deployed.environment.update(STAND_IN_UNITS=str(units), PATH=path)
    yield deployed
    deployed.stop_all()


def configure(site: Deployed, jvm: str = "-Xmx64m") -> None:
    site.configure()
    file = site.directory / "deployer.yaml"
    file.write_text(file.read_text().replace("stop: 5s}", f'stop: 5s, run: systemd, jvm: "{jvm}"}}', 1))


def write_units(site: Deployed) -> None:
    done = site.run("systemd", "--write", str(site.directory / "units"))
    assert (done.returncode, done.stdout.count("wrote ")) == (0, 2), done.stdout + done.stderr


def calls(site: Deployed) -> list[str]:
    """What systemctl was ordered to do."""
    lines = (site.directory / "units" / "calls").read_text().splitlines()
    return [line for line in lines if not line.startswith(("show", "reset-failed"))]


def test_systemd_reads_the_units_without_a_complaint(site: Deployed) -> None:
    write_units(site)
    files = [str(site.directory / "units" / name) for name in UNITS]
    found = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    text = Path(files[1]).read_text()
    shown = site.run("systemd").stdout
    assert text in shown
    [command] = [line.partition("=")[2] for line in text.splitlines() if line.startswith("ExecStart=")]
    site.run("release", str(site.war(1)))
    planned = site.run("plan", str(site.war(2))).stdout
    assert f"runs {command}" in planned


def test_releases_by_systemd(site: Deployed, proxy: FakeProxy) -> None:
    refused = site.run("release", str(site.war(1)))
    assert refused.returncode == 3
    assert f"systemd has no unit {UNITS[0]} (not-found)" in refused.stderr
    assert "`deployer systemd --write /etc/systemd/system`, then `systemctl daemon-reload`" in refused.stderr

    write_units(site)
    done = site.run("release", str(site.war(1)))
    assert done.returncode == 0, done.stdout + done.stderr
    slots = site.status()["slots"]
    assert (slots["production"]["running"], slots["production"]["http_ready"]) == (True, True)
    assert f'"pid": {slots["production"]["pid"]}' in (site.directory / "units" / f"{UNITS[0]}.state").read_text()

    done = site.run("release", str(site.war(2)))
    assert done.returncode == 0, done.stdout + done.stderr
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.slots[proxy.active]}/health", timeout=5) as response:
        assert response.read() == b"ok 2"
    production, temp = UNITS
    orders = [f"start {production}", f"start {temp}", f"stop {production}", f"start {production}", f"stop {temp}"]
    assert calls(site) == orders
    assert "stand-in for Tomcat" in site.run("logs", "production").stdout

    configure(site, jvm="-Xmx80m")
    stale = site.run("start", "temp")
    assert stale.returncode == 3
    assert f"{site.directory}/units/{temp} is not what deployer.yaml says now" in stale.stderr
    assert calls(site) == orders
    # Also where both slots run: none of them is stopped that could not be started again.
    configure(site)
    assert site.run("start", "temp").returncode == 0
    configure(site, jvm="-Xmx80m")
    swap = site.run("release", str(site.war(3)), "--strategy", "swap")
    assert (swap.returncode, calls(site)) == (3, [*orders, f"start {temp}"])
    assert f"{temp} is not what deployer.yaml says now" in swap.stderr


def test_a_release_that_does_not_start_is_stopped_and_undone(site: Deployed, proxy: FakeProxy) -> None:
    write_units(site)
    assert site.run("release", str(site.war(1))).returncode == 0
    done = site.run("release", str(site.war(2, fails=True)))
    assert done.returncode == 1
    assert "java.lang.IllegalStateException: there is no database" in done.stdout
    assert calls(site)[-1] == f"stop {UNITS[1]}"
    assert proxy.active == "production"


def test_without_systemd_the_doctor_and_a_release_say_so_and_a_server_is_still_found(site: Deployed) -> None:
    site.environment["STAND_IN_DOWN"] = "1"
    doctor = site.run("doctor")
    assert doctor.returncode == 3
    assert "tomcat.run is systemd, and systemd does not answer: System has not been booted" in doctor.stdout
    assert "or set tomcat.run: process" in doctor.stdout
    assert site.run("release", str(site.war(1))).returncode == 3
    site.configure()
    assert site.run("release", str(site.war(1))).returncode == 0
    # What the deployer had started itself, before run was changed, is still known and stopped.
    configure(site)
    assert site.status()["slots"]["production"]["running"]
    assert site.run("stop", "production", "--force").returncode == 0
    assert not site.status()["slots"]["production"]["running"]
