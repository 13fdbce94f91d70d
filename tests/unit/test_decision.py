"""What a worker finds in the state file when its supervisor has died."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.control.state import AppRecord, State, StateStore
from proxy.net.decision import STATE_FILE, decided_epochs

if TYPE_CHECKING:
    from pathlib import Path


def test_it_reads_what_the_supervisor_writes(tmp_path: Path) -> None:
    apps = {"shop": AppRecord(active="temp", epoch=7), "blog": AppRecord(active="production", epoch=0)}
    StateStore(str(tmp_path)).save(State(apps=apps))
    assert decided_epochs(str(tmp_path)) == {"shop": 7, "blog": 0}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"apps": 3}', b'{"apps": {"shop": {}}}', b'{"apps": {"shop": {"epoch": null}}}']
)
def test_what_can_t_be_read_tells_of_no_switch(tmp_path: Path, content: bytes) -> None:
    assert decided_epochs(str(tmp_path)) == {}
    (tmp_path / STATE_FILE).write_bytes(content)
    assert decided_epochs(str(tmp_path)) == {}
