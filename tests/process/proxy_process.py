"""A real `proxy run` in a directory of its own, backends that note what they get, and clients that count failures."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession, ClientTimeout
from ports import free_port

from proxy.net.server import LAST_REQUEST_SECONDS
from proxy.wire import AppStatus, Status

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
PATIENCE = 100.0
"""Seconds for what takes one or two: a machine may be busy with other things. A test has 120."""
CONNECT_SECONDS = 30.0
"""A SYN that is dropped again and again would else be sent again for two minutes."""


async def until(condition: Callable[[], bool]) -> None:
    """Returns when it holds. It looks again and again, as other processes tell the test nothing."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Backend:
    """Answers every request with its name. /slow waits for `release`. `requests`: targets, in order of arrival.

    `fails`: it answers 500, but its probe.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.requests: list[str] = []
        self.release = asyncio.Event()
        self.healthy = True
        self.fails = False
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> Backend:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    @property
    def connections(self) -> int:
        """Those that are open, its probe's too."""
        return len(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._answer_all(reader, writer)
        finally:
            writer.close()
            self._serving.discard(task)

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                if target == "/health":
                    status = b"200 OK" if self.healthy else b"500 Broken"
                else:
                    self.requests.append(target)
                    status = b"500 Broken" if self.fails else b"200 OK"
                if target == "/slow":
                    await self.release.wait()
                body = self.name.encode()
                writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
                await writer.drain()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        await asyncio.sleep(0)


class ProxyProcess:
    """Made by `start`; `stop` ends whatever is left of it."""

    def __init__(self, directory: Path, backends: dict[str, Backend]) -> None:
        self.directory = directory
        self.port = free_port()
        self.admin_port = free_port()
        self.backends = backends
        self.python = sys.executable
        self.environment = {"PYTHONPATH": str(ROOT)}
        self.process: asyncio.subprocess.Process | None = None
        self.session = ClientSession(timeout=ClientTimeout(total=60))
        self._log = directory / "proxy.log"

    @property
    def config(self) -> Path:
        return self.directory / "proxy.yaml"

    def configure(self, **changes: Any) -> None:
        """Writes proxy.yaml (JSON is YAML)."""
        slots = {name: {"backends": [f"127.0.0.1:{backend.port}"]} for name, backend in self.backends.items()}
        app = {"slots": slots, "health": {"interval": "200ms", "timeout": "1s"}, **changes.pop("app", {})}
        settings: dict[str, Any] = {
            "listen": [f"http://127.0.0.1:{self.port}"],
            "workers": 2,
            "admin": {"listen": f"http://127.0.0.1:{self.admin_port}"},
            "access_log": {"format": "off"},
            "apps": {"shop": app},
            **changes,
        }
        self.config.write_text(json.dumps(settings, indent=1))

    async def spawn(self, *arguments: str) -> asyncio.subprocess.Process:
        """`proxy ARGUMENTS -c …`, its output in the log."""
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *(self.python, "-m", "proxy", *arguments, "-c", str(self.config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, **self.environment},
            )

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Runs a command to its end: exit code, and what it said."""
        before = len(self.log())
        process = await self.spawn(*arguments)
        async with asyncio.timeout(PATIENCE):
            return await process.wait(), self.log()[before:]

    async def start(self) -> ProxyProcess:
        self.process = await self.spawn("run")
        await self.until_ready()
        return self

    async def until_ready(self, workers: int | None = None) -> Status:
        """Returns when every worker serves; `workers`: and there are so many."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(OSError):
                    status = await self.status()
                    if status.ready and workers in (None, len(status.workers)):
                        return status
                assert self.process is None or self.process.returncode is None, self.log()
                await asyncio.sleep(0.05)

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        async with self.session.request(method, url, json=body) as response:
            return response.status, await response.json(content_type=None)

    async def status(self) -> Status:
        return Status.model_validate((await self.call("GET", "/v1/status"))[1])

    async def shop(self) -> AppStatus:
        return (await self.status()).app("shop")

    async def until_shop(self, condition: Callable[[AppStatus], bool]) -> None:
        """Returns when the app is so."""
        async with asyncio.timeout(PATIENCE):
            while not condition(await self.shop()):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def switch(self, to: str, **more: Any) -> tuple[int, Any]:
        return await self.call("POST", "/v1/apps/shop/switch", {"to": to, **more})

    async def get(self, target: str = "/") -> str:
        """One request on a connection of its own: the body, which is the backend's name."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {target} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), answer
        return body.decode()

    def worker_pids(self, parent: int) -> list[int]:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(child) for child in children]

    async def stop(self) -> None:
        await self.session.close()
        for pid in _processes_in(self.directory):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()


def _processes_in(directory: Path) -> list[int]:
    """The processes whose current directory it is: supervisors and workers of one test, orphans too."""
    pids = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == directory:
                pids.append(int(entry.name))
    return pids


@dataclass
class _Connection:
    """One of the load's, and what a failure on it has to tell. Times are of the loop's clock."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    opened: float
    answers: int = 0
    answered: float = 0.0  # when its last answer was whole
    sent: float = 0.0
    asked_before: float = 0.0  # when the request before was sent
    begun: bool = False  # whether the first byte of the answer has come

    @property
    def was_idle(self) -> bool:
        """Whether it may have ended for that: this process had no time to ask for so long that who stops closes it.

        Every client must be ready for it, and asks again (RFC 9112 section 9.3.1).
        """
        return self.answers > 0 and not self.begun and self.sent - self.asked_before >= LAST_REQUEST_SECONDS

    def __str__(self) -> str:
        now = asyncio.get_running_loop().time()
        since = f", {self.sent - self.answered:.3f} s after the last answer" if self.answers else ""
        sent = f"sent {now - self.sent:.3f} s ago{since}" if self.sent else "nothing sent"
        return f"request {self.answers + 1} of a connection that is {now - self.opened:.3f} s old, {sent}"


class Load:
    """Keep-alive clients that ask without pause. `answers`: what came, in order; `failures`: what went wrong."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._port = port
        self._stop = False
        self._tasks = [asyncio.create_task(self._ask(number)) for number in range(clients)]

    async def __aenter__(self) -> Load:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def more(self, count: int) -> None:
        """Returns when so many further answers have come."""
        wanted = len(self.answers) + count
        await until(lambda: len(self.answers) >= wanted)

    async def _ask(self, number: int) -> None:
        count = 0
        connection: _Connection | None = None
        again = False
        while not self._stop:
            count += not again
            again = False
            try:
                if connection is None:
                    connection = await self._connect()
                if not await self._ask_once(connection, f"/{number}/{count}"):
                    connection.writer.close()
                    connection = None
            except (OSError, EOFError, AssertionError) as error:
                if connection is not None and connection.was_idle and isinstance(error, ConnectionError | EOFError):
                    connection.writer.close()
                    connection = None
                    again = True
                    continue
                when = datetime.now(UTC).time().isoformat("milliseconds")
                self.failures.append(f"{when} /{number}/{count}: {error!r}: {connection or 'not connected'}")
                if connection is not None:
                    connection.writer.close()
                connection = None
                await asyncio.sleep(0.01)
        if connection is not None:
            connection.writer.close()
            with suppress(OSError):
                await connection.writer.wait_closed()

    async def _connect(self) -> _Connection:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        return _Connection(reader, writer, asyncio.get_running_loop().time())

    async def _ask_once(self, connection: _Connection, target: str) -> bool:
        """Whether the connection can be used again."""
        loop, reader = asyncio.get_running_loop(), connection.reader
        connection.asked_before, connection.sent = connection.sent, loop.time()
        connection.begun = False
        connection.writer.write(f"GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        first = await reader.readexactly(1)
        connection.begun = True
        head = (first + await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        self.answers.append((await reader.readexactly(length)).decode())
        connection.answers += 1
        connection.answered = loop.time()
        return b"connection: close" not in head
