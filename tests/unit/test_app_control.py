"""What one app's control does beside the switch itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.config_file import loads
from proxy.control.app_control import AppControl
from proxy.control.state import AppRecord
from proxy.errors import StateError
from proxy.wire import SwitchReport, SwitchRequest

if TYPE_CHECKING:
    from proxy.core.trial import Counts

SETTINGS = loads("""
apps:
  shop:
    slots:
      production: {backends: ["127.0.0.1:8081"]}
      temp: {backends: ["127.0.0.1:8082"]}
    health: null
""")


class Site:
    """An app without workers. `faults`: how often the disk does not keep what it was given."""

    def __init__(self, faults: int = 0) -> None:
        self.faults = faults
        self.notes: list[tuple[str, str]] = []
        self.record = AppRecord(active="production", epoch=0)
        self.control = AppControl(
            "shop",
            SETTINGS.apps["shop"],
            self.record,
            clock=lambda: 0.0,
            send=lambda *_: None,
            kill=lambda *_: None,
            stage=self.stage,
            persist=self.persist,
            place=self.place,
            tell_all=lambda _: None,
            switched=lambda _: None,
            counts=self.counts,
            cookies=lambda _: {},
            note=lambda kind, text: self.notes.append((kind, text)),
        )

    async def stage(self, change: object) -> None:
        pass

    async def persist(self, change: object) -> AppRecord:
        await self.settle()
        return self.record

    async def counts(self, slot: str) -> Counts:
        raise NotImplementedError

    async def place(self, change: object) -> tuple[AppRecord, asyncio.Task[None]]:
        return self.record.model_copy(update={"active": "temp", "epoch": 1}), asyncio.create_task(self.settle())

    async def settle(self) -> None:
        if self.faults:
            self.faults -= 1
            raise StateError("the directory can't be synced")

    async def switch(self) -> SwitchReport:
        report = await self.control.switch(SwitchRequest(to="temp", force=True))
        await self.control.close()
        return report

    @property
    def noted(self) -> list[str]:
        return [text.partition(" after ")[0] for _, text in self.notes]


MADE = "production -> temp (switch 1)"
DRAINED = "production is drained"


async def test_a_switch_is_noted() -> None:
    site = Site()
    assert (await site.switch()).durable
    assert site.noted == [MADE, DRAINED]


async def test_what_the_disk_did_not_keep_is_written_once_more() -> None:
    site = Site(faults=1)
    assert (await site.switch()).durable
    assert site.noted == [MADE, DRAINED]


async def test_a_switch_that_may_be_lost_stands_and_its_report_says_so() -> None:
    site = Site(faults=2)
    report = await site.switch()
    assert (report.to, report.durable) == ("temp", False)
    assert (site.control.machine.active, site.control.switches) == ("temp", 1)
    lost = "switch 1 may not outlast a failure of the machine: the directory can't be synced"
    assert site.noted == [MADE, lost, DRAINED]


async def test_the_next_one_is_judged_for_itself() -> None:
    site = Site(faults=2)
    await site.switch()
    assert (await site.switch()).durable
