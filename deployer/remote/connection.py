"""SSH connections to the server, with errors that say what to do. Imports asyncssh.

Host keys are checked against ~/.ssh/known_hosts always. Keys come from the agent, from -i and from ~/.ssh; passwords
are never asked for. ~/.ssh/config is read, as ssh does.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from deployer.errors import DeployerError, Refused
from deployer.remote.layout import DEFAULT_DIRECTORY, NO_DIRECTORY, NO_PYTHON, PYTHON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from deployer.remote.address import Address

_CONNECT = 15.0
_LOGIN = 30.0
_KEEPALIVE = 5.0
_KEEPALIVES = 3
"""A dead connection is noticed after interval times count, in seconds: TCP alone takes many minutes."""
_CHUNK = 64 * 1024


class ConnectionGone(DeployerError):  # noqa: N818 (named by what the operator reads)
    """The connection was lost while something runs there, and can't be made again: a person has to look."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Place:
    """The project on a server. directory: relative to the home of the user who logs in. identity: a key's file.

    by: who sends the commands, for the journal there.
    """

    address: Address
    directory: str
    identity: str | None = None
    by: str = ""

    @property
    def named(self) -> str:
        """How to name it to the deployer again."""
        directory = "" if self.directory == DEFAULT_DIRECTORY else f" --remote-dir {shlex.quote(self.directory)}"
        return f"--host {self.address}{directory}"


@dataclass(frozen=True, slots=True)
class Hello:
    """What the server says of itself. free: bytes. jobs: see jobs.JobState, newest first."""

    version: str
    directory: str
    free: int
    jobs: list[dict[str, Any]]


@asynccontextmanager
async def connected(place: Place) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection for the time of an async with-block. Raises Refused."""
    connection = await connect(place)
    try:
        yield connection
    finally:
        connection.abort()
        await connection.wait_closed()


async def connect(place: Place) -> asyncssh.SSHClientConnection:
    """Connects and logs in. Raises Refused with advice."""
    address = place.address
    options = _options(place)
    try:
        return await asyncssh.connect(address.host, options=options)
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
        raise await _host_key_refused(address, options, error) from error
    except asyncssh.PermissionDenied as error:
        raise Refused(
            f"{address} refused to let us in: none of our keys is known there",
            f"try `ssh {address.ssh}`; name a key with -i FILE, or load it into the agent with ssh-add",
        ) from error
    except (OSError, TimeoutError, asyncssh.Error) as error:
        said = getattr(error, "strerror", None) or str(error) or f"no answer within {_CONNECT:.0f} s"
        raise Refused(f"can't connect to {address}: {said}", f"try `ssh {address.ssh}`") from error


def _options(place: Place) -> asyncssh.SSHClientConnectionOptions:
    address = place.address
    named: dict[str, Any] = {
        "host": address.host,
        "config": (),
        "preferred_auth": "publickey",
        "password_auth": False,
        "kbdint_auth": False,
        "connect_timeout": _CONNECT,
        "login_timeout": _LOGIN,
        "keepalive_interval": _KEEPALIVE,
        "keepalive_count_max": _KEEPALIVES,
    }
    if address.port:
        named["port"] = address.port
    if address.user:
        named["username"] = address.user
    if place.identity:
        named["client_keys"] = [place.identity]
    try:
        options = asyncssh.SSHClientConnectionOptions(**named)
    except (OSError, ValueError, asyncssh.Error) as error:
        if place.identity:
            raise Refused(
                f"the key {place.identity} can't be used: {error}",
                "a key with a passphrase is loaded into the agent with ssh-add",
            ) from error
        raise Refused(f"the settings of ssh here can't be used: {error}", "see ~/.ssh/config") from error
    # Named outright: left to asyncssh, `UserKnownHostsFile none` in ~/.ssh/config would end all checks.
    return asyncssh.SSHClientConnectionOptions(options, known_hosts=_known_hosts(address, options))


def _known_hosts(address: Address, options: asyncssh.SSHClientConnectionOptions) -> list[str] | bytes:
    """The files of ~/.ssh/config, else the usual one, as far as they are there; b"": nobody is known."""
    if options.known_hosts is None:
        raise Refused(
            f"~/.ssh/config turns the check of {address.host}'s host key off",
            "remove `UserKnownHostsFile none` there: an unknown server could be anyone's",
        )
    named = options.known_hosts if isinstance(options.known_hosts, list) else []
    files = [Path(str(name)).expanduser() for name in named] or [Path("~/.ssh/known_hosts").expanduser()]
    return [str(path) for path in files if path.is_file()] or b""


async def _host_key_refused(
    address: Address, options: asyncssh.SSHClientConnectionOptions, error: asyncssh.Error
) -> Refused:
    """The refusal for a host key that is not known, or not the known one; with its fingerprint."""
    try:
        key = await asyncssh.get_server_host_key(options.host, options.port, config=None)
    except (OSError, asyncssh.Error):
        key = None
    shown = f" {key.get_fingerprint()} ({key.get_algorithm()})" if key else ""
    if _other_keys(options):
        return Refused(
            f"the host key of {address}{shown} is not the one in ~/.ssh/known_hosts",
            "the server was set up anew, or someone stands in between: find out which before you remove the old key "
            "with ssh-keygen -R",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return Refused(f"{address} speaks no algorithm that we do: {error}", "update its OpenSSH")
    return Refused(
        f"the host key of {address}{shown} is not known",
        f"connect once with `ssh {address.ssh}`, and compare the fingerprint with the server's own "
        "(there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
    )


def _other_keys(options: asyncssh.SSHClientConnectionOptions) -> bool:
    """Whether known_hosts has any key of the server."""
    try:
        found = asyncssh.match_known_hosts(
            options.known_hosts, options.host, "", None if options.port == 22 else options.port
        )
    except (OSError, ValueError):
        return False
    return bool(found[0] or found[1])


def there(place: Place, verb: str, *arguments: str) -> str:
    """The shell command that runs a verb of deployer.remote.there in the project."""
    sender = [f"DEPLOYER_BY={place.by}"] if place.by else []
    call = shlex.join(["env", *sender, PYTHON, "-m", "deployer.remote.there", verb, *arguments])
    script = (
        f"cd {shlex.quote(home_relative(place.directory))} 2>/dev/null || exit {NO_DIRECTORY}; "
        f"[ -x {PYTHON} ] || exit {NO_PYTHON}; exec {call}"
    )
    return shell(script)


def shell(script: str) -> str:
    """A POSIX script as one command, whatever the user's login shell is."""
    return f"exec sh -c {shlex.quote(script)}"


def home_relative(directory: str) -> str:
    """Commands and SFTP both begin in the user's home, so `~/x` is `x`."""
    return directory.removeprefix("~/") or "."


async def call(connection: asyncssh.SSHClientConnection, command: str) -> tuple[int | None, str, str]:
    """Runs a command that says little: exit code (None: the connection was lost), output, errors."""
    out, err = bytearray(), bytearray()
    code = await stream(connection, command, out.extend, err.extend)
    return code, out.decode(errors="replace"), err.decode(errors="replace")


async def stream(
    connection: asyncssh.SSHClientConnection,
    command: str,
    out: Callable[[bytes], None],
    err: Callable[[bytes], None],
) -> int | None:
    """Runs a command and passes on what it prints. Its exit code; None when the connection was lost before."""
    try:
        process = await connection.create_process(command, encoding=None)
        async with process:
            await asyncio.gather(_pump(process.stdout, out), _pump(process.stderr, err))
            await process.wait_closed()
    except (OSError, asyncssh.Error):
        return None
    if process.exit_signal is not None:
        return 128 + 15
    return process.exit_status


async def _pump(reader: asyncssh.SSHReader[bytes], take: Callable[[bytes], None]) -> None:
    while data := await reader.read(_CHUNK):
        take(data)


async def greet(connection: asyncssh.SSHClientConnection, place: Place) -> Hello:
    """Asks the server's part who it is. Raises Refused when there is none, or it can't run."""
    code, out, err = await call(connection, there(place, "hello"))
    mend = f"`deployer init {place.named}` installs it"
    if code is None:
        raise Refused(f"the connection to {place.address} was lost", "try again")
    if code == NO_DIRECTORY:
        raise Refused(f"{place.address} has no directory {place.directory}", f"{mend}; another is --remote-dir DIR")
    if code == NO_PYTHON:
        raise Refused(f"{place.address} has no Python at {place.directory}/{PYTHON}", mend)
    if code != 0:
        last = (err.strip().splitlines() or [f"exit code {code}"])[-1]
        raise Refused(f"switchyard on {place.address} can't run: {last}", f"{mend} anew")
    try:
        said = json.loads(out)
        return Hello(said["version"], said["directory"], said["free"], said["jobs"])
    except (ValueError, TypeError, KeyError) as error:
        raise Refused(
            f"the shell of {place.address} prints something of its own: {out.strip()[:80]!r}",
            "its start-up files must be silent when no terminal is there",
        ) from error
