"""What one app's control does beside the switch itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.config_file import loads
from proxy.control.app_control import AppControl
from proxy.control.state import AppRecord
from proxy.errors import AdminError, StateError
from proxy.wire import SwitchRequest

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

    async def switch(self) -> None:
        request = SwitchRequest(to="temp", force=True)
        try:
            await self.control.switch(request)
        finally:
            await self.control.close()

    @property
    def noted(self) -> list[str]:
        return [text.partition(" after ")[0] for _, text in self.notes]


MADE = ["production -> temp (switch 1)", "production is drained"]


async def test_a_switch_is_noted() -> None:
    site = Site()
    await site.switch()
    assert site.noted == MADE


async def test_what_the_disk_did_not_keep_is_written_once_more() -> None:
    site = Site(faults=1)
    await site.switch()
    assert site.noted == MADE


async def test_a_switch_that_may_be_lost_stands_and_is_not_reported() -> None:
    site = Site(faults=2)
    with pytest.raises(AdminError, match="switched to temp, but a failure of the machine may undo that") as caught:
        await site.switch()
    assert caught.value.status == 500
    assert (site.control.machine.active, site.control.refused) == ("temp", 0)
    assert site.noted == [MADE[0], str(caught.value)]
