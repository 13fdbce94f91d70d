"""The site under test: `proxy run` with two workers and two slots, its backends, and what they are told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any, Final

import psutil
from aiohttp import ClientError, ClientSession, ClientTimeout

from benchmarks.processes import REPOSITORY, command
from benchmarks.servers import BenchError
from benchmarks.soak.logged import Kill, life_of
from benchmarks.soak.visits import LARGE_FILE, SMALL_FILE, write_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

READY_SECONDS: Final = 30.0
LIFE_SECONDS: Final = 5.0
SLOTS: Final = ("production", "temp")
TIMEOUTS: Final = {
    "header": "4s",
    "idle": "12s",
    "body": "5s",
    "connect": "4s",
    "response": "6s",
    "upstream_idle": "4s",
}
WORKERS: Final = 2


class Site:
    """Made by `running`. `ports`: the proxy's, the admin API's, and two backends' for each slot."""

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        self.directory = directory
        self.port, self.admin_port = ports[:2]
        self.slots = (tuple(ports[2:4]), tuple(ports[4:6]))
        self.process: asyncio.subprocess.Process | None = None
        self.session = ClientSession(timeout=ClientTimeout(total=60))

    def __repr__(self) -> str:
        return f"<Site port={self.port} {self.process}>"

    @property
    def records(self) -> Path:
        return self.directory / "backends.log"

    @property
    def access_log(self) -> Path:
        return self.directory / "access.log"

    def configure(self) -> None:
        """Writes the static files and proxy.yaml (JSON is YAML)."""
        root = self.directory / "static"
        root.mkdir()
        for name, size in (SMALL_FILE, LARGE_FILE):
            write_file(str(root / name), size)
        slots = {
            name: {"backends": [f"127.0.0.1:{port}" for port in ports]}
            for name, ports in zip(SLOTS, self.slots, strict=True)
        }
        settings = {
            "listen": [f"http://127.0.0.1:{self.port}"],
            "workers": WORKERS,
            "admin": {"listen": f"http://127.0.0.1:{self.admin_port}"},
            "state_dir": str(self.directory / "state"),
            "access_log": {"path": str(self.access_log), "format": "json"},
            "timeouts": TIMEOUTS,
            "apps": {
                "soak": {
                    "slots": slots,
                    "health": {"interval": "500ms", "timeout": "1s"},
                    "static": {"prefix": "/static/", "root": str(root)},
                }
            },
        }
        (self.directory / "proxy.yaml").write_text(json.dumps(settings, indent=1))

    async def start_process(self, name: str, *arguments: str) -> asyncio.subprocess.Process:
        """`python -m ARGUMENTS`, which ends with this process; its output in NAME.out."""
        with (self.directory / f"{name}.out").open("ab") as out:
            return await asyncio.create_subprocess_exec(
                *command([sys.executable, "-m", *arguments], ()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=REPOSITORY,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )

    def output(self) -> str:
        """What the proxy and the backends said."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.out")))

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One call of the admin API: status and answer. Raises BenchError when there is none."""
        try:
            url = f"http://127.0.0.1:{self.admin_port}{path}"
            async with self.session.request(method, url, json=body) as response:
                if response.content_type.endswith("json"):
                    return response.status, await response.json()
                return response.status, await response.text()
        except (ClientError, TimeoutError) as error:
            raise BenchError(f"{method} {path}: {error!r}") from error

    async def status(self) -> dict[str, Any]:
        _, answer = await self.call("GET", "/v1/status")
        return dict(answer)

    async def until_ready(self) -> dict[str, Any]:
        """The status, once both workers serve and none is on its way out."""
        end = monotonic() + READY_SECONDS * 2
        while monotonic() < end:
            with suppress(BenchError):
                status = await self.status()
                if status["ready"] and len(status["workers"]) == WORKERS:
                    return status
            await asyncio.sleep(0.1)
        raise BenchError(f"the proxy is not ready\n{self.output()[-2000:]}")

    async def life(self, worker: int) -> str:
        """What the ids of the worker's requests begin with, of one that it has now; empty when it has none for 5 s."""
        end = monotonic() + LIFE_SECONDS
        while monotonic() < end:
            _, answer = await self.call("GET", "/v1/apps/soak/inflight")
            for one in answer["exchanges"]:
                if one["worker"] == worker:
                    return life_of(one["id"])
            await asyncio.sleep(0.05)
        return ""

    async def kill_worker(self, pid: int, life: str) -> Kill:
        """Holds the worker still, looks which clients it has, and kills it. `life`: what its ids begin with."""
        worker = psutil.Process(pid)
        stopped = monotonic_ns()
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.01)
        connections = await asyncio.to_thread(worker.net_connections, "tcp")
        ports = frozenset(one.raddr.port for one in connections if one.laddr.port == self.port and one.raddr)
        at = monotonic_ns()
        os.kill(pid, signal.SIGKILL)
        return Kill(at, ports, life, stopped)

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(15):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def running(directory: Path, ports: Sequence[int], seed: int, pause: float) -> AsyncIterator[Site]:
    """The site, ready; everything is stopped at the end. `pause`: seconds between the backends' windows."""
    site = Site(directory, ports)
    site.configure()
    lists = [word for slot in site.slots for word in ("--slot", ",".join(map(str, slot)))]
    arguments = [*lists, "--seed", str(seed), "--log", str(site.records), "--pause", str(pause)]
    backends = await site.start_process("backends", "benchmarks.soak.backend", *arguments)
    try:
        site.process = await site.start_process("proxy", "proxy", "run", "-c", str(directory / "proxy.yaml"))
        try:
            await site.until_ready()
            yield site
        finally:
            await _stop(site.process)
    finally:
        await _stop(backends)
        await site.session.close()
