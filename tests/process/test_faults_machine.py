"""Faults of the machine in a release: full disks, read-only directories, a Tomcat that hangs, one that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest
from deployed_site import Deployed
from fake_proxy import FakeProxy
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Mount = Callable[..., None]

ROOM = 256 * 1024
BIG = "x" * (2 * ROOM)


@pytest.fixture
def ports() -> list[int]:
    return free_ports(7)


@pytest.fixture
def proxy(ports: list[int]) -> Iterator[FakeProxy]:
    with FakeProxy(ports[6], {"production": ports[0], "temp": ports[3]}) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, proxy: FakeProxy, ports: list[int]) -> Iterator[Deployed]:
    """Release 1 is live in production."""
    deployed = Deployed(tmp_path, proxy.url, ports[:6])
    deployed.configure()
    done = deployed.run("release", str(deployed.war(1)))
    assert done.returncode == 0, done.stdout + done.stderr
    yield deployed
    deployed.stop_all()


@pytest.fixture
def mount(site: Deployed) -> Iterator[Mount]:
    """Mounts something over a directory below the site's; all is unmounted before the site goes."""
    mounted: list[Path] = []

    def on(path: str, *options: str) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small disk")
        point = site.directory / path
        point.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *options, str(point)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounts are not allowed here: {done.stderr.strip()}")
        mounted.append(point)

    yield on
    site.stop_all()
    for point in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(point)], check=True)


def served(site: Deployed, proxy: FakeProxy) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.slots[proxy.active]}/health", timeout=5) as response:
        text: str = response.read().decode()
        return text


def fill(directory: Path) -> Path:
    """Takes all the room that there is."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return ballast


SMALL = ("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs")


def test_a_disk_too_small_for_the_slot_undoes_the_release(site: Deployed, proxy: FakeProxy, mount: Mount) -> None:
    mount("var/temp", *SMALL)
    done = site.run("release", str(site.war(2, padding=BIG)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "No space left on device" in done.stdout
    assert "make room" in done.stdout
    assert "failed, and undone: the site is as before" in done.stdout
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1")
    assert not list((site.directory / "var/temp").rglob("*.war"))
    assert site.run("release", str(site.war(3))).returncode == 0
    assert served(site, proxy) == "ok 3"


def test_a_full_disk_under_the_static_files_undoes_the_release(site: Deployed, proxy: FakeProxy, mount: Mount) -> None:
    mount("var/static", *SMALL)
    ballast = fill(site.directory / "var/static")
    done = site.run("release", str(site.war(2)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "No space left on device" in done.stdout
    assert served(site, proxy) == "ok 1"
    ballast.unlink()
    assert site.run("release", str(site.war(2))).returncode == 0


def test_a_store_without_room_refuses_the_release(site: Deployed, proxy: FakeProxy, mount: Mount) -> None:
    mount("var/releases", *SMALL)
    done = site.run("release", str(site.war(2)))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "MiB free; the release needs about" in done.stderr
    assert served(site, proxy) == "ok 1"


def test_a_full_disk_under_the_journal_refuses_the_release(site: Deployed, proxy: FakeProxy, mount: Mount) -> None:
    keys = (site.directory / "var/deployer/keys.json").read_bytes()
    mount("var/deployer", *SMALL)
    (site.directory / "var/deployer/keys.json").write_bytes(keys)
    fill(site.directory / "var/deployer")
    done = site.run("release", str(site.war(2)))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "No space left on device" in done.stderr or "disk is full" in done.stderr
    assert "make room" in done.stderr
    assert served(site, proxy) == "ok 1"


def test_a_disk_that_fills_in_the_release_undoes_it_without_the_journal(
    site: Deployed, proxy: FakeProxy, mount: Mount
) -> None:
    state = site.directory / "var/deployer"
    keys = (state / "keys.json").read_bytes()
    mount("var/deployer", *SMALL)
    (state / "keys.json").write_bytes(keys)
    site.configure(f"hooks: {{after_switch: ['cat /dev/zero > {state}/ballast || true']}}")
    done = site.run("release", str(site.war(2)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "can't be written" in done.stdout
    assert "failed, and undone" in done.stdout
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1")
    (state / "ballast").unlink()
    site.configure()
    assert "was cut off" in site.status()["advice"][0], "its end could not be noted"
    assert site.run("resume").returncode == 0
    assert served(site, proxy) == "ok 2"


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        ("var/temp", 1, "cannot prepare slot temp"),
        ("var/releases", 1, "cannot store"),
        ("var/static", 1, "Read-only file system"),
        ("var/deployer", 3, "can't be opened: Read-only file system"),
    ],
)
def test_a_read_only_directory(
    site: Deployed, proxy: FakeProxy, mount: Mount, path: str, code: int, words: str
) -> None:
    (site.directory / path).mkdir(parents=True, exist_ok=True)
    mount(path, "--bind", "-o", "ro", str(site.directory / path))
    done = site.run("release", str(site.war(2)))
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert words in said
    assert "what to do: " in said
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1")


def test_a_tomcat_that_never_gets_ready_is_given_up(site: Deployed, proxy: FakeProxy) -> None:
    configured = (
        (site.directory / "deployer.yaml").read_text().replace("timeout: 10s, successes", "timeout: 1s, successes")
    )
    (site.directory / "deployer.yaml").write_text(configured)
    done = site.run("release", str(site.war(2, hangs=True)))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "it was not ready within 1 s" in done.stdout
    assert "failed, and undone: the site is as before" in done.stdout
    assert (proxy.epoch, served(site, proxy)) == (0, "ok 1")
    assert not site.status()["slots"]["temp"]["running"]


@pytest.mark.parametrize("strategy", ["swap", "return"])
def test_a_tomcat_that_dies_after_the_switch_is_left_again(site: Deployed, proxy: FakeProxy, strategy: str) -> None:
    text = (site.directory / "deployer.yaml").read_text().replace("watch: {for: 300ms}", "watch: {for: 20s}")
    (site.directory / "deployer.yaml").write_text(text)
    with site.started("release", str(site.war(2)), "--strategy", strategy, "--json") as running:
        assert running.stdout is not None
        for line in running.stdout:
            event = json.loads(line)
            if event.get("step") == "watch temp" and event["state"] == "started":
                pid = json.loads((site.directory / "var/temp/tomcat.pid.json").read_bytes())["pid"]
                os.kill(pid, signal.SIGKILL)
            elif event["event"] == "result":
                assert event["state"] == "undone", event
        assert running.wait() == 1
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1")
    assert site.status()["cut_off"] is None
