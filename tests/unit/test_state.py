"""The state file: what is saved comes back, and damage is an error that says what to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from proxy.config_file import loads
from proxy.control.state import AppRecord, SlotRecord, State, StateStore, for_settings
from proxy.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = loads("apps: {shop: {active: temp, slots: {production: {backends: ['a:1']}, temp: {backends: ['a:2']}}}}")
STATE = State(
    apps={
        "shop": AppRecord(active="temp", epoch=7, slots={"temp": SlotRecord(backends=("127.0.0.1:1",), release="r1")})
    }
)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    assert store.load() == State()
    store.save(STATE)
    assert store.load() == STATE
    store.save(State())
    assert store.load() == State()
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version": 2, "apps": {}}',
        b'{"version": 1, "apps": {"shop": {"active": "temp"}}}',
        b'{"version": 1, "apps": {"shop": {"active": "temp", "epoch": -1}}}',
        b'{"version": 1, "apps": {}, "more": 1}',
        b'{"version": 1, "apps": {"shop": {"active": "te',
    ],
)
def test_damage_is_an_error_and_the_file_stays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.json").write_bytes(content)
    with pytest.raises(StateError, match="is damaged") as caught:
        StateStore(str(tmp_path)).load()
    assert "start the proxy again" in caught.value.advice
    assert caught.value.exit_code == 4
    assert (tmp_path / "state.json").read_bytes() == content


def test_what_can_not_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StateError, match="can't be read"):
        StateStore(str(tmp_path)).load()
    with pytest.raises(StateError, match="can't be written"):
        StateStore(str(tmp_path)).save(STATE)
    with pytest.raises(StateError, match="can't be written"):
        StateStore(str(tmp_path / "none")).save(STATE)


def test_a_half_written_file_of_a_crash_is_not_read(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    store.save(STATE)
    (tmp_path / "state.json.new").write_bytes(b'{"vers')
    assert store.load() == STATE
    store.save(State())
    assert os.listdir(tmp_path) == ["state.json"]


def test_what_is_staged_counts_only_when_it_is_saved(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    store.save(State())
    store.stage(STATE)
    assert store.load() == State()
    store.save(STATE)
    assert store.load() == STATE
    store.stage(STATE)
    store.save(State())
    assert store.load() == State(), "what is saved counts, not what was staged"


def test_new_apps_begin_as_configured_and_old_ones_are_remembered() -> None:
    assert for_settings(State(), SETTINGS, "f").apps == {"shop": AppRecord(active="temp", epoch=0)}
    assert for_settings(STATE, SETTINGS, "f") == STATE
    other = State(apps={"other": AppRecord(active="x", epoch=1)})
    assert set(for_settings(other, SETTINGS, "f").apps) == {"shop", "other"}


def test_an_active_slot_that_is_not_configured_is_an_error() -> None:
    gone = State(apps={"shop": AppRecord(active="gone", epoch=1)})
    with pytest.raises(StateError, match="slot gone of app shop is active") as caught:
        for_settings(gone, SETTINGS, "f.json")
    assert "apps.shop.slots.gone" in caught.value.advice
    assert "f.json" in caught.value.advice
