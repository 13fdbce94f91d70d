"""Starts, watches and stops the servers under test. Only processes started here are ever signalled."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmarks import procfs
from benchmarks.model import BODY_NAMES, KB, Usage
from benchmarks.servers import (
    ADMIN_PORT,
    BACKEND,
    BACKEND_PORT,
    SECOND_BACKEND_PORT,
    TEMPLATES,
    BenchError,
    Server,
    render,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

READY_SECONDS = 15.0
STOP_SECONDS = 8.0
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the server under test has, and which the load and the backend; empty means all of them."""

    server: tuple[int, ...]
    load: tuple[int, ...]

    @classmethod
    def split(cls, available: tuple[int, ...]) -> Cores:
        """The first core for the server and the rest for the load; no split when there is only one."""
        return cls(available[:1], available[1:]) if len(available) > 1 else cls((), ())


def command(argv: list[str], cores: tuple[int, ...]) -> list[str]:
    """The command, pinned to these cores, that gets SIGTERM when the benchmark dies (man 1 setpriv, taskset)."""
    pin = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
    return [*pin, "setpriv", "--pdeathsig", "TERM", *argv]


def find_tools(names: tuple[str, ...]) -> None:
    """Raises BenchError naming every tool that isn't installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [name for name in names if shutil.which(name, path=path) is None]
    if missing:
        raise BenchError(f"not installed: {', '.join(missing)}", "run scripts/setup peers")


def make_site(directory: Path, sizes: Iterable[int] = tuple(BODY_NAMES)) -> Path:
    """Writes the bodies that backend and static servers send; the same bytes in every run."""
    directory.chmod(0o755)  # nginx's worker is another user when the benchmark runs as root
    site = directory / "site"
    site.mkdir()
    line = b"".join(b"%07x " % (number * 2654435761 % 0xFFFFFFF) for number in range(128))
    for size in sizes:
        with (site / BODY_NAMES[size]).open("wb") as file:
            for start in range(0, size, len(line)):
                file.write(line[: size - start])
    return site


class Running:
    """A server that has been started in a process group of its own, with its files in a directory of its own."""

    def __init__(self, server: Server, directory: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.server = server
        self.directory = directory
        self.log = log
        self._process = process

    def __repr__(self) -> str:
        state = "running" if self.alive() else f"ended {self._process.returncode}"
        return f"<Running {self.server.name} pid={self._process.pid} port={self.server.port} {state}>"

    def alive(self) -> bool:
        return self._process.poll() is None

    def usage(self) -> Usage:
        return procfs.usage(self._process.pid)

    def reset_peak(self) -> None:
        procfs.reset_peak(self._process.pid)

    def pids(self) -> tuple[int, ...]:
        return procfs.tree(self._process.pid)

    def log_lines(self) -> int:
        """How many lines the access log has."""
        count = 0
        with contextlib.suppress(FileNotFoundError), self.log.open("rb") as file:
            while chunk := file.read(1 << 20):
                count += chunk.count(b"\n")
        return count

    def empty_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.log, 0)

    def output(self) -> str:
        """The last lines of what the server printed, for an error message."""
        return "\n".join((self.directory / "stderr").read_text(errors="replace").splitlines()[-8:])

    def wait_ready(self, path: str) -> None:
        """Waits until a GET is answered 200. Raises BenchError with the server's last lines after 15 s."""
        deadline = time.monotonic() + READY_SECONDS
        answer = "nothing"
        while self.alive() and time.monotonic() < deadline:
            try:
                answer = str(get(self.server.port, path)[0])
            except (OSError, http.client.HTTPException) as error:
                answer = repr(error)
            if answer == "200":
                return
            time.sleep(0.05)
        raise BenchError(f"{self.server.name} doesn't serve {path}: {answer}\n{self.output()}")

    def stop(self) -> None:
        """Ends the server and all its processes: SIGTERM, and SIGKILL to what is left after 8 s."""
        with contextlib.ExitStack() as stack:
            handles = []
            for pid in self.pids():
                with contextlib.suppress(OSError):
                    handles.append(os.pidfd_open(pid))
                    stack.callback(os.close, handles[-1])
            if self.alive():
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_SECONDS)
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], STOP_SECONDS)
            self._process.wait()


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of one GET on a connection of its own. Raises OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started: its command and environment, and its files, which exist."""

    argv: list[str]
    env: dict[str, str]
    directory: Path
    config: Path
    log: Path


def configure(
    server: Server,
    parent: Path,
    site: Path,
    workers: int,
    backend_port: int = BACKEND_PORT,
    places: Mapping[str, str | int | Path] = MappingProxyType({}),
) -> Launch:
    """Writes the server's configuration into an empty directory of its own. `places` are more of the template's."""
    directory = parent / server.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    log = directory / ("stdout" if server.log_to_stdout else "access.log")
    config = directory / (server.template or "none")
    values: dict[str, str | int | Path] = {
        "PORT": server.port,
        "BACKEND_PORT": backend_port,
        "SECOND_BACKEND_PORT": SECOND_BACKEND_PORT,
        "ADMIN_PORT": ADMIN_PORT,
        "DIR": directory,
        "CONFIG": config,
        "LOG": log,
        "STATIC_ROOT": site,
        "ROOT": site,
        "WORKERS": workers,
        "TUNING": server.tuning,
        "LOG_OPTIONS": server.log_options,
        "BODY_1K": (site / BODY_NAMES[KB]).read_text(),
        **places,
    }
    if server.template:
        config.write_text(render((TEMPLATES / server.template).read_text(), values))
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    env = os.environ | {"PATH": path} | {key: render(value, values) for key, value in server.env.items()}
    return Launch([render(word, values) for word in server.argv], env, directory, config, log)


def require_free(port: int) -> None:
    """Raises BenchError when something listens on this loopback port: it would be measured instead."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise BenchError(
            f"port {port} is taken", "wait for the other benchmark that runs, or stop what has it"
        ) from error


@contextlib.contextmanager
def started(
    server: Server,
    parent: Path,
    site: Path,
    workers: int,
    cores: tuple[int, ...],
    *,
    backend_port: int = BACKEND_PORT,
    places: Mapping[str, str | int | Path] = MappingProxyType({}),
) -> Iterator[Running]:
    """The server, started and not yet waited for; stopped at the end. Raises OSError or BenchError if it can't."""
    require_free(server.port)
    launch = configure(server, parent, site, workers, backend_port, places)
    with (launch.directory / "stdout").open("ab") as out, (launch.directory / "stderr").open("ab") as errors:
        process = subprocess.Popen(
            command(launch.argv, cores),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env=launch.env,
            cwd=REPOSITORY,
            start_new_session=True,
        )
    running = Running(server, launch.directory, process, launch.log)
    try:
        yield running
    finally:
        running.stop()


class Backend:
    """The backend's own counters (nginx's stub_status)."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def __repr__(self) -> str:
        return f"<Backend {self.running!r}>"

    def counters(self) -> tuple[int, int]:
        """Connections accepted and requests served since it started, this question included."""
        _, body = get(BACKEND.port, "/backend-status")
        return parse_stub_status(body.decode())


def parse_stub_status(text: str) -> tuple[int, int]:
    """Accepted connections and requests of nginx's ngx_http_stub_status_module page."""
    accepted, _, requests = text.splitlines()[2].split()
    return int(accepted), int(requests)
