"""The parts of --host that need no server: addresses, forwarded words, reports of uploads, jobs, the wheel."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from deployer.cli import cli
from deployer.errors import ConfigurationError, DeployerError, Refused
from deployer.remote import there
from deployer.remote.address import Address, parse_address
from deployer.remote.command import HostCommand
from deployer.remote.forwarding import words
from deployer.remote.jobs import Job, all_jobs, supervise
from deployer.remote.layout import BAD_HASH, JOBS, UPLOADS
from deployer.remote.screen import Screen
from deployer.remote.upload import Progress
from deployer.remote.wheel import build_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("shop.example.org", Address("shop.example.org")),
        ("deploy@shop", Address("shop", "deploy")),
        ("deploy@shop:2222", Address("shop", "deploy", 2222)),
        ("10.0.0.7:22", Address("10.0.0.7", None, 22)),
        ("root@[::1]", Address("::1", "root")),
        ("[fe80::1]:2222", Address("fe80::1", None, 2222)),
    ],
)
def test_addresses_are_read_and_written_alike(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "@shop", "a@b@c", "shop:", "shop:0", "shop:65536", "shop:x", "-oProxyCommand=x", "a b", "x\n", "::1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--host"):
        parse_address(text)


def forwarded(arguments: list[str], **sent: str) -> list[str]:
    """What the deployer's own commands would run on the server."""
    found: list[list[str]] = []

    class Recorder(HostCommand):
        def invoke(self, ctx: click.Context) -> Any:
            found.append(words(ctx, sent))

    def recording(group: click.Group) -> click.Group:
        commands: dict[str, click.Command] = {}
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                commands[name] = recording(command)
            elif isinstance(command, HostCommand):
                commands[name] = Recorder(name, callback=command.callback)
                commands[name].params = command.params
        return click.Group(group.name, commands=commands, params=group.params)

    done = CliRunner().invoke(recording(cli), arguments, obj=None)
    assert done.exit_code == 0, done.output
    [only] = found
    return only


def test_a_command_is_forwarded_as_it_was_typed_but_for_the_host() -> None:
    typed = [
        "release",
        "a b.war",
        "--host",
        "me@shop",
        "-i",
        "key",
        "--remote-dir",
        "/x",
        "-m",
        "it's",
        "--json",
    ]
    assert forwarded(typed, war="var/up/a b.war") == [
        "release",
        "--message=it's",
        "--json",
        "--",
        "var/up/a b.war",
    ]
    assert forwarded(["logs", "temp", "-n5", "-f", "--host=x"]) == ["logs", "--follow", "--lines=5", "--", "temp"]
    assert forwarded(["lock", "status", "--host", "x"]) == ["lock", "status"]


def test_the_configuration_named_before_the_command_goes_along() -> None:
    assert forwarded(["-c", "other.yaml", "status", "--host", "x"]) == ["status", "--config=other.yaml"]
    assert forwarded(["-c", "a.yaml", "status", "-c", "b.yaml", "--host", "x"]) == ["status", "--config=b.yaml"]


def all_commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from all_commands(command)
        else:
            yield command


def test_every_command_takes_a_host() -> None:
    for command in all_commands(cli):
        assert {"host", "identity", "remote_dir"} <= {parameter.name for parameter in command.params}, command.name


@pytest.mark.parametrize(
    "arguments", [["status", "-i", "key"], ["tunnel", "temp"], ["init", "--yes"], ["init", "--python", "python3"]]
)
def test_options_of_a_host_without_one_are_errors_of_usage(arguments: list[str], tmp_path: Path) -> None:
    [name, *rest] = arguments
    done = CliRunner().invoke(cli, [name, "-c", str(tmp_path / "none" / "deployer.yaml"), *rest])
    assert done.exit_code == 2
    assert "--host" in done.output
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_here_is_refused_before_anyone_is_asked(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["release", str(tmp_path / "no.war"), "--host", "nobody.invalid"])
    assert isinstance(done.exception, Refused)
    assert "there is no such file here" in str(done.exception)


def screen(*, json_events: bool = False, terminal: bool = False) -> tuple[Screen, io.BytesIO, io.BytesIO]:
    out, err = io.BytesIO(), io.BytesIO()
    return Screen(out, err, terminal=terminal, json_events=json_events), out, err


def test_an_upload_is_told_in_few_lines() -> None:
    shown, out, err = screen()
    for sent in range(101):
        shown.upload(Progress("a.war", sent << 20, 100 << 20, 0))
    lines = err.getvalue().decode().splitlines()
    assert lines[0] == "upload a.war: 0 % of 100.0 MiB"
    assert lines[-1] == "upload a.war: 100 % of 100.0 MiB"
    assert len(lines) == 11
    assert out.getvalue() == b""
    assert shown.out.count == shown.err.count == 0


def test_an_upload_that_goes_on_says_from_where() -> None:
    shown, _, err = screen()
    shown.upload(Progress("a.war", 5 << 20, 10 << 20, 5 << 20))
    assert err.getvalue() == b"upload a.war: 50 % of 10.0 MiB, going on from 5.0 MiB\n"


def test_an_upload_among_json_events_is_one() -> None:
    shown, out, err = screen(json_events=True)
    shown.upload(Progress("a.war", 0, 0, 0))
    assert json.loads(out.getvalue()) == {"event": "upload", "name": "a.war", "sent": 0, "size": 0, "resumed": 0}
    assert err.getvalue() == b""


def test_a_reader_that_went_away_is_no_error_and_what_came_is_still_counted() -> None:
    shown, out, _ = screen()
    shown.out.write(b"one")
    out.close()
    shown.out.write(b"two")
    assert shown.out.count == 6


# --- the part on the server ---------------------------------------------------------------------------------

ID = "20261123-001500-0123abcd"


def test_a_job_keeps_output_and_exit_code(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    job = Job(tmp_path, ID)
    code = "import sys; print(sys.argv[1:]); print('oh', file=sys.stderr); sys.exit(4)"
    saved = _keep_stdout()
    try:
        assert supervise(job, ["release", "x"], [sys.executable, "-c", code])
    finally:
        saved()
    assert (job.directory / "out").read_text() == "['release', 'x']\n"
    assert (job.directory / "err").read_text() == "oh\n"
    state = job.state()
    assert (state.args, state.exit_code, state.running, state.seen) == (["release", "x"], 4, False, False)
    assert capfd.readouterr().out == ""


def test_the_same_job_is_not_started_twice(tmp_path: Path) -> None:
    job = Job(tmp_path, ID)
    saved = _keep_stdout()
    try:
        assert supervise(job, [], [sys.executable, "-c", "open('once', 'x')"]) is True
        assert supervise(job, [], [sys.executable, "-c", "raise SystemExit(9)"]) is False
    finally:
        saved()
        Path("once").unlink()
    assert [one.id for one in all_jobs(tmp_path)] == [ID]
    assert job.exit_code == 0
    assert [entry.name for entry in (tmp_path / JOBS).iterdir()] == [ID]


def test_old_jobs_are_removed_but_not_the_newest(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / JOBS / f"20261122-0000{number:02}-00000000").mkdir(parents=True)
    saved = _keep_stdout()
    try:
        supervise(Job(tmp_path, ID), [], [sys.executable, "-c", ""])
    finally:
        saved()
    left = [job.id for job in all_jobs(tmp_path)]
    assert left[0] == ID
    assert len(left) == 21
    assert left[-1] == "20261122-000005-00000000"


@pytest.mark.parametrize("name", ["", "..", "../x", "20261123-001500-0123abcd/..", "20261123-001500-0123ABCD"])
def test_a_job_is_named_by_its_form_alone(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a job"):
        Job(tmp_path, name)


def _keep_stdout() -> Any:
    """`supervise` lets go of the standard output; what brings it back."""
    kept = os.dup(1)

    def back() -> None:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)

    return back


def test_a_file_gets_its_name_only_when_its_hash_is_right(tmp_path: Path) -> None:
    part, final = tmp_path / "a.war.part", tmp_path / "a.war"
    part.write_bytes(b"whole")
    assert there.place([str(part), str(final), hashlib.sha256(b"other").hexdigest()]) == BAD_HASH
    assert list(tmp_path.iterdir()) == []
    part.write_bytes(b"whole")
    assert there.place([str(part), str(final), hashlib.sha256(b"whole").hexdigest()]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.war"]


def test_the_digest_of_a_file_that_is_not_there_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert there.digest([str(tmp_path / "none")]) == 0
    assert json.loads(capsys.readouterr().out) == {"size": 0, "sha256": ""}
    assert UPLOADS.startswith("var/")


def test_the_wheel_holds_both_programs_and_is_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    wheel, again = build_wheel(tmp_path / "a"), build_wheel(tmp_path / "b")
    assert wheel.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        assert {"deployer/cli.py", "deployer/remote/there.py", "proxy/cli.py"} <= set(names)
        assert not [name for name in names if "__pycache__" in name]
        record = next(name for name in names if name.endswith(".dist-info/RECORD"))
        listed = [line.rsplit(",", 2) for line in opened.read(record).decode().splitlines()]
        assert [name for name, _, _ in listed] == names
        for name, digest, size in listed[:-1]:
            data = opened.read(name)
            expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert (digest, size) == (f"sha256={expected}", str(len(data))), name
        points = opened.read(record.replace("RECORD", "entry_points.txt")).decode()
    assert "deployer = deployer.cli:main" in points
    assert entry_points(group="console_scripts", name="deployer")


def test_help_does_not_load_ssh() -> None:
    code = "import sys; sys.argv[1:] = ['--help']\nfrom deployer.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit: pass\n"
    code += "print([name for name in ('asyncssh', 'asyncio', 'cryptography') if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_errors_of_the_connection_have_exit_codes() -> None:
    from deployer.remote.connection import ConnectionGone

    assert issubclass(ConnectionGone, DeployerError)
    assert ConnectionGone.exit_code == 4
