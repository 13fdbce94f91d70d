"""The keeper of the state: a change is in its place at once when it was staged, and durable a little later."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from proxy.control.keeper import StateKeeper
from proxy.control.state import AppRecord, State, StateStore
from proxy.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path


class SlowDisk(StateStore):
    """What it has been given lasts when `lasts` is set; `fails`: never. Notes which thread did what."""

    def __init__(self, state_dir: str) -> None:
        super().__init__(state_dir)
        self.lasts = threading.Event()
        self.fails = False
        self.calls: list[tuple[str, bool]] = []

    def stage(self, state: State) -> None:
        self.calls.append(("stage", threading.current_thread() is threading.main_thread()))
        super().stage(state)

    def place(self, state: State) -> None:
        self.calls.append(("place", threading.current_thread() is threading.main_thread()))
        super().place(state)

    def sync(self) -> None:
        assert self.lasts.wait(10)
        if self.fails:
            raise StateError("the disk is gone")
        super().sync()


def to(slot: str, record: AppRecord) -> AppRecord:
    return record.model_copy(update={"active": slot, "epoch": record.epoch + 1})


@pytest.fixture
def disk(tmp_path: Path) -> SlowDisk:
    disk = SlowDisk(str(tmp_path))
    disk.lasts.set()
    disk.save(State(apps={"shop": AppRecord(active="production", epoch=0)}))
    disk.lasts.clear()
    disk.calls.clear()
    return disk


def read(disk: StateStore) -> str:
    """What another process finds."""
    return StateStore(str(disk.path.parent)).load().apps["shop"].active


async def test_a_staged_change_waits_for_no_thread_and_no_disk(disk: SlowDisk) -> None:
    keeper = StateKeeper(disk, disk.load())
    await keeper.stage_app("shop", partial(to, "temp"))
    assert read(disk) == "production"
    record, durable = await keeper.place_app("shop", partial(to, "temp"))
    assert disk.calls == [("stage", False), ("place", True)]
    assert (record.active, read(disk), durable.done()) == ("temp", "temp", False)
    assert keeper.writing  # no successor may take over now
    disk.lasts.set()
    await durable
    await asyncio.sleep(0)
    assert not keeper.writing


async def test_another_change_than_the_staged_one_is_staged_first(disk: SlowDisk) -> None:
    keeper = StateKeeper(disk, disk.load())
    await keeper.stage_app("shop", partial(to, "temp"))
    disk.lasts.set()
    _, durable = await keeper.place_app("shop", lambda record: to("temp", to("temp", record)))
    await durable
    assert [name for name, _ in disk.calls] == ["stage", "stage", "place"]
    assert disk.load().apps["shop"].epoch == 2


async def test_a_place_that_fails_changes_nothing(disk: SlowDisk) -> None:
    keeper = StateKeeper(disk, disk.load())
    await keeper.stage_app("shop", partial(to, "temp"))
    (disk.path.parent / "state.json.new").unlink()
    with pytest.raises(StateError, match="can't be written"):
        await keeper.place_app("shop", partial(to, "temp"))
    assert (keeper.state.apps["shop"].active, read(disk)) == ("production", "production")
    assert not keeper.writing


async def test_who_wants_to_know_is_told_that_it_may_be_lost(disk: SlowDisk) -> None:
    keeper = StateKeeper(disk, disk.load())
    disk.fails = True
    disk.lasts.set()
    _, durable = await keeper.place_app("shop", partial(to, "temp"))
    with pytest.raises(StateError, match="the disk is gone"):
        await durable
    assert (keeper.state.apps["shop"].active, read(disk)) == ("temp", "temp")


async def test_a_later_change_is_durable_after_the_earlier_one(disk: SlowDisk) -> None:
    keeper = StateKeeper(disk, disk.load())
    _, durable = await keeper.place_app("shop", partial(to, "temp"))
    later = asyncio.create_task(keeper.change_app("shop", partial(to, "production")))
    await asyncio.sleep(0.01)
    assert not later.done()
    disk.lasts.set()
    assert (await later).active == "production"
    assert durable.done()
