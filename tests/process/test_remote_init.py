"""`deployer init --host` into an empty directory of a real sshd's machine."""

from __future__ import annotations

import json
import os
import sysconfig
from typing import TYPE_CHECKING

import pytest
from ssh_server import SSHD, SshServer, ssh_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(SSHD is None, reason="there is no sshd: scripts/setup sshd")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    """A server whose pip asks nobody: what switchyard depends on is lent to it from here."""
    lent = sysconfig.get_paths()["purelib"]
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "apt-get").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/apt-log\n')
    (programs / "apt-get").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    with ssh_server(tmp_path / "ssh", f"SetEnv PIP_NO_DEPS=1 PIP_NO_INDEX=1 PYTHONPATH={lent} PATH={path}") as running:
        yield running


@pytest.mark.timeout(400)
def test_init_installs_itself_and_what_is_there_stays(server: SshServer, tmp_path: Path) -> None:
    there = tmp_path / "deep" / "project"
    (server.home / "config").mkdir()
    ours = server.home / "config" / "deployer.yaml"
    ours.write_text(
        "app: shop\nslots:\n  blue: {http_port: 19201, cluster_port: 19203, base: var/blue}\n"
        "  green: {http_port: 19202, cluster_port: 19204, base: var/green}\n"
    )
    done = server.run("init", "--remote-dir", str(there), "--json", timeout=300)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    found = json.loads(done.stdout)["findings"]
    made = {one["what"].split(",")[0] for one in found if one["state"] == "made"}
    assert "configuration config/deployer.yaml" in made
    assert any(what.startswith("switchyard ") for what in made)
    assert (there / "config/deployer.yaml").read_bytes() == ours.read_bytes()
    assert (there / "var/deployer/keys.json").is_file()
    assert os.access(there / ".venv/bin/deployer", os.X_OK)
    assert os.access(there / ".venv/bin/proxy", os.X_OK)

    ours.write_text(ours.read_text() + "strategy: swap\n")
    again = json.loads(server.run("init", "--remote-dir", str(there), "--json").stdout)["findings"]
    assert "made" not in {one["state"] for one in again}
    assert [one["advice"] for one in again if "differs" in one["what"]] == ["it was left as it is"]
    (there / "config/deployer.yaml").write_text(ours.read_text() + "tomcat: {home: /nowhere}\n")
    assert server.run("init", "--remote-dir", str(there)).returncode == 3
    assert not (tmp_path / "apt-log").exists()
    assert server.run("init", "--yes", "--remote-dir", str(there)).returncode == 3
    assert (tmp_path / "apt-log").read_text().splitlines()[1:] == ["install -q -y --no-install-recommends tomcat10"]
    (there / "config/deployer.yaml").write_text(ours.read_text())
    asked = server.run("status", "--remote-dir", str(there))
    assert asked.returncode == 3
    assert "blue" in asked.stdout


def test_a_server_without_a_python_is_told_what_it_needs(server: SshServer, tmp_path: Path) -> None:
    done = server.run("init", "--remote-dir", str(tmp_path / "x"), "--python", "/nowhere/python3")
    assert done.returncode == 3
    assert "has no Python 3.11 or newer at /nowhere/python3" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert not (tmp_path / "x").exists()
