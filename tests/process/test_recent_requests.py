"""What the proxy remembers of requests, and the idle connections that it closes when it is asked, with real workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy_process import Backend, ProxyProcess


async def test_the_sample_comes_from_all_workers(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    for target in ("/a?x=1", "/a?x=1", "/reset?token=1"):
        await proxy.get(target)
    backends["production"].fails = True
    for _ in range(3):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"POST /order HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert b" 500 " in await reader.readline()
        writer.close()
    status, answer = await proxy.call("GET", "/v1/apps/shop/recent")
    assert status == 200
    rows = {(row["method"], row["path"], row["status"]): row["count"] for row in answer["requests"]}
    assert rows == {("GET", "/a?x=1", 200): 2, ("GET", "/reset", 200): 1, ("POST", "/order", 500): 3}
    assert {row["slot"] for row in answer["requests"]} == {"production"}
    assert (await proxy.call("GET", "/v1/apps/none/recent"))[0] == 404


async def test_idle_connections_to_a_slot_are_closed_in_every_worker(
    proxy: ProxyProcess, backends: dict[str, Backend]
) -> None:
    for _ in range(12):
        await proxy.get()
    assert backends["production"].connections > 0
    assert (await proxy.call("POST", "/v1/apps/shop/slots/production/close-idle")) == (200, {"message": "closed"})
    async with asyncio.timeout(5):
        while backends["production"].connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await proxy.get() == "production"
    assert (await proxy.call("POST", "/v1/apps/shop/slots/none/close-idle"))[0] == 404
