"""kill -9 of a worker, the supervisor or a backend at each step of a switch, under load.

What must hold whoever dies (design: the switch): no request is torn, doubled or lost; after a report none reaches the
old slot; a session never runs on both slots; what fails is what the dead process had in its hands. A step is held
still by taking a process's time away (SIGSTOP), so that no test depends on who is quicker.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError
from proxy_process import until
from recorded_site import CONNECTIONS, RecordedSite, go_on, kill_process, recorded_site, stop_process

from benchmarks.switching.account import Faults
from benchmarks.switching.message import KIB, Kind, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy.wire import AppStatus

OLD, NEW = "production", "temp"
SLOW = Kind("slow", 0, answer=KIB, wait_ms=60_000)
SLOW_NUMBER = 7
HOLD = "60s"
"""Longer than any test: no deadline of a hold may pass where the machine is slow."""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[RecordedSite]:
    # No probe: who is dead is to be found out by the requests, at the moment of the test.
    async with recorded_site(tmp_path, app={"health": None}, limits={"hold": HOLD}) as site:
        yield site


class Slow:
    """A request that the old slot answers after a minute, beside the load; and the worker that has it."""

    def __init__(self, site: RecordedSite) -> None:
        self._site = site
        self.worker = 0
        self.other = 0

    async def __aenter__(self) -> Slow:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._site.proxy.port)
        head, _ = request(SLOW_NUMBER, SLOW, -1)
        self._writer.write(head)
        while not self.worker:
            _, inflight = await self._site.proxy.call("GET", "/v1/apps/shop/inflight")
            numbers = [one["worker"] for one in inflight["exchanges"] if one["path"] == f"/r/{SLOW_NUMBER:x}"]
            for worker in (await self._site.proxy.status()).workers:
                if worker.id in numbers:
                    self.worker = worker.pid
                else:
                    self.other = worker.pid
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def status(self) -> bytes:
        """The answer's status; empty when the connection ended without one."""
        with suppress(OSError):
            return (await self._reader.read(12))[9:]
        return b""


def is_active(slot: str) -> Any:
    """A condition on the app's status: it is active, in all workers."""
    return lambda shop: (shop.active, shop.switching) == (slot, False)


def state(site: RecordedSite) -> tuple[str, int]:
    record = json.loads((site.proxy.directory / "var/proxy/state.json").read_text())["apps"]["shop"]
    return record["active"], record["epoch"]


async def hold_one(site: RecordedSite) -> tuple[int, int, asyncio.Task[Any]]:
    """Begins a switch; returns when one worker holds, and the other one has no time to: (holding, stopped, switch)."""
    holding, stopped = site.worker_pids()
    stop_process(stopped)
    switch = asyncio.create_task(site.switch(OLD, NEW, hold=HOLD))
    await site.proxy.until_shop(lambda shop: shop.switching and shop.held > 0)
    return holding, stopped, switch


async def switch_one(site: RecordedSite) -> tuple[int, int, asyncio.Task[Any]]:
    """As `hold_one`, one step on: one worker serves the new slot, and the other one, which holds, has no time to."""
    stopped, other, switch = await hold_one(site)
    stop_process(stopped)
    go_on(other)
    await until(lambda: state(site) == (NEW, 1))
    await site.served(NEW)
    return other, stopped, switch


def check(site: RecordedSite, *allowed: str, most: int = CONNECTIONS) -> None:
    """Nothing went wrong but these outcomes, and of them at most so many."""
    outcomes, faults = site.outcomes(), site.faults()
    assert set(outcomes) <= set(allowed), site.evidence()
    assert outcomes.total() <= most, site.evidence()
    assert replace(faults, failed=0, torn=faults.torn - outcomes["CUT"]) == Faults(), site.evidence()


LOST_WITH_A_WORKER = ("CLOSED", "CUT")
NO_BACKEND = (b"502", b"503")  # 503: it was asked once more, as a GET may be, and there was no connection to be had


@pytest.mark.parametrize("victim", ["holding", "stopped"])
async def test_a_worker_dies_in_the_hold_and_the_switch_is_made(site: RecordedSite, victim: str) -> None:
    async with site.load(stay=True):
        holding, stopped, switch = await hold_one(site)
        kill_process(holding if victim == "holding" else stopped)
        if victim == "holding":
            go_on(stopped)
        status, report = await switch
        assert (status, report["to"], report["drained"]) == (200, NEW, True), report
        await site.proxy.until_ready(2)
        await site.served(NEW)
    check(site, *LOST_WITH_A_WORKER)


async def test_the_supervisor_dies_in_the_hold_and_the_old_slot_serves_on(site: RecordedSite) -> None:
    async with site.load(stay=True):
        _, stopped, switch = await hold_one(site)
        await site.kill_supervisor()
        go_on(stopped)
        with pytest.raises(ClientError):
            await switch
        await site.served(OLD)
        assert state(site) == (OLD, 0)
        await site.proxy.start()
        await site.served(OLD)
        assert is_active(OLD)(await site.proxy.shop())
        await site.switch_when_possible(OLD, NEW)
        await site.served(NEW)
    check(site)


async def test_the_state_cannot_be_written_and_the_old_slot_serves_on(site: RecordedSite) -> None:
    path = site.proxy.directory / "var/proxy/state.json"
    async with site.load(stay=True):
        kept = path.read_bytes()
        path.unlink()
        path.mkdir()
        status, problem = await site.switch(OLD, NEW)
        assert (status, "can't be written" in problem["detail"]) == (503, True), problem
        await site.served(OLD)
        path.rmdir()
        path.write_bytes(kept)
        assert (await site.switch(OLD, NEW))[0] == 200
        await site.served(NEW)
    check(site)


@pytest.mark.parametrize("victim", ["switched", "stopped", "nobody"])
async def test_a_worker_dies_in_the_switch_and_the_switch_stands(site: RecordedSite, victim: str) -> None:
    async with site.load(stay=True):
        switched, stopped, switch = await switch_one(site)
        if victim == "switched":
            kill_process(switched)
            with suppress(ProcessLookupError):
                go_on(stopped)
        elif victim == "stopped":
            kill_process(stopped)
        status, report = await switch
        assert (status, report["to"], report["drained"]) == (200, NEW, True), report
        await site.proxy.until_ready(2)
        await site.served(NEW)
        assert stopped not in site.worker_pids() or victim == "switched"
    # Where the machine is slow, both have gone: the one that was killed, and the one that had no time for too long.
    check(site, *LOST_WITH_A_WORKER, most=2 * CONNECTIONS)


async def test_the_supervisor_dies_in_the_switch_and_the_switch_stands(site: RecordedSite) -> None:
    async with site.load(stay=True):
        _, stopped, switch = await switch_one(site)
        await site.kill_supervisor()
        with pytest.raises(ClientError):
            await switch
        with suppress(ProcessLookupError):
            go_on(stopped)
        await site.served(NEW)
        await site.proxy.start()
        seen = site.slots[OLD].size
        await site.served(NEW)
        assert site.slots[OLD].size == seen
        shop = await site.proxy.shop()
        assert (shop.active, shop.epoch) == (NEW, 1)
    check(site, *LOST_WITH_A_WORKER)


@pytest.mark.parametrize(("victim", "answer"), [("its worker", b""), ("the other worker", b"503")])
async def test_a_worker_dies_in_the_drain(site: RecordedSite, victim: str, answer: bytes) -> None:
    async with site.load(stay=True), Slow(site) as slow:
        switch = asyncio.create_task(site.switch(OLD, NEW, drain="4s"))
        await site.proxy.until_shop(_is_draining)
        kill_process(slow.worker if victim == "its worker" else slow.other)
        status, report = await switch
        cut = [one["path"] for one in report["cut"]]
        assert (status, report["drained"], cut) == (200, not answer, [f"/r/{SLOW_NUMBER:x}"] if answer else [])
        assert await slow.status() == answer
        await site.proxy.until_ready(2)
        await site.served(NEW)
    check(site, *LOST_WITH_A_WORKER)


async def test_the_supervisor_dies_in_the_drain_and_what_drains_goes_on(site: RecordedSite) -> None:
    async with site.load(stay=True), Slow(site) as slow:
        switch = asyncio.create_task(site.switch(OLD, NEW))
        await site.proxy.until_shop(_is_draining)
        await site.kill_supervisor()
        with pytest.raises(ClientError):
            await switch
        await site.served(NEW)
        await site.proxy.start()
        await site.served(NEW)
        shop = await site.proxy.shop()
        assert (shop.active, shop.epoch) == (NEW, 1)
        await site.slots[OLD].kill()
        assert await slow.status() in NO_BACKEND, "it was still waiting for its answer"
    check(site)


@pytest.mark.parametrize("victim", ["worker", "supervisor"])
async def test_a_process_dies_in_the_cut(site: RecordedSite, victim: str) -> None:
    async with site.load(stay=True), Slow(site) as slow:
        switch = asyncio.create_task(site.switch(OLD, NEW, drain="3s"))
        await site.proxy.until_shop(_is_draining)
        stop_process(slow.worker)
        await asyncio.sleep(3.5)  # until the cut is ordered: nothing tells of it while the worker has no time
        if victim == "worker":
            kill_process(slow.worker)
            status, report = await switch
            assert (status, report["cut"]) == (200, [])
            assert await slow.status() == b""
            await site.proxy.until_ready(2)
        else:
            await site.kill_supervisor()
            with pytest.raises(ClientError):
                await switch
            go_on(slow.worker)
            assert await slow.status() == b"503", "the order was on its way already"
            await site.proxy.start()
        await site.served(NEW)
        assert is_active(NEW)(await site.proxy.shop())
    check(site, *LOST_WITH_A_WORKER)


async def test_the_new_backend_dies_in_the_hold_and_a_switch_back_heals(site: RecordedSite) -> None:
    async with site.load(stay=True):
        _, stopped, switch = await hold_one(site)
        await site.slots[NEW].kill()
        go_on(stopped)
        assert (await switch)[0] == 200
        assert (await site.switch(NEW, OLD))[0] == 200
        await site.served(OLD)
    check(site, "STATUS", most=len(site.answers()))


async def test_the_old_backend_dies_in_the_hold_and_the_new_one_serves(site: RecordedSite) -> None:
    async with site.load(stay=True):
        _, stopped, switch = await hold_one(site)
        await site.slots[OLD].kill()
        go_on(stopped)
        status, report = await switch
        assert (status, report["drained"]) == (200, True)
        await site.served(NEW)
    check(site, "STATUS", "CUT")


async def test_a_backend_dies_in_the_drain(site: RecordedSite) -> None:
    async with site.load(stay=True), Slow(site) as slow:
        switch = asyncio.create_task(site.switch(OLD, NEW))
        await site.proxy.until_shop(_is_draining)
        await site.slots[OLD].kill()
        assert await slow.status() in NO_BACKEND
        status, report = await switch
        assert (status, report["drained"], report["cut"]) == (200, True, [])
        await site.served(NEW)
    check(site)


@pytest.mark.parametrize("milliseconds", [0, 2, 5, 10, 20, 40])
async def test_the_supervisor_dies_at_any_moment_and_the_state_file_rules(
    site: RecordedSite, milliseconds: int
) -> None:
    async with site.load(stay=True):
        switch = asyncio.create_task(site.switch(OLD, NEW, hold=HOLD))
        await asyncio.sleep(milliseconds / 1000)
        await site.kill_supervisor()
        with suppress(ClientError):
            await switch
        active, epoch = state(site)
        assert (active, epoch) in ((OLD, 0), (NEW, 1))
        await site.proxy.start()
        shop = await site.proxy.shop()
        assert (shop.active, shop.epoch) == (active, epoch)
        other = NEW if active == OLD else OLD
        await site.switch_when_possible(active, other)
        await site.served(other)
    check(site)


async def test_no_switch_while_workers_of_a_killed_supervisor_still_end_requests(site: RecordedSite) -> None:
    async with Slow(site) as slow:
        await site.kill_supervisor()
        await site.proxy.start()
        status, problem = await site.switch(OLD, NEW)
        assert status == 503
        assert "workers of a supervisor that is gone still end requests" in problem["detail"]
        assert str(slow.worker) in problem["detail"]
        kill_process(slow.worker)
        await site.switch_when_possible(OLD, NEW)


def _is_draining(shop: AppStatus) -> bool:
    """Only the slow request is left on the old slot."""
    return shop.draining == OLD and shop.slot(OLD).in_flight == 1
