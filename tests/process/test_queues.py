"""Connections that are in an accept queue when a worker or the proxy ends: none is refused or reset."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from proxy_process import Load, ProxyProcess, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy_process import Backend

QUEUED = 40


@pytest.fixture
async def proxy(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[ProxyProcess]:
    proxy = ProxyProcess(tmp_path, backends)
    proxy.configure(workers=3)
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()


def _workers(proxy: ProxyProcess) -> list[int]:
    assert proxy.process is not None
    return proxy.worker_pids(proxy.process.pid)


def _tell(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()


async def _queue(proxy: ProxyProcess) -> list[asyncio.Task[str]]:
    """Requests on connections that nobody has accepted: the workers are stopped."""
    tasks = [asyncio.create_task(proxy.get(f"/{number}")) for number in range(QUEUED)]
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in tasks)
    return tasks


async def test_fewer_workers_take_over_the_queues_of_all(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    old = _workers(proxy)
    _tell(old, signal.SIGSTOP)
    queued = await _queue(proxy)
    proxy.configure(workers=1, timeouts={"stop": "500ms"})
    assert (await proxy.call("POST", "/v1/reload"))[0] == 200
    async with asyncio.timeout(60):
        assert await asyncio.gather(*queued) == ["production"] * QUEUED
    assert await asyncio.gather(*(proxy.get() for _ in range(QUEUED))) == ["production"] * QUEUED


async def test_a_killed_worker_leaves_its_queue_to_its_successor(proxy: ProxyProcess) -> None:
    old = _workers(proxy)
    _tell(old, signal.SIGSTOP)
    queued = await _queue(proxy)
    _tell(old, signal.SIGKILL)
    async with asyncio.timeout(60):
        assert await asyncio.gather(*queued) == ["production"] * QUEUED


async def test_a_stop_answers_what_is_queued(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    assert proxy.process is not None
    workers = _workers(proxy)
    _tell(workers, signal.SIGSTOP)
    queued = await _queue(proxy)
    proxy.process.terminate()
    await until(lambda: "stopping" in proxy.log())
    _tell(workers, signal.SIGCONT)
    async with asyncio.timeout(60):
        assert await asyncio.gather(*queued) == ["production"] * QUEUED
        assert await proxy.process.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        await proxy.get()


async def test_connecting_during_a_stop_is_answered_or_refused(proxy: ProxyProcess) -> None:
    """Never accepted and then reset: a client that is refused knows that its request was not touched."""
    assert proxy.process is not None
    outcomes: list[str] = []

    async def ask() -> None:
        while True:
            try:
                outcomes.append(await proxy.get())
            except ConnectionRefusedError:
                outcomes.append("refused")
                return

    asking = [asyncio.create_task(ask()) for _ in range(8)]
    await until(lambda: len(outcomes) > 40)
    proxy.process.terminate()
    async with asyncio.timeout(60):
        await asyncio.gather(*asking)
        assert await proxy.process.wait() == 0
    assert set(outcomes) == {"production", "refused"}


async def test_a_worker_that_is_told_to_leave_is_replaced(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    before = _workers(proxy)
    async with Load(proxy.port) as load:
        await load.more(20)
        _tell(before, signal.SIGTERM)
        await load.more(100)
        await until(lambda: len(set(_workers(proxy)) - set(before)) == 3)
        backends["production"].release.set()
        assert await slow == "production"
        await until(lambda: not set(_workers(proxy)) & set(before))
        await load.more(20)
    assert load.failures == []


async def test_the_stop_command_ends_workers_without_supervisor(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    workers = _workers(proxy)
    proxy.process.kill()
    await proxy.process.wait()
    assert await proxy.get() == "production"
    code, said = await proxy.command("stop")
    assert (code, "the workers that it had left" in said) == (0, True), said
    assert not any(_is_alive(pid) for pid in workers)
    assert (await proxy.command("stop"))[0] == 3


async def test_workers_without_supervisor_stop_like_any(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    assert proxy.process is not None
    workers = _workers(proxy)
    proxy.process.kill()
    await proxy.process.wait()
    _tell(workers, signal.SIGSTOP)
    queued = await _queue(proxy)
    _tell(workers, signal.SIGTERM)
    _tell(workers, signal.SIGCONT)
    async with asyncio.timeout(60):
        assert await asyncio.gather(*queued) == ["production"] * QUEUED
