"""What one app's control does beside the switch itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.config_file import loads
from proxy.control.app_control import AppControl
from proxy.control.state import AppRecord
from proxy.errors import StateError

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
    """An app without workers. `lasts`: whether the disk keeps what it was given."""

    def __init__(self, *, lasts: bool) -> None:
        self.lasts = lasts
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
        return self.record

    async def counts(self, slot: str) -> Counts:
        raise NotImplementedError

    async def place(self, change: object) -> tuple[AppRecord, asyncio.Task[None]]:
        return self.record.model_copy(update={"active": "temp", "epoch": 1}), asyncio.create_task(self.settle())

    async def settle(self) -> None:
        if not self.lasts:
            raise StateError("the directory can't be synced")


async def switched(site: Site) -> list[str]:
    report = await site.control.switching.switch(to="temp", hold=1.0, drain=0.0)
    assert (report.to, site.control.machine.active) == ("temp", "temp")
    await site.control.close()
    return [text for _, text in site.notes]


async def test_a_switch_is_noted() -> None:
    assert await switched(Site(lasts=True)) == ["production -> temp (switch 1)"]


async def test_a_switch_that_may_not_outlast_the_machine_stands_and_is_noted() -> None:
    first, second = await switched(Site(lasts=False))
    assert first == "production -> temp (switch 1)"
    assert second == "switch 1 may not outlast a failure of the machine: the directory can't be synced"
