"""Workers that misbehave, as tiny scripts: each dies, hangs or refuses in its own way."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

import pytest

from proxy.config_file import loads
from proxy.control.fleet import Fleet
from proxy.control.listeners import Listeners
from proxy.control.worker_process import WorkerError
from proxy.core import orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.control.worker_process import WorkerProcess

SETTINGS = loads("apps: {shop: {slots: {production: {backends: ['127.0.0.1:1']}}}}\ntimeouts: {stop: 200ms}")
SCRIPT = """
import json, os, socket, struct, sys, time
link = socket.socket(fileno=int(sys.argv[sys.argv.index("--channel") + 1]))
def say(**message):
    raw = json.dumps(message).encode()
    link.sendall(struct.pack(">I", len(raw)) + raw)
def hear():
    length = struct.unpack(">I", link.recv(4, socket.MSG_WAITALL))[0]
    return json.loads(link.recv(length, socket.MSG_WAITALL))
assert hear()["type"] == "start"
"""
SERVES = """
say(type="prepared", pid=os.getpid())
assert hear()["type"] == "serve"
say(type="ready", pid=os.getpid())
"""


class Owner:
    """Admits everybody, and notes what it hears."""

    def __init__(self) -> None:
        self.events: list[orders.Event] = []
        self.lost: list[int] = []
        self.notes: list[str] = []

    def start_order(self, worker: WorkerProcess) -> orders.Start:
        return orders.Start(worker=worker.number, settings="{}", apps={})

    async def admit(self, worker: WorkerProcess) -> None:
        worker.send(orders.Serve(apps={}))

    def worker_event(self, worker: WorkerProcess, event: orders.Event) -> None:
        self.events.append(event)

    def worker_lost(self, worker: WorkerProcess) -> None:
        self.lost.append(worker.number)

    def note(self, message: str) -> None:
        self.notes.append(message)


class Site:
    def __init__(self, directory: Path) -> None:
        self.owner = Owner()
        self._script = directory / "worker.py"
        self.listeners = Listeners({}, 1)
        self.fleet = Fleet(self.owner, time.time, (sys.executable, str(self._script)))

    async def launch(self, body: str, count: int = 1) -> None:
        self.become(body)
        async with asyncio.timeout(60):
            await self.fleet.launch(SETTINGS, self.listeners, count, commit=lambda: None)

    def become(self, body: str) -> None:
        """What workers do that start from now on."""
        self._script.write_text(SCRIPT + body)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    async with asyncio.timeout(60):
        await site.fleet.stop(0.1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("sys.exit(7)", "worker 1 ended with exit code 7"),
        ("os.kill(os.getpid(), 9)", "worker 1 ended with signal 9"),
        ("say(type='start_failed', message='no files')\nsys.exit(1)", "no files"),
        ("link.sendall(b'\\xff' * 8)\ntime.sleep(60)", "its link failed"),
        ("say(type='nonsense')\ntime.sleep(60)", "its link failed"),
    ],
)
async def test_a_generation_that_does_not_come_up_is_refused(site: Site, body: str, why: str) -> None:
    with pytest.raises(WorkerError, match=why):
        await site.launch(body)
    assert (site.fleet.workers, site.fleet.current) == ({}, {})


async def test_a_generation_that_does_not_come_up_leaves_the_old_one(site: Site) -> None:
    await site.launch(SERVES + "hear()", count=2)
    before = dict(site.fleet.current)
    with pytest.raises(WorkerError):
        await site.launch("sys.exit(1)")
    assert site.fleet.current == before
    assert site.fleet.all_ready


async def test_a_worker_that_dies_gets_a_successor_until_one_lives(site: Site) -> None:
    await site.launch(SERVES + "os.kill(os.getpid(), 9)")
    async with asyncio.timeout(60):
        while len(site.owner.lost) < 3:
            await site.fleet.changed()
    site.become(SERVES + "hear()")
    async with asyncio.timeout(60):
        while not site.fleet.all_ready:
            await site.fleet.changed()
    assert site.fleet.deaths >= 3
    assert "ended with signal 9" in site.owner.notes[0]


async def test_the_last_events_are_heard_before_the_death(site: Site) -> None:
    await site.launch(SERVES + "hear()\nsay(type='stopped', snapshot={'requests': 3})")
    [worker] = site.fleet.current.values()
    worker.stop(5.0)
    await asyncio.wait_for(worker.gone.wait(), 10)
    assert site.owner.events == [orders.Stopped(snapshot={"requests": 3})]
    assert site.owner.lost == [1]


async def test_a_worker_that_does_not_stop_is_killed(site: Site) -> None:
    await site.launch(SERVES + "time.sleep(60)")
    [worker] = site.fleet.current.values()
    async with asyncio.timeout(60):
        await site.fleet.stop(0.1)
    assert worker.how_it_ended() == "was killed: it did not stop in time"


async def test_a_worker_that_closes_its_link_is_killed(site: Site) -> None:
    await site.launch(SERVES + "link.close()\ntime.sleep(60)")
    [worker] = site.fleet.current.values()
    await asyncio.wait_for(worker.gone.wait(), 10)
    assert "closed its link" in worker.how_it_ended()
