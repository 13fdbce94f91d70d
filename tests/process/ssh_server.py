"""A real sshd on loopback for one test: its own keys, configuration and port; and a relay that can be cut."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployed_site import ROOT
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
_CONFIGURATION = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
{more}
"""


@dataclass
class SshServer:
    """port: where sshd listens. home: the client's home directory, with its known_hosts and key."""

    directory: Path
    port: int
    home: Path

    @property
    def identity(self) -> str:
        return str(self.directory / "user_key")

    @property
    def environment(self) -> dict[str, str]:
        """For a client: no agent and no settings but this home's."""
        kept = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        return {**kept, "HOME": str(self.home), "PYTHONPATH": str(ROOT)}

    def fingerprint(self) -> str:
        """Of the host key, as ssh-keygen writes it."""
        return subprocess.check_output(["ssh-keygen", "-lf", str(self.directory / "host_key")], text=True).split()[1]

    def know(self, port: int | None = None) -> None:
        """The client knows the server by this port."""
        kind, key, *_ = (self.directory / "host_key.pub").read_text().split()
        with (self.home / ".ssh" / "known_hosts").open("a") as known:
            known.write(f"[127.0.0.1]:{port or self.port} {kind} {key}\n")

    def command(self, *arguments: str, port: int | None = None) -> list[str]:
        """A deployer's command for the server."""
        words = 2 if arguments[0] == "lock" else 1
        name, rest = arguments[:words], arguments[words:]
        host = ["--host", f"root@127.0.0.1:{port or self.port}", "-i", self.identity]
        return [sys.executable, "-m", "deployer", *name, *host, *rest]

    def run(self, *arguments: str, port: int | None = None, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, port=port),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def started(self, *arguments: str, port: int | None = None) -> Iterator[subprocess.Popen[str]]:
        """A command that runs beside the test; it is dead afterwards."""
        with subprocess.Popen(
            self.command(*arguments, port=port),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextmanager
def ssh_server(directory: Path, more: str = "") -> Iterator[SshServer]:
    """An sshd whose client knows its host key. more: lines of sshd_config."""
    directory.mkdir()
    home = directory / "home"
    (home / ".ssh").mkdir(parents=True)
    _key(directory / "host_key")
    _key(directory / "user_key")
    [port] = free_ports(1)
    (directory / "sshd_config").write_text(_CONFIGURATION.format(port=port, directory=directory, more=more))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with subprocess.Popen(
        [str(SSHD), "-D", "-E", str(directory / "log"), "-f", str(directory / "sshd_config")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_open(port)
            server = SshServer(directory, port, home)
            server.know()
            yield server
        finally:
            process.terminate()


def _wait_open(port: int) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


class Relay:
    """Passes connections on to a port until it is cut. after: bytes from a client at which it cuts by itself, once."""

    def __init__(self, target: int, after: int | None = None) -> None:
        self._target = target
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.cuts = 0
        self.refusing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends every connection."""
        with self._lock:
            self.cuts += 1
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._sockets += [client, server]
                self.accepted += 1
            for source, sink, counted in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, sink, counted), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        passed = 0
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                passed += len(data)
                if counted and self._after is not None and passed >= self._after:
                    self._after = None
                    self.cut()
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


def remote_python(directory: Path) -> None:
    """What `deployer init --host` makes, in short: this Python, with this checkout."""
    python = directory / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
