"""A whole proxy on loopback. At the end of each test all must be as if nothing had been."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import uvloop
from loopback import Wired, open_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The tests below this directory run on the loop that workers run on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def wired(tmp_path: Path) -> AsyncIterator[Wired]:
    before, tasks = open_sockets(), len(asyncio.all_tasks())
    wired = Wired(tmp_path)
    yield wired
    await wired.finish()
    for _ in range(100):  # a socket is closed some turns of the loop after its end is known
        await asyncio.sleep(0.001)
        if (left := (open_sockets() - before, len(asyncio.all_tasks()) - tasks)) == (0, 0):
            break
    assert left == (0, 0), "sockets and tasks are left"
