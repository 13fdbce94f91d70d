"""Switches on trial, with real processes: confirmed, called back, and never forgotten whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import TYPE_CHECKING

from proxy_process import Load, until

if TYPE_CHECKING:
    from proxy_process import Backend, ProxyProcess

CONFIRM = "/v1/apps/shop/confirm"
REVERT = "/v1/apps/shop/revert"


async def test_nobody_confirms(proxy: ProxyProcess) -> None:
    async with Load(proxy.port) as load:
        begun = time.time()
        status, report = await proxy.switch("temp", confirm_within="1500ms")
        assert (status, report["trial"]) == (200, True)
        assert begun < report["confirm_by"] < time.time() + 1.5
        shop = await proxy.shop()
        assert shop.trial is not None
        assert (shop.active, shop.trial.from_slot, shop.trial.confirm_by) == (
            "temp",
            "production",
            report["confirm_by"],
        )
        await proxy.until_shop(lambda shop: shop.active == "production")
        assert begun + 1.5 <= time.time() < begun + 6
        await proxy.until_shop(lambda shop: shop.draining is None)
        await load.more(20)
    assert load.failures == []
    shop = await proxy.shop()
    assert shop.trial is None
    assert shop.last_trial is not None
    assert (shop.last_trial.outcome, shop.last_trial.reason, shop.last_trial.epoch) == (
        "reverted",
        "nobody confirmed it within 1.5 s",
        1,
    )
    assert shop.epoch == 2, "the way back is a switch like any other"
    assert "trial of temp is over, reverted: nobody confirmed it" in proxy.log()


async def test_a_confirmed_switch_stays(proxy: ProxyProcess) -> None:
    await proxy.switch("temp", confirm_within="1s", guard={"max_error_ratio": 0.1})
    status, shop = await proxy.call("POST", CONFIRM)
    assert (status, shop["trial"], shop["last_trial"]["outcome"]) == (200, None, "confirmed")
    await asyncio.sleep(1.5)
    assert (await proxy.shop()).active == "temp"
    status, problem = await proxy.call("POST", CONFIRM)
    assert (status, problem["detail"]) == (409, "no switch is on trial")
    assert (await proxy.call("POST", REVERT))[0] == 409


async def test_called_back_by_a_call(proxy: ProxyProcess) -> None:
    await proxy.switch("temp", confirm_within="1h")
    status, report = await proxy.call("POST", REVERT)
    assert (status, report["from"], report["to"], report["drained"], report["trial"]) == (
        200,
        "temp",
        "production",
        True,
        False,
    )
    last = (await proxy.shop()).last_trial
    assert last is not None
    assert last.outcome == "reverted"
    assert await proxy.get() == "production"


async def test_errors_call_it_back(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    backends["temp"].fails = True
    guard = {"max_error_ratio": 0.2, "min_requests": 10, "window": "5s"}
    async with Load(proxy.port):
        await proxy.switch("temp", guard=guard, confirm_within="1h")
        await proxy.until_shop(lambda shop: shop.active == "production" and shop.trial is None)
    last = (await proxy.shop()).last_trial
    assert last is not None
    assert last.outcome == "reverted"
    assert "were 5xx (100.0%); the guard allows 20.0%" in last.reason
    assert last.figures is not None
    assert last.figures.requests == last.figures.errors_5xx >= 10


async def test_a_guard_alone_confirms_by_itself(proxy: ProxyProcess) -> None:
    await proxy.switch("temp", guard={"max_error_ratio": 0.2, "window": "1s"})
    await proxy.until_shop(lambda shop: shop.trial is None)
    shop = await proxy.shop()
    assert shop.active == "temp"
    assert shop.last_trial is not None
    assert (shop.last_trial.outcome, shop.last_trial.reason) == ("confirmed", "its guard's bounds held for 1 s")


async def test_a_later_switch_replaces_the_trial(proxy: ProxyProcess) -> None:
    await proxy.switch("temp", confirm_within="1s")
    _, again = await proxy.switch("temp", confirm_within="1h")
    assert (again["from"], again["trial"]) == ("temp", True), "asked twice, it is still on trial"
    await proxy.switch("production")
    await asyncio.sleep(1.2)
    shop = await proxy.shop()
    assert (shop.active, shop.epoch, shop.trial) == ("production", 2, None)
    assert shop.last_trial is not None
    assert shop.last_trial.outcome == "replaced"


async def test_it_survives_whoever_asked_for_it(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    caller = asyncio.create_task(proxy.switch("temp", confirm_within="500ms", drain="20s"))
    await proxy.until_shop(lambda shop: shop.trial is not None)
    caller.cancel()
    await proxy.until_shop(lambda shop: shop.active == "production")
    backends["production"].release.set()
    assert await slow == "production", "the drain that the way back has ended cuts nothing"


async def test_it_survives_the_supervisor(proxy: ProxyProcess) -> None:
    _, report = await proxy.switch("temp", confirm_within="4s")
    assert proxy.process is not None
    os.kill(proxy.process.pid, signal.SIGKILL)
    await proxy.process.wait()
    await proxy.start()
    shop = await proxy.shop()
    assert shop.trial is not None
    assert (shop.active, shop.trial.confirm_by) == ("temp", report["confirm_by"])
    await proxy.until_shop(lambda shop: shop.active == "production")
    assert time.time() >= report["confirm_by"]
    assert await proxy.get() == "production"


async def test_a_deadline_that_passes_while_nothing_runs(proxy: ProxyProcess) -> None:
    await proxy.switch("temp", confirm_within="200ms")
    assert proxy.process is not None
    proxy.process.terminate()
    await proxy.process.wait()
    await asyncio.sleep(0.3)
    await proxy.start()
    await proxy.until_shop(lambda shop: shop.active == "production")
    assert await proxy.get() == "production"


async def test_it_does_not_go_back_to_a_slot_that_is_down(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    await proxy.switch("temp", confirm_within="2s")
    backends["production"].healthy = False
    await proxy.until_shop(lambda shop: shop.trial is not None and shop.trial.problem is not None)
    shop = await proxy.shop()
    assert shop.trial is not None
    assert shop.active == "temp"
    assert "production has no healthy backend" in (shop.trial.problem or "")
    assert await proxy.get() == "temp"
    backends["production"].healthy = True
    await proxy.until_shop(lambda shop: shop.active == "production")
    assert proxy.log().count("it is tried again") == 1


async def test_a_reload_goes_on_with_it(proxy: ProxyProcess) -> None:
    await proxy.switch("temp", confirm_within="3s")
    assert (await proxy.call("POST", "/v1/reload"))[0] == 200
    proxy.configure(app={"slots": {"temp": {"backends": ["127.0.0.1:1"]}}, "active": "temp"})
    status, problem = await proxy.call("POST", "/v1/reload")
    assert (status, "goes back to slot production" in problem["detail"]) == (507, True)
    await proxy.until_shop(lambda shop: shop.active == "production")


async def test_the_commands(proxy: ProxyProcess) -> None:
    code, said = await proxy.command("switch", "temp", "--confirm-within", "1h", "--max-p99", "2s")
    assert (code, "on trial: confirm by" in said) == (0, True), said
    code, said = await proxy.command("status")
    assert "on trial: temp, back to production until" in said
    code, said = await proxy.command("confirm")
    assert (code, "shop: temp is confirmed" in said) == (0, True), said
    code, said = await proxy.command("revert")
    assert (code, "no switch is on trial" in said) == (3, True), said
    code, said = await proxy.command("switch", "production", "--min-requests", "0", "--max-p99", "1s")
    assert (code, "guard.min_requests" in said) == (2, True), said
    await proxy.command("switch", "production", "--confirm-within", "1h")
    code, said = await proxy.command("revert")
    assert (code, "production -> temp" in said) == (0, True), said
