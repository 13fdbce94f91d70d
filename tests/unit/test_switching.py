"""What Switching does with the machine's decisions: answers, deadlines, the disk, and joining in the middle."""

from __future__ import annotations

import asyncio

import pytest

from proxy.control.switching import Placed, Switching
from proxy.core import orders
from proxy.core.switchover import Phase, Switchover
from proxy.errors import AdminError, StateError


class Site:
    """Notes what is sent and killed. The disk waits for `disk`, or fails; what it has lasts after `durable`."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, orders.Order]] = []
        self.killed: list[int] = []
        self.disk = asyncio.Event()
        self.disk.set()
        self.fails = False
        self.durable = asyncio.Event()
        self.durable.set()
        self.followed: list[list[str]] = []
        self.machine = Switchover("shop", "production", 0)
        self.switching = Switching(
            self.machine,
            send=lambda worker, order: self.sent.append((worker, order)),
            kill=lambda worker, _: self.killed.append(worker),
            place=self.place,
        )

    async def place(self, *_: object) -> Placed:
        await self.disk.wait()
        if self.fails:
            raise StateError("no room")
        return Placed(lambda: self.followed.append([order.type for _, order in self.sent]), self.settle())

    async def settle(self) -> bool:
        await self.durable.wait()
        return True

    def begin(self, hold: float = 5.0) -> asyncio.Task[object]:
        return asyncio.create_task(self.switching.switch(to="temp", hold=hold, drain=0.0))


async def until(site: Site, phase: Phase) -> None:
    async with asyncio.timeout(10):
        while site.machine.phase is not phase:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_disk_that_fails_is_the_callers_503() -> None:
    site = Site()
    site.fails = True
    with pytest.raises(AdminError, match="not switched: no room") as caught:
        await site.begin()
    assert caught.value.status == 503
    assert (site.machine.active, site.machine.phase) == ("production", Phase.IDLE)
    site.fails = False
    await site.begin()
    assert site.machine.active == "temp"


async def test_what_follows_a_switch_keeps_no_request_waiting() -> None:
    site = Site()
    site.machine.join(1)
    switch = site.begin()
    await until(site, Phase.HOLDING)
    site.switching.worker_event(1, orders.HoldAck(app="shop", epoch=1, attempt=1))
    await until(site, Phase.SWITCHING)
    assert site.followed == [["hold", "switch"]]
    site.switching.worker_event(1, orders.SwitchAck(app="shop", epoch=1, held=0, hold_ms=1.0))
    site.switching.worker_event(1, orders.Drained(app="shop", epoch=1, slot="production"))
    await switch


async def test_a_switch_that_the_machine_may_lose_is_made_but_not_reported() -> None:
    site = Site()
    site.durable.clear()
    site.machine.join(1)
    switch = site.begin()
    await until(site, Phase.HOLDING)
    site.switching.worker_event(1, orders.HoldAck(app="shop", epoch=1, attempt=1))
    await until(site, Phase.SWITCHING)
    assert [order.type for _, order in site.sent] == ["hold", "switch"]
    site.switching.worker_event(1, orders.SwitchAck(app="shop", epoch=1, held=0, hold_ms=1.0))
    site.switching.worker_event(1, orders.Drained(app="shop", epoch=1, slot="production"))
    assert site.machine.phase is Phase.IDLE
    await asyncio.sleep(0.01)
    assert not switch.done()
    assert site.switching.reporting  # an upgrade must not begin now
    site.durable.set()
    await switch
    assert not site.switching.reporting


async def test_the_end_of_the_proxy_ends_the_waiting_for_the_disk_too() -> None:
    site = Site()
    site.durable.clear()
    site.disk.clear()
    switch = site.begin()
    await until(site, Phase.PERSISTING)
    site.disk.set()
    await until(site, Phase.IDLE)
    site.switching.close()
    with pytest.raises(AdminError, match="the proxy stops"):
        await switch
    site.durable.set()
    await asyncio.sleep(0)


async def test_one_at_a_time() -> None:
    site = Site()
    site.disk.clear()
    first = site.begin()
    await until(site, Phase.PERSISTING)
    with pytest.raises(AdminError, match="is being switched to temp") as caught:
        await site.begin()
    assert caught.value.status == 409
    site.disk.set()
    await first


async def test_a_worker_joins_with_the_outcome() -> None:
    site = Site()
    site.disk.clear()
    first = site.begin()
    await until(site, Phase.PERSISTING)
    joining = asyncio.create_task(site.switching.decided())
    await asyncio.sleep(0)
    assert not joining.done()
    site.disk.set()
    await joining
    assert site.machine.join(1) == orders.ActiveSlot(active="temp", epoch=1)
    await first


async def test_a_caller_that_leaves_changes_nothing() -> None:
    site = Site()
    site.disk.clear()
    first = site.begin()
    await until(site, Phase.PERSISTING)
    first.cancel()
    site.disk.set()
    await until(site, Phase.IDLE)
    assert site.machine.active == "temp"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_deadlines_come() -> None:
    site = Site()
    site.machine.join(1)
    with pytest.raises(AdminError, match="worker 1 did not acknowledge the hold in time"):
        await site.begin(hold=0.02)
    assert site.killed == [1]
    assert [order.type for _, order in site.sent] == ["hold", "release_hold"]


async def test_the_end_of_the_proxy_ends_the_waiting() -> None:
    site = Site()
    site.machine.join(1)
    waiting = site.begin()
    await until(site, Phase.HOLDING)
    site.switching.close()
    with pytest.raises(AdminError, match="the proxy stops"):
        await waiting
