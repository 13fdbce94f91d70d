"""A real proxy between two backends that write down what they get and a load that checks what it gets back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Any

from ports import free_port
from proxy_process import PATIENCE, ROOT, ProxyProcess, until

from benchmarks.switching.account import Faults, Switch, faults
from benchmarks.switching.message import KINDS, PREFIX
from benchmarks.switching.records import Answer, Event, Outcome, read_answers, read_events
from benchmarks.switching.run import SLOTS, Load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CONNECTIONS = 12
MOST_SHOWN = 20


class Recorder:
    """One slot's backend, a process of its own that can be killed and started again on the same port."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.port = free_port()
        self.file = directory / f"{name}.events"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        argv = ["-m", "benchmarks.switching.backend", "--slot", SLOTS[self.name]]
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, *argv, "--port", str(self.port), "--log", str(self.file)),
            stdin=asyncio.subprocess.DEVNULL,
            cwd=ROOT,
        )
        async with asyncio.timeout(PATIENCE):
            while not await self._listens():  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    @property
    def size(self) -> int:
        """Grows with every request."""
        return self.file.stat().st_size

    def events(self) -> list[Event]:
        return read_events(self.file)


class RecordedSite:
    """`switches` are those that were reported as made, for the account."""

    def __init__(self, directory: Path) -> None:
        self.slots = {name: Recorder(name, directory) for name in SLOTS}
        self.proxy = ProxyProcess(directory, self.slots)
        self.switches: list[Switch] = []
        self._answers = directory / "answers"
        self._access_log = directory / "access.log"

    def configure(self, **changes: Any) -> None:
        self.proxy.configure(access_log={"path": str(self._access_log), "format": "json"}, **changes)

    @asynccontextmanager
    async def load(self, *, stay: bool = False) -> AsyncIterator[None]:
        """Load through the proxy; at the end every request is let end. `stay`: clients never close a connection."""
        with Load(self.proxy.port, self._answers, CONNECTIONS, 60, stay=stay) as load:
            for slot in self.slots.values():
                if slot.name == (await self.proxy.shop()).active:
                    await until(lambda slot=slot: slot.size > 0)
            yield
            await asyncio.to_thread(load.finish)

    async def switch(self, old: str, new: str, **more: Any) -> tuple[int, Any]:
        """A switch by the admin API: what it answered. One that was made is noted."""
        called = monotonic_ns()
        status, report = await self.proxy.switch(new, expect_active=old, **more)
        if status == 200:
            self.switches.append(Switch(old, new, called, monotonic_ns()))
        return status, report

    async def switch_when_possible(self, old: str, new: str) -> None:
        """As `switch`, tried again while workers of a supervisor that was killed still end requests."""
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.switch(old, new))[0] != 200:
                assert "a supervisor that is gone" in answer[1]["detail"], answer
                await asyncio.sleep(0.05)

    async def served(self, slot: str) -> None:
        """Returns when the slot has got some hundred bytes of events more: requests of this moment."""
        wanted = self.slots[slot].size + 400
        await until(lambda: self.slots[slot].size >= wanted)

    def answers(self) -> list[Answer]:
        return read_answers(self._answers)

    def wrong(self) -> list[Answer]:
        """The load's answers that are not right."""
        return [one for one in self.answers() if one.outcome is not Outcome.OK]

    def outcomes(self) -> Counter[str]:
        """The outcomes of what is `wrong`, by name."""
        return Counter(one.outcome.name for one in self.wrong())

    def evidence(self) -> str:
        """What is `wrong`, when, and what the proxy says of it: for a failed test."""
        lines = [line for one in self.wrong()[:MOST_SHOWN] for line in self._evidence(one)]
        return "\n".join([*lines, self.proxy.log()])

    def _evidence(self, one: Answer) -> list[str]:
        ended = datetime.fromtimestamp((time_ns() - monotonic_ns() + one.ended) / 1e9, UTC)
        waited = (one.ended - one.sent) / 1e6
        told = f"{ended:%H:%M:%S.%f} {one.outcome.name} {one.status} after {waited:.1f} ms: {KINDS[one.kind].name}"
        log = self._access_log.read_text().splitlines() if self._access_log.exists() else []
        return [told, *(f"    {line}" for line in log if f'"{PREFIX}{one.number:x}?' in line)]

    def faults(self) -> Faults:
        return faults(self.answers(), {name: slot.events() for name, slot in self.slots.items()}, self.switches)

    def worker_pids(self) -> list[int]:
        assert self.proxy.process is not None
        return self.proxy.worker_pids(self.proxy.process.pid)

    async def kill_supervisor(self) -> None:
        assert self.proxy.process is not None
        self.proxy.process.kill()
        await self.proxy.process.wait()


@asynccontextmanager
async def recorded_site(directory: Path, **settings: Any) -> AsyncIterator[RecordedSite]:
    """Two backends and a proxy with 2 workers, ready. Everything is ended at the end."""
    site = RecordedSite(directory)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(site.proxy.stop)
        for slot in site.slots.values():
            stack.push_async_callback(slot.kill)
            await slot.start()
        site.configure(**settings)
        await site.proxy.start()
        yield site


def stop_process(pid: int) -> None:
    """Takes the process's time away, until `go_on`."""
    os.kill(pid, signal.SIGSTOP)


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def kill_process(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
