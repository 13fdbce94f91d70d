"""Workers that do not come up take no connection: those that serve have them all."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy_process import ProxyProcess

NOWHERE: Any = {"path": "/nowhere/access.log", "format": "json"}
"""Only a worker opens it."""


@asynccontextmanager
async def visitors(proxy: ProxyProcess) -> AsyncIterator[list[str]]:
    """One after the other, each with a connection of its own; what they got. A failure is raised at the end."""
    got: list[str] = []
    ended = asyncio.Event()

    async def visit() -> None:
        while not ended.is_set():
            got.append(await proxy.get())

    async with asyncio.TaskGroup() as group:
        group.create_task(visit())
        group.create_task(visit())
        yield got
        ended.set()


async def test_a_reload_to_more_workers_that_do_not_start_loses_nothing(proxy: ProxyProcess) -> None:
    proxy.configure(workers=6, access_log=NOWHERE)
    async with visitors(proxy) as got:
        status, problem = await proxy.call("POST", "/v1/reload")
    assert (status, "/nowhere/access.log" in problem["detail"]) == (503, True), problem
    assert set(got) == {"production"}


async def test_a_supervisor_whose_workers_do_not_start_takes_nothing_from_those_that_serve(
    proxy: ProxyProcess,
) -> None:
    assert proxy.process is not None
    proxy.process.kill()
    await proxy.process.wait()
    proxy.configure(workers=6, access_log=NOWHERE)
    async with visitors(proxy) as got:
        code, said = await proxy.command("run")
        assert (code, "/nowhere/access.log" in said) == (3, True), said
    assert set(got) == {"production"}
