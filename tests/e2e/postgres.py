"""A PostgreSQL server of a test's own: a new cluster in a directory, on a loopback port, ended by the test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

START_SECONDS = 30.0
STOP_SECONDS = 20.0
ROLES = ("postgres", "shop_owner", "shop")


def find_programs() -> Path:
    """The directory with initdb and postgres. Skips the test when there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = shutil.which("initdb")
    if not debian and found is None:
        pytest.skip("there is no PostgreSQL server: scripts/setup postgresql installs one")
    return debian[-1].parent if debian else Path(found or "").resolve().parent


class Postgres:
    """A running server with the database `shop`, its owner, and the shop's role. `stop` ends it."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._programs = find_programs()
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._passwords = {role: secrets.token_hex(16) for role in ROLES}
        self._directory = directory
        directory.mkdir()
        self._own(directory)
        self._log = directory / "log"
        self._initialise()
        self._process = self._start()

    def __repr__(self) -> str:
        return f"<Postgres on {self.port}, pid {self._process.pid}, exit {self._process.returncode}>"

    def connect(self, role: str = "shop_owner", database: str = "shop") -> psycopg.Connection:
        """A connection in auto-commit mode."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=role,
            password=self._passwords[role],
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def password_file(self, path: Path, role: str, owner: str | None = None) -> Path:
        """A file as libpq and the JDBC driver read it, for one role."""
        path.write_text(f"127.0.0.1:{self.port}:*:{role}:{self._passwords[role]}\n")
        path.chmod(0o600)
        if owner is not None and os.geteuid() == 0:
            shutil.chown(path, owner)
        return path

    def stop(self) -> None:
        """Ends the server; connections are cut."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def _own(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user, pwd.getpwnam(self._user).pw_gid)

    def _initialise(self) -> None:
        password = self._directory / "password"
        password.touch(0o600)
        self._own(password)
        password.write_text(self._passwords["postgres"])
        command = [str(self._programs / "initdb"), "-D", str(self._directory / "data"), "-U", "postgres", "--no-sync"]
        command += ["-A", "scram-sha-256", "--pwfile", str(password), "-E", "UTF8", "--locale=C"]
        self._run(command)

    def _run(self, command: Sequence[str]) -> None:
        done = subprocess.run(
            command, user=self._user, capture_output=True, text=True, timeout=60, check=False, cwd="/"
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _start(self) -> subprocess.Popen[bytes]:
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "off"}
        command = [str(self._programs / "postgres"), "-D", str(self._directory / "data")]
        command += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command, user=self._user, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        self._process = process
        try:
            self._fill(process)
        except BaseException:
            self.stop()
            raise
        return process

    def _fill(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.connect("postgres", "postgres") as connection:
                    for role in ROLES[1:]:
                        # A utility statement takes no parameters; the password is hexadecimal.
                        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{self._passwords[role]}'")
                    connection.execute("CREATE DATABASE shop OWNER shop_owner")
                return
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"{error}; its log:\n{self._log.read_text(errors='replace')}") from error
                time.sleep(0.1)
