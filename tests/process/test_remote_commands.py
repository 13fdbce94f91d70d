"""Commands with --host against a real sshd on loopback: uploads, releases, lost connections, tunnel, refusals."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import signal
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deployed_site import Deployed
from fake_proxy import FakeProxy
from ports import free_ports
from ssh_server import SSHD, Relay, SshServer, remote_python, ssh_server

from deployer.errors import Refused
from deployer.remote.address import Address
from deployer.remote.connection import ConnectionGone, Place, connected, greet
from deployer.remote.following import Follower, new_job_id
from deployer.remote.jobs import all_jobs
from deployer.remote.screen import Screen
from deployer.remote.upload import Progress, upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(SSHD is None, reason="there is no sshd: scripts/setup sshd")

WAITING = 'hooks: {before_start: ["touch waiting; until [ -e go ]; do sleep 0.05; done"]}'
"""The release stands still in this hook until the test lets it go."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("remote") / "ssh") as running:
        yield running


@contextmanager
def project(directory: Path) -> Iterator[Deployed]:
    """The project on the server."""
    ports = free_ports(7)
    with FakeProxy(ports[6], {"production": ports[0], "temp": ports[3]}) as proxy:
        deployed = Deployed(directory, proxy.url, ports[:6])
        deployed.configure()
        remote_python(directory)
        try:
            yield deployed
        finally:
            for job in all_jobs(directory):
                job.interrupt()
            deployed.stop_all()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployed]:
    """A project in which nothing was released yet."""
    with project(tmp_path) as deployed:
        yield deployed


@pytest.fixture(scope="module")
def released(server: SshServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A project in which release 7 is live, released from here."""
    with project(tmp_path_factory.mktemp("released")) as deployed:
        war = here(server, deployed.war(7))
        done = server.run("release", war, "--json", "--message", "two words; 'quoted'", *there(deployed))
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert told[0]["event"] == "upload"
        assert told[-1]["event"] == "result"
        assert told[-1]["exit_code"] == done.returncode == 0
        yield deployed


def there(site: Deployed) -> list[str]:
    return ["--remote-dir", str(site.directory)]


def here(server: SshServer, path: Path) -> str:
    """Moves a file to the client's side."""
    return str(path.rename(server.home / path.name))


def big_war(server: SshServer, site: Deployed, size: int = 3 << 20) -> Path:
    path = server.home / f"big-{site.directory.name}.war"
    path.write_bytes(os.urandom(size))
    return path


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)


def uploads(site: Deployed) -> list[Path]:
    return sorted((site.directory / "var/remote/uploads").glob("*/*"))


def test_what_was_released_from_here_is_known_there_and_seen_here(server: SshServer, released: Deployed) -> None:
    asked = server.run("status", "--json", *there(released))
    last = json.loads(asked.stdout)["last"]
    assert (last["name"], last["message"], last["state"]) == ("shop-7.war", "two words; 'quoted'", "done")
    assert last == released.status()["last"]
    assert last["by"].count(" as ") == 1
    assert server.run("show", "nothing", *there(released)).returncode == 3
    planned = server.run("plan", str(server.home / "shop-7.war"), *there(released))
    assert planned.returncode == 0, planned.stderr
    assert "upload shop-7.war: is there already" in planned.stderr
    assert "by temp, and back to production" in planned.stdout


@pytest.fixture
def at_home(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the client."""
    monkeypatch.setenv("HOME", str(server.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def place_of(server: SshServer, site: Deployed, port: int | None = None) -> Place:
    return Place(Address("127.0.0.1", "root", port or server.port), str(site.directory), server.identity)


async def sent(place: Place, source: Path, free: int = 1 << 30) -> tuple[list[Progress], int]:
    """Every report of an upload, and the bytes that went over the line."""
    reports: list[Progress] = []
    async with connected(place) as connection:
        done = await upload(connection, place, source, reports.append, free=free)
    assert done.path.endswith(f"/{source.name}")
    return reports, done.sent


@pytest.mark.usefixtures("at_home")
async def test_a_broken_upload_goes_on_where_it_ended(server: SshServer, site: Deployed) -> None:
    war = big_war(server, site)
    with Relay(server.port, after=2 << 20) as relay:
        server.know(relay.port)
        place = place_of(server, site, relay.port)
        with pytest.raises(Refused, match="was lost during the upload") as broken:
            await sent(place, war)
        assert "goes on from where it ended" in broken.value.advice
        [part] = uploads(site)
        assert part.name == f"{war.name}.part"
        there_already = part.stat().st_size
        assert there_already >= 1 << 20
        reports, count = await sent(place, war)
        assert reports[0].resumed >= there_already, "the server may have written more since the client saw the loss"
        assert count == (3 << 20) - reports[0].resumed
        [whole] = uploads(site)
        assert whole.name == war.name
        assert whole.read_bytes() == war.read_bytes()
        assert await sent(place, war) == ([Progress(war.name, 3 << 20, 3 << 20, 3 << 20)], 0)


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("damage", [lambda data: data[:99] + b"!" + data[100:5000], lambda data: data + b"too long"])
async def test_a_damaged_part_is_sent_anew(server: SshServer, site: Deployed, damage: Callable[[bytes], bytes]) -> None:
    war = big_war(server, site, 1 << 20)
    content = war.read_bytes()
    part = site.directory / "var/remote/uploads" / hashlib.sha256(content).hexdigest()[:16] / f"{war.name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(damage(content))
    reports, count = await sent(place_of(server, site), war)
    assert (reports[0].resumed, count) == (0, 1 << 20)
    [whole] = uploads(site)
    assert whole.read_bytes() == content


@pytest.mark.usefixtures("at_home")
async def test_a_file_that_changes_while_it_is_sent_never_gets_its_name(server: SshServer, site: Deployed) -> None:
    war = big_war(server, site)
    place = place_of(server, site)

    def change(progress: Progress) -> None:
        if progress.sent == 1 << 20:
            war.write_bytes(os.urandom(3 << 20))

    async with connected(place) as connection:
        with pytest.raises(Refused, match="its SHA-256 differs"):
            await upload(connection, place, war, change, free=1 << 30)
    assert uploads(site) == []


@pytest.mark.usefixtures("at_home")
async def test_a_server_without_room_is_sent_nothing(server: SshServer, site: Deployed) -> None:
    with pytest.raises(Refused, match="has 5 MiB free at") as refused:
        await sent(place_of(server, site), site.war(1), free=5 << 20)
    assert "make room there" in refused.value.advice
    assert uploads(site) == []


def test_a_lost_connection_is_made_again_and_nothing_is_shown_twice(server: SshServer, site: Deployed) -> None:
    site.configure(more=WAITING)
    war = here(server, site.war(1))
    with Relay(server.port) as relay:
        server.know(relay.port)
        with server.started("release", war, *there(site), port=relay.port) as client:
            wait_until((site.directory / "waiting").exists)
            relay.cut()
            wait_until(lambda: relay.accepted == 2)
            (site.directory / "go").touch()
            out, err = client.communicate(timeout=60)
    assert client.returncode == 0, out + err
    assert "was lost; what runs there goes on" in err
    assert out == (all_jobs(site.directory)[0].directory / "out").read_text()


@pytest.mark.usefixtures("at_home")
async def test_a_connection_that_stays_lost_is_given_up_and_the_release_goes_on(
    server: SshServer, site: Deployed
) -> None:
    site.configure(more=WAITING)
    war = site.war(1)
    out, err = io.BytesIO(), io.BytesIO()
    with Relay(server.port) as relay:
        server.know(relay.port)
        place = place_of(server, site, relay.port)
        screen = Screen(out, err, terminal=False, json_events=False)
        follower = Follower(place, screen, new_job_id(), ["release", war.name], patience=0.5)
        async with connected(place) as connection:
            running = asyncio.create_task(follower.run(connection))
            await asyncio.to_thread(wait_until, (site.directory / "waiting").exists)
            await asyncio.to_thread(wait_until, lambda: screen.out.count > 0)
            relay.refusing = True
            relay.cut()
            with pytest.raises(ConnectionGone, match="the command goes on there") as gone:
                await running
    assert f"deployer resume --host root@127.0.0.1:{relay.port} --remote-dir" in gone.value.advice
    [job] = all_jobs(site.directory)
    assert job.running
    (site.directory / "go").touch()
    await asyncio.to_thread(wait_until, lambda: not job.running)
    assert job.exit_code == 0


def test_a_client_that_dies_leaves_the_release_running_and_resume_follows_it(server: SshServer, site: Deployed) -> None:
    site.configure(more=WAITING)
    with server.started("release", here(server, site.war(1)), *there(site)) as client:
        wait_until((site.directory / "waiting").exists)
        client.kill()
    seen = server.run("status", *there(site))
    assert "note: `deployer release shop-1.war` runs;" in seen.stderr
    assert "release" in seen.stdout
    with server.started("resume", *there(site)) as follower:
        assert follower.stderr is not None
        assert "still runs on" in follower.stderr.readline()
        (site.directory / "go").touch()
        out, err = follower.communicate(timeout=60)
    assert follower.returncode == 0, out + err
    assert "is live in production" in out
    assert "note" not in server.run("status", *there(site)).stderr


def test_the_end_that_nobody_saw_is_told_by_status(server: SshServer, site: Deployed) -> None:
    site.configure(more=WAITING.replace("done", "done; exit 1"))
    with server.started("release", here(server, site.war(1)), *there(site)) as client:
        wait_until((site.directory / "waiting").exists)
        client.kill()
    [job] = all_jobs(site.directory)
    wait_until(lambda: not _processes("follow", site.directory) and not _processes("job", site.directory))
    (site.directory / "go").touch()
    wait_until(lambda: not job.running)
    assert "ended with exit code 1 while nobody was connected" in server.run("status", *there(site)).stderr


def test_a_release_that_is_killed_there_needs_a_person(server: SshServer, site: Deployed) -> None:
    site.configure(more=WAITING)
    with server.started("release", here(server, site.war(1)), *there(site)) as client:
        wait_until((site.directory / "waiting").exists)
        [job] = all_jobs(site.directory)
        deployer = int((job.directory / "pid").read_text())
        supervisor = int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(deployer)]))
        os.kill(supervisor, signal.SIGKILL)
        os.kill(deployer, signal.SIGKILL)
        (site.directory / "go").touch()
        out, err = client.communicate(timeout=60)
    assert client.returncode == 4, out + err
    assert "ended without an exit code" in err


def test_ctrl_c_undoes_the_release_there(server: SshServer, site: Deployed) -> None:
    site.configure(more=WAITING)
    with server.started("release", here(server, site.war(1)), *there(site)) as client:
        wait_until((site.directory / "waiting").exists)
        client.send_signal(signal.SIGINT)
        _until(client, "interrupted: undoing")
        (site.directory / "go").touch()
        out = _until(client, "failed, and undone")  # not `communicate`, which forgets what `readline` has read ahead
        _, err = client.communicate(timeout=60)
    assert client.returncode == 1, out + err
    assert "Ctrl-C is passed on" in err


def _until(client: subprocess.Popen[str], words: str) -> str:
    assert client.stdout is not None
    seen = ""
    while words not in seen:
        line = client.stdout.readline()
        assert line, seen
        seen += line
    return seen


def test_what_only_prints_ends_with_its_caller(server: SshServer, released: Deployed) -> None:
    with server.started("logs", "production", "-f", *there(released)) as client:
        _until(client, "stand-in for Tomcat")
        assert _processes("logs", "--follow", released.directory)
        client.kill()
    wait_until(lambda: not _processes("logs", "--follow", released.directory))


def _processes(*words: Any) -> list[int]:
    """The deployer's processes in that directory, by words of their command line."""
    *arguments, directory = words
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text().split("\0")
            inside = os.readlink(entry / "cwd") == str(directory)
        except OSError:
            continue
        if inside and "-m" in command and all(word in command for word in arguments):
            found.append(int(entry.name))
    return found


def test_a_tunnel_carries_http_to_the_private_port(server: SshServer, released: Deployed) -> None:
    [port] = free_ports(1)
    with server.started("tunnel", "production", "-L", str(port), *there(released)) as client:
        said = _until(client, "Ctrl-C ends it")
        assert f"http://127.0.0.1:{port} is production" in said
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as response:
            assert response.read() == b"ok 7"
        client.send_signal(signal.SIGINT)
        _, err = client.communicate(timeout=20)
    assert client.returncode == 0, err
    assert "there is no slot nowhere" in server.run("tunnel", "nowhere", *there(released)).stderr


async def refusal(place: Place) -> Refused:
    """Why it would not even begin there."""
    with pytest.raises(Refused) as refused:
        async with connected(place) as connection:
            await greet(connection, place)
    assert refused.value.advice
    return refused.value


@pytest.mark.usefixtures("at_home")
async def test_a_server_that_is_not_known_or_another_one_is_refused(server: SshServer, site: Deployed) -> None:
    with Relay(server.port) as relay:
        unknown = await refusal(place_of(server, site, relay.port))
        assert server.fingerprint() in str(unknown)
        assert "is not known" in str(unknown)
        assert f"ssh -p {relay.port} root@127.0.0.1" in unknown.advice
        known = server.home / ".ssh" / "known_hosts"
        kind, key, *_ = (server.directory / "user_key.pub").read_text().split()
        with known.open("a") as stream:
            stream.write(f"[127.0.0.1]:{relay.port} {kind} {key}\n")
        assert "is not the one in ~/.ssh/known_hosts" in str(await refusal(place_of(server, site, relay.port)))


def test_the_check_of_host_keys_can_not_be_turned_off(server: SshServer, site: Deployed) -> None:
    config = server.home / ".ssh" / "config"
    config.write_text("Host *\n  UserKnownHostsFile none\n  StrictHostKeyChecking no\n")
    try:
        refused = server.run("status", *there(site))
    finally:
        config.unlink()
    assert refused.returncode == 3
    assert "turns the check" in refused.stderr
    assert "what to do:" in refused.stderr


@pytest.mark.usefixtures("at_home")
async def test_other_refusals_say_what_to_do(server: SshServer, site: Deployed, tmp_path: Path) -> None:
    place = place_of(server, site)
    assert "has no directory nowhere" in str(await refusal(replace(place, directory="nowhere")))
    (tmp_path / "empty").mkdir()
    assert "has no Python at" in str(await refusal(replace(place, directory=str(tmp_path / "empty"))))
    assert "none of our keys" in str(await refusal(replace(place, identity=str(server.directory / "host_key"))))
    assert "can't be used" in str(await refusal(replace(place, identity=str(server.home / "no-key"))))
    assert "can't connect" in str(await refusal(place_of(server, site, free_ports(1)[0])))
    (site.directory / ".venv/bin/python").write_text("#!/bin/sh\necho broken >&2; exit 1\n")
    assert "can't run: broken" in str(await refusal(place))
    (site.directory / ".venv/bin/python").write_text("#!/bin/sh\necho Welcome\n")
    assert "prints something of its own: 'Welcome'" in str(await refusal(place))


def test_another_version_there_is_told(server: SshServer, site: Deployed) -> None:
    older = site.directory / "older" / "switchyard-0.0.7.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: switchyard\nVersion: 0.0.7\n")
    python = site.directory / ".venv/bin/python"
    python.write_text(python.read_text().replace("PYTHONPATH=", f"PYTHONPATH={older.parent}:"))
    asked = server.run("lock", "status", *there(site))
    assert asked.stdout == "nobody has the lock\n"
    assert f"switchyard is 0.0.7 on root@127.0.0.1:{server.port}" in asked.stderr
