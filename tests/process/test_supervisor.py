"""The proxy's processes for real: switches under load, death of each process, reload, stop, restart."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from proxy_process import Backend, Load, ProxyProcess, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path


@pytest.fixture
async def backends() -> AsyncIterator[dict[str, Backend]]:
    backends = {name: await Backend(name).start() for name in ("production", "temp")}
    yield backends
    for backend in backends.values():
        await backend.stop()


@pytest.fixture
async def proxy(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[ProxyProcess]:
    proxy = ProxyProcess(tmp_path, backends)
    proxy.configure()
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()


async def test_switches_under_load_lose_nothing(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    old, new = "production", "temp"
    async with Load(proxy.port) as load:
        for epoch in range(1, 11):
            await load.more(20)
            status, report = await proxy.switch(new, expect_active=old)
            assert status == 200, report
            assert (report["epoch"], report["workers"], report["drained"], report["cut"]) == (epoch, 2, True, [])
            seen = len(backends[old].requests)
            await load.more(20)
            assert len(backends[old].requests) == seen, "a request went to the old slot after the report"
            old, new = new, old
    assert load.failures == []
    asked = [request for backend in backends.values() for request in backend.requests]
    assert len(asked) == len(set(asked)), "a request was sent twice"


async def test_a_slow_request_ends_on_the_old_slot(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    _, inflight = await proxy.call("GET", "/v1/apps/shop/inflight")
    assert [(one["slot"], one["path"]) for one in inflight["exchanges"]] == [("production", "/slow")]
    switch = asyncio.create_task(proxy.switch("temp"))
    await proxy.until_shop(lambda shop: shop.active == "temp")
    assert await proxy.get() == "temp"
    assert (await proxy.shop()).draining == "production"
    assert not switch.done()
    backends["production"].release.set()
    assert await slow == "production"
    status, report = await switch
    assert (status, report["drained"], report["in_flight"]) == (200, True, 1)


async def test_what_outlasts_the_drain_is_cut_and_named(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    status, report = await proxy.switch("temp", drain="100ms")
    assert (status, report["drained"]) == (200, False)
    assert [(one["method"], one["path"]) for one in report["cut"]] == [("GET", "/slow")]
    with pytest.raises((AssertionError, OSError)):
        await slow
    assert await proxy.get() == "temp"


async def test_a_slot_without_a_healthy_backend_is_refused(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    backends["temp"].healthy = False
    await proxy.until_shop(lambda shop: shop.slot("temp").backends[0].health == "down")
    status, problem = await proxy.switch("temp")
    assert status == 422
    assert "GET /health answered 500" in problem["detail"]
    assert (await proxy.switch("temp", force=True))[0] == 200
    assert await proxy.get() == "temp", "a failing probe alone takes no site away"
    assert (await proxy.call("GET", "/readyz"))[0] == 503


async def test_a_worker_that_is_killed_gets_a_successor(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    before = proxy.worker_pids(proxy.process.pid)
    os.kill(before[0], signal.SIGKILL)
    assert [await proxy.get() for _ in range(20)] == ["production"] * 20, "its queue waits for the successor"
    status = await proxy.until_ready(2)
    assert {worker.pid for worker in status.workers} - set(before)
    assert status.app("shop").slot("production").requests >= 20
    code, report = await proxy.switch("temp")
    assert (code, report["workers"]) == (200, 2)
    assert {await proxy.get() for _ in range(20)} == {"temp"}


async def test_a_worker_that_does_not_answer_is_replaced(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    victim = proxy.worker_pids(proxy.process.pid)[0]
    os.kill(victim, signal.SIGSTOP)
    status, problem = await proxy.switch("temp", hold="1s")
    assert status == 503
    assert "did not acknowledge the hold in time" in problem["detail"]
    await proxy.until_ready(2)
    assert victim not in proxy.worker_pids(proxy.process.pid)
    assert {await proxy.get() for _ in range(10)} == {"production"}
    assert (await proxy.switch("temp"))[0] == 200
    assert {await proxy.get() for _ in range(10)} == {"temp"}


async def test_a_reload_under_load_loses_nothing(proxy: ProxyProcess) -> None:
    before = {worker.pid for worker in (await proxy.status()).workers}
    await proxy.switch("temp")
    async with Load(proxy.port) as load:
        await load.more(20)
        for workers in (3, 3):
            proxy.configure(workers=workers)
            assert (await proxy.call("POST", "/v1/reload"))[0] == 200
            await load.more(20)
        status = await proxy.until_ready(3)
    assert load.failures == []
    assert set(load.answers) == {"temp"}
    assert not before & {worker.pid for worker in status.workers}
    assert (await proxy.shop()).slot("temp").requests >= len(load.answers)


async def test_a_hangup_reloads(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    proxy.configure(workers=1)
    proxy.process.send_signal(signal.SIGHUP)
    await until(lambda: "1 new workers serve" in proxy.log())
    await proxy.until_ready(1)
    proxy.configure(workers=0)
    proxy.process.send_signal(signal.SIGHUP)
    await until(lambda: "not reloaded" in proxy.log())
    assert await proxy.get() == "production"


@pytest.mark.parametrize(
    ("changes", "status", "detail"),
    [
        ({"workers": 0}, 422, "workers: found 0"),
        ({"state_dir": "elsewhere"}, 422, "can't be changed by a reload"),
        ({"app": {"slots": {"other": {"backends": ["a:1"]}}, "active": "other"}}, 507, "has no such slot"),
        ({"app": {"static": {"prefix": "/static/", "root": "/proc/1/mem"}}}, 503, "did not start"),
    ],
)
async def test_a_reload_that_is_refused_changes_nothing(
    proxy: ProxyProcess, changes: dict[str, object], status: int, detail: str
) -> None:
    before = await proxy.status()
    proxy.configure(**changes)
    code, problem = await proxy.call("POST", "/v1/reload")
    assert (code, detail in problem["detail"]) == (status, True), problem
    after = await proxy.until_ready(2)
    assert [worker.pid for worker in after.workers] == [worker.pid for worker in before.workers]
    assert await proxy.get() == "production"


async def test_a_stop_answers_what_is_under_way(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    assert proxy.process is not None
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    stop = asyncio.create_task(proxy.command("stop"))
    await until(lambda: "stopping" in proxy.log())
    backends["production"].release.set()
    assert await slow == "production"
    code, said = await stop
    assert (code, "has stopped" in said) == (0, True)
    assert await proxy.process.wait() == 0
    code, said = await proxy.command("stop")
    assert (code, "no proxy runs" in said) == (3, True)


async def test_a_second_signal_ends_it_at_once(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    assert proxy.process is not None
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    proxy.process.terminate()
    await until(lambda: "stopping" in proxy.log())
    proxy.process.terminate()
    async with asyncio.timeout(25):  # the graceful stop would have 30
        await proxy.process.wait()
    with pytest.raises((AssertionError, OSError)):
        await slow


async def test_the_active_slot_survives_a_restart(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    await proxy.switch("temp")
    assert (await proxy.command("stop"))[0] == 0
    await proxy.process.wait()
    await proxy.start()
    shop = await proxy.shop()
    assert (shop.active, shop.epoch) == ("temp", 1)
    assert await proxy.get() == "temp"


async def test_workers_outlive_the_supervisor_until_its_successor_serves(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    await proxy.switch("temp")
    async with Load(proxy.port) as load:
        orphans = proxy.worker_pids(proxy.process.pid)
        proxy.process.kill()
        await proxy.process.wait()
        await load.more(50)
        await proxy.start()
        await load.more(50)
        await until(lambda: not any(_is_alive(pid) for pid in orphans))
        await load.more(50)
    assert load.failures == []
    assert set(load.answers) == {"temp"}


async def test_a_damaged_state_file_is_no_return_to_the_default(proxy: ProxyProcess) -> None:
    assert (await proxy.command("stop"))[0] == 0
    state = proxy.directory / "var/proxy/state.json"
    state.write_bytes(state.read_bytes()[:-10])
    code, said = await proxy.command("run")
    assert code == 4
    assert "state.json is damaged" in said
    assert "start the proxy again" in said


async def test_what_is_taken_is_named(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    code, said = await proxy.command("run")
    assert code == 3
    assert f"the proxy already runs as pid {proxy.process.pid}" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        free = {"listen": f"http://127.0.0.1:{port}"}
        proxy.configure(state_dir="other", listen=[f"http://127.0.0.1:{port}"], admin={"listen": "unix:a.sock"})
        code, said = await proxy.command("run")
        assert code == 3
        assert f"port {port} is taken by pid {os.getpid()} (" in said
        proxy.configure(state_dir="other", admin=free)
        code, said = await proxy.command("run")
        assert code == 3
        assert f"port {port} is taken by pid {os.getpid()} (" in said
        assert "admin.listen" in said


async def test_the_commands_over_a_unix_socket_with_a_token(proxy: ProxyProcess) -> None:
    assert (await proxy.command("stop"))[0] == 0
    proxy.configure(admin={"listen": "unix:var/admin.sock", "token_file": "var/token"})
    proxy.process = await proxy.spawn("run")
    await until(lambda: "the admin API is at unix:var/admin.sock" in proxy.log())
    for path in ("var/admin.sock", "var/token"):
        assert (proxy.directory / path).stat().st_mode & 0o777 == 0o600
    await _check(proxy, ("switch", "temp"), 0, "shop: production -> temp, switch 1, in 2 workers")
    await _check(proxy, ("switch", "temp"), 0, "temp is active already")
    await _check(proxy, ("switch", "temp", "--expect", "production"), 3, "temp is active, not production")
    await _check(proxy, ("switch", "nowhere"), 3, "it has production, temp")
    await _check(proxy, ("switch", "temp", "--hold", "-1"), 2, "hold: ")
    await _check(proxy, ("status",), 0, "app shop: temp is active (switch 1), 0 held")
    await _check(proxy, ("reload",), 0, "2 new workers serve")
    (proxy.directory / "var/token").write_text("wrong")
    await _check(proxy, ("status",), 3, "the token is missing or wrong")
    await _check(proxy, ("stop",), 0, "has stopped")
    await _check(proxy, ("status",), 3, "no proxy answers at unix:var/admin.sock")


async def _check(proxy: ProxyProcess, command: Sequence[str], code: int, words: str) -> None:
    found, said = await proxy.command(*command)
    assert (found, words in said) == (code, True), said


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
