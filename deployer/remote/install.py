"""`deployer init --host`: this switchyard on the server, in a .venv of the project's directory, and then its `init`.

Nothing that is there is overwritten, except another version of the switchyard in that .venv. Cut off at any moment,
the same command again goes on: the .venv counts as done only by its stamp, which is written last.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import asyncssh

from deployer.doctor import Finding
from deployer.errors import ConfigurationError, Refused
from deployer.remote.connection import call, connected, greet, home_relative, shell, there
from deployer.remote.forward import our_version
from deployer.remote.layout import CONFIGURATIONS, PART, STAMP, WHEELS
from deployer.remote.wheel import build_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.remote.connection import Place

_PYTHONS = ("python3", "python3.13", "python3.12", "python3.11")
_APT = re.compile(r"apt-get install ([a-z0-9][a-z0-9+.-]*)")
_ROUNDS = 4
"""`init` may see the next thing that is missing only when the one before is there."""

_APT_SCRIPT = """
command -v apt-get >/dev/null || { echo "there is no apt-get" >&2; exit 1; }
sudo=
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || { echo "we are not root there, and sudo asks for a password" >&2; exit 1; }
    sudo="sudo -n"
fi
policy=/usr/sbin/policy-rc.d made=
if [ ! -e $policy ]; then
    printf '#!/bin/sh\\nexit 101\\n' | $sudo tee $policy >/dev/null && $sudo chmod 755 $policy && made=1
fi
trap '[ -z "$made" ] || $sudo rm -f $policy' EXIT
$sudo apt-get update -q >/dev/null 2>&1
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends PACKAGES >&2 </dev/null
"""
"""Services of the packages are not started: a Tomcat on its default port would be in the way of the slots."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """config: the local file to send, None: none. python: there, None: look for one. install: packages by apt."""

    config: Path | None
    python: str | None
    install: bool


def install(place: Place, wanted: Wanted, say: Callable[[str], None]) -> list[Finding]:
    """Does it; what it found and made, and what `init` there did. Raises Refused, ConfigurationError."""
    gc.enable()
    return asyncio.run(_install(place, wanted, say))


async def _install(place: Place, wanted: Wanted, say: Callable[[str], None]) -> list[Finding]:
    async with connected(place) as connection:
        server = _Server(connection, place, say)
        python = await server.python(wanted)
        await server.directory()
        found = [await server.switchyard(python, wanted)]
        config = await server.configuration_name()
        if wanted.config is not None:
            found += await server.configurations(wanted.config, config)
        hello = await greet(connection, place)
        found.insert(0, Finding("ok", f"directory {hello.directory} on {place.address}"))
        return [*found, *await server.initialise(config, wanted)]


class _Server:
    """The steps on one server."""

    def __init__(self, connection: asyncssh.SSHClientConnection, place: Place, say: Callable[[str], None]) -> None:
        self._connection = connection
        self._place = place
        self._say = say

    def __repr__(self) -> str:
        return f"<_Server {self._place.address}>"

    async def _run(self, script: str) -> tuple[int, str, str]:
        code, out, err = await call(self._connection, shell(script))
        if code is None:
            raise Refused(f"the connection to {self._place.address} was lost", "the same command again goes on")
        return code, out.strip(), err.strip()

    async def _here(self, script: str) -> tuple[int, str, str]:
        return await self._run(f"cd {shlex.quote(home_relative(self._place.directory))} && {{ {script}\n}}")

    async def python(self, wanted: Wanted) -> str:
        """A Python there that is new enough. Raises Refused."""
        names = " ".join(map(shlex.quote, (wanted.python,) if wanted.python else _PYTHONS))
        probe = (
            f"for p in {names}; do "
            '"$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && command -v "$p" && exit 0; '
            "done; exit 1"
        )
        code, out, _ = await self._run(probe)
        if code == 0:
            return out.splitlines()[-1]
        raise Refused(
            f"{self._place.address} has no Python 3.11 or newer" + (f" at {wanted.python}" if wanted.python else ""),
            "install one there (apt-get install python3 python3-venv), or name it with --python",
        )

    async def directory(self) -> None:
        """Makes the project's directory. Raises Refused."""
        code, _, err = await self._run(f"mkdir -p {shlex.quote(home_relative(self._place.directory))}")
        if code:
            raise Refused(
                f"{self._place.directory} can't be made on {self._place.address}: {_last(err)}",
                "choose another with --remote-dir, or mend its permissions",
            )

    async def switchyard(self, python: str, wanted: Wanted) -> Finding:
        """Brings the version that runs here. Raises Refused."""
        with tempfile.TemporaryDirectory(prefix="switchyard-") as scratch:
            wheel = build_wheel(Path(scratch))
            sha256 = _sha256(wheel)
            what = f"switchyard {our_version()} in {self._place.directory}/.venv"
            _, stamp, _ = await self._here(f"cat {STAMP} 2>/dev/null")
            if stamp == sha256:
                return Finding("ok", what)
            await self._refuse_while_running()
            self._say(f"installing {what} on {self._place.address} (about a minute)")
            sent = await self._put(wheel, f"{WHEELS}/{wheel.name}", replace=True)
        before = await self._make_venv(python, wanted)
        pip = ".venv/bin/python -m pip install --quiet --disable-pip-version-check"
        # pip keeps what has the same version, though its content may be another.
        anew = f"{pip} --force-reinstall --no-deps {sent} && " if before else ""
        code, out, err = await self._here(
            f"rm -f {STAMP}; {pip} {sent} && {anew}printf %s {sha256} >{STAMP}.part && mv {STAMP}.part {STAMP}"
        )
        if code:
            raise Refused(
                f"pip can't install {what}: {_last(err or out)}",
                "the server needs its way to the packages: see pip's configuration there (pip config list)",
            )
        return Finding("made", what)

    async def _refuse_while_running(self) -> None:
        """Nobody's code is exchanged while it works."""
        try:
            hello = await greet(self._connection, self._place)
        except Refused:
            return
        if any(job["running"] for job in hello.jobs):
            raise Refused(
                f"a command runs on {self._place.address}, so its switchyard is left alone",
                f"wait for its end; `deployer resume {self._place.named}` follows it",
            )

    async def _make_venv(self, python: str, wanted: Wanted) -> bool:
        """Also completes one that was cut off; whether there was one."""
        before, _, _ = await self._here("[ -e .venv ]")
        make = f"{shlex.quote(python)} -m venv .venv"
        code, out, err = await self._here(make)
        if code and wanted.install and "ensurepip" in out + err:
            await self._apt(["python3-venv"])
            code, out, err = await self._here(make)
        if code:
            raise Refused(
                f"{python} on {self._place.address} can't make a .venv: {_last(err or out)}",
                "install its venv module there (apt-get install python3-venv); --yes does it as root",
            )
        return before == 0

    async def configuration_name(self) -> str:
        """The file that the deployer takes there when none is named."""
        first, second = CONFIGURATIONS
        code, _, _ = await self._here(f"[ ! -e {first} ] && [ -e {second} ]")
        return first if code else second

    async def configurations(self, config: Path, name: str) -> list[Finding]:
        """Sends deployer.yaml, and proxy.yaml beside it, where there are none."""
        pairs = [(config, name), (config.with_name("proxy.yaml"), str(PurePosixPath(name).with_name("proxy.yaml")))]
        return [await self._configuration(here, there) for here, there in pairs if here.is_file()]

    async def _configuration(self, here: Path, name: str) -> Finding:
        code, out, _ = await self._here(f"[ ! -e {name} ] || sha256sum {name}")
        if code == 0 and not out:
            await self._put(here, name, replace=False)
            return Finding("made", f"configuration {name}, from {here} here")
        if out.split(" ")[0] == _sha256(here):
            return Finding("ok", f"configuration {name}")
        return Finding("note", f"configuration {name} is there and differs from {here} here", "it was left as it is")

    async def _put(self, source: Path, target: str, *, replace: bool) -> str:
        """Sends a small file, whole or not at all; its path below the project. Raises Refused."""
        name = PurePosixPath(home_relative(self._place.directory), target)
        try:
            async with self._connection.start_sftp_client() as sftp:
                await sftp.makedirs(str(name.parent), exist_ok=True)
                await sftp.put(str(source), f"{name}{PART}")
                if replace:
                    await sftp.posix_rename(f"{name}{PART}", str(name))
                else:
                    await sftp.rename(f"{name}{PART}", str(name))
        except (OSError, asyncssh.Error) as error:
            raise Refused(
                f"{target} can't be written on {self._place.address}: {error}", "look at the disk and its permissions"
            ) from error
        return target

    async def initialise(self, config: str, wanted: Wanted) -> list[Finding]:
        """`deployer init` there, again after what it misses was installed. Raises ConfigurationError."""
        tried: set[str] = set()
        for _ in range(_ROUNDS):
            findings = await self._initialise(config)
            missing = [match for one in findings if one.state == "missing" for match in _APT.findall(one.advice)]
            packages = sorted(set(missing) - tried)
            if not packages or not wanted.install:
                break
            tried.update(packages)
            await self._apt(packages)
        return findings

    async def _initialise(self, config: str) -> list[Finding]:
        words = ["init", "--json", f"--config={config}"]
        _, out, err = await call(self._connection, there(self._place, "run", *words))
        try:
            document: dict[str, Any] = json.loads(out)
        except ValueError as error:
            raise Refused(f"`deployer init` on {self._place.address} failed: {_last(err or out)}") from error
        if document.get("event") == "error":
            raise ConfigurationError(f"on {self._place.address}: {document['message']}", document["advice"])
        return [Finding(**one) for one in document["findings"]]

    async def _apt(self, packages: list[str]) -> None:
        self._say(f"installing {' '.join(packages)} on {self._place.address} (apt-get)")
        code, _, err = await self._run(_APT_SCRIPT.replace("PACKAGES", " ".join(packages)))
        if code:
            raise Refused(
                f"apt-get can't install {' '.join(packages)} on {self._place.address}: {_last(err)}",
                "log in as root (--host root@…), or install them there yourself",
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last(text: str) -> str:
    return (text.splitlines() or ["it said nothing"])[-1]
