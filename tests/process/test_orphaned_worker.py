"""A real worker whose supervisor dies while it holds requests: the state file tells it how the switch was decided."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from lone_worker import Supervisor
from proxy_process import PATIENCE

from proxy.core import orders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy_process import Backend

BARRIER = 1.5


@pytest.fixture
async def supervisor(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(tmp_path, backends, barrier=f"{BARRIER}s")
    try:
        await supervisor.start()
        yield supervisor
    finally:
        await supervisor.end()


async def get(port: int, cookie: str = "") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        sent = f"Cookie: {cookie}\r\n" if cookie else ""
        writer.write(f"GET / HTTP/1.1\r\nHost: shop\r\n{sent}Connection: close\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return answer.rpartition(b"\r\n\r\n")[2].decode()


async def test_a_switch_that_was_decided_is_made(supervisor: Supervisor) -> None:
    await supervisor.hold()
    waiting = asyncio.create_task(get(supervisor.port))
    in_session = asyncio.create_task(get(supervisor.port, "JSESSIONID=one"))
    done, _ = await asyncio.wait((waiting, in_session), timeout=0.3)
    assert not done
    supervisor.decide("temp", 1)
    died = time.monotonic()
    supervisor.die()
    assert await waiting == "temp"
    assert not in_session.done(), "who still has which session on the old slot can't be told any more"
    assert await in_session == "temp"
    assert time.monotonic() - died >= BARRIER - 0.1
    assert await get(supervisor.port, "JSESSIONID=one") == "temp", "the barrier is over"


async def test_a_switch_that_was_not_decided_is_none(supervisor: Supervisor) -> None:
    await supervisor.hold()
    waiting = [asyncio.create_task(get(supervisor.port, cookie)) for cookie in ("", "JSESSIONID=one")]
    done, _ = await asyncio.wait(waiting, timeout=0.3)
    assert not done
    supervisor.die()
    assert await asyncio.gather(*waiting) == ["production", "production"]


async def test_a_state_file_that_can_t_be_read_is_no_decision(supervisor: Supervisor) -> None:
    await supervisor.hold()
    supervisor.store.path.write_text("{")
    supervisor.die()
    assert await get(supervisor.port) == "production"


async def test_without_a_hold_nothing_is_decided_by_the_file(supervisor: Supervisor) -> None:
    supervisor.decide("temp", 1)
    supervisor.die()
    assert await get(supervisor.port) == "production"


async def test_a_change_of_weights_that_was_decided_is_made(supervisor: Supervisor) -> None:
    await supervisor.hold(orders.Spreading(weights={"production": 1, "temp": 1}, sticky=False))
    supervisor.decide("production", 1)
    supervisor.die()
    assert {await get(supervisor.port, "JSESSIONID=one") for _ in range(6)} == {"production", "temp"}
