"""Weights, round robin, pause and maintenance, with real processes: in all workers at once, and remembered."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from proxy_process import Load, until

if TYPE_CHECKING:
    from proxy_process import Backend, ProxyProcess

SHOP = "/v1/apps/shop"


@dataclass(frozen=True)
class Answer:
    status: int
    fields: dict[str, str]
    body: str

    @property
    def cookie(self) -> str:
        """What a browser sends back."""
        return self.fields.get("set-cookie", "").partition(";")[0]


async def ask(proxy: ProxyProcess, *, target: str = "/", cookie: str = "") -> Answer:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        sent = f"Cookie: {cookie}\r\n" if cookie else ""
        writer.write(f"GET {target} HTTP/1.1\r\nHost: shop\r\n{sent}Connection: close\r\n\r\n".encode())
        raw = (await reader.read()).decode()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    head, _, body = raw.partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    parsed = [field.split(": ", 1) for field in fields]
    return Answer(int(line.split()[1]), {name.lower(): value for name, value in parsed}, body)


async def weigh(proxy: ProxyProcess, **weights: Any) -> Any:
    status, shop = await proxy.call("PUT", f"{SHOP}/weights", weights)
    assert status == 200, shop
    return shop


async def restart(proxy: ProxyProcess, how: signal.Signals) -> None:
    assert proxy.process is not None
    os.kill(proxy.process.pid, how)
    await proxy.process.wait()
    await proxy.start()


# --- weights -----------------------------------------------------------------------------------------------------


async def test_new_visitors_are_spread_and_stay(proxy: ProxyProcess) -> None:
    shop = await weigh(proxy, production=70, temp=30)
    assert (shop["active"], shop["epoch"], shop["weights"], shop["sticky"]) == (
        "production",
        1,
        {"production": 70, "temp": 30},
        True,
    )
    answers = [await ask(proxy) for _ in range(60)]
    share = Counter(answer.body for answer in answers)["temp"]
    assert 14 <= share <= 22, "30 % of 60, as exactly as two workers that count for themselves can"
    for answer in answers[:10]:
        assert answer.fields["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
        assert answer.cookie.startswith(f"slot-shop={answer.body}.")
        for _ in range(4):
            again = await ask(proxy, cookie=f"theme=dark; {answer.cookie}; JSESSIONID=1")
            assert (again.body, again.cookie) == (answer.body, ""), "who has the cookie gets no other"


async def test_a_session_without_the_cookie_has_one_slot_in_every_worker(proxy: ProxyProcess) -> None:
    await weigh(proxy, production=50, temp=50)
    slots = {}
    for number in range(20):
        answers = {(await ask(proxy, cookie=f"JSESSIONID=s{number}")).body for _ in range(6)}
        assert len(answers) == 1
        slots[number] = answers.pop()
    assert set(slots.values()) == {"production", "temp"}


async def test_a_slot_that_is_off_is_left_at_once_and_nothing_forged_opens_it(proxy: ProxyProcess) -> None:
    await weigh(proxy, production=50, temp=50)
    visitor = next(answer for answer in [await ask(proxy) for _ in range(8)] if answer.body == "temp")
    shop = await weigh(proxy, production=100, temp=0)
    assert (shop["weights"], shop["active"]) == (None, "production")
    assert (await ask(proxy, cookie=visitor.cookie)).body == "production"
    await weigh(proxy, production=99, temp=1)
    assert (await ask(proxy, cookie=visitor.cookie)).body == "temp", "the cookie holds over changes of weights"
    genuine = visitor.cookie.partition("=")[2]
    for forged in ("temp", "temp.", "temp." + "0" * 32, genuine[:-1], genuine.replace("temp", "Temp"), f"{genuine}0"):
        answers = {(await ask(proxy, cookie=f"slot-shop={forged}; JSESSIONID=s1")).body for _ in range(3)}
        assert answers == {(await ask(proxy, cookie="JSESSIONID=s1")).body}, forged
    secret = proxy.directory / "var/proxy/cookie.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


async def test_an_unhealthy_slot_is_left_at_once(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    await weigh(proxy, production=50, temp=50)
    visitor = next(answer for answer in [await ask(proxy) for _ in range(8)] if answer.body == "temp")
    await backends["temp"].stop()
    for _ in range(12):
        answer = await ask(proxy, cookie=visitor.cookie)
        assert (answer.status, answer.body) == (200, "production"), "even before a probe has noticed"
        assert answer.cookie.startswith("slot-shop=production.")
    assert {(await ask(proxy)).body for _ in range(10)} == {"production"}


async def test_round_robin(proxy: ProxyProcess) -> None:
    shop = await weigh(proxy, production=1, temp=1, sticky=False)
    assert (shop["weights"], shop["sticky"]) == ({"production": 1, "temp": 1}, False)
    answers = [await ask(proxy, cookie="JSESSIONID=one") for _ in range(40)]
    assert 18 <= Counter(answer.body for answer in answers)["temp"] <= 22
    assert not any(answer.cookie for answer in answers)


async def test_changes_under_load_lose_nothing(proxy: ProxyProcess) -> None:
    async with Load(proxy.port) as load:
        for weights in ({"production": 90, "temp": 10}, {"temp": 1}, {"production": 1, "temp": 1, "sticky": False}):
            await load.more(30)
            await weigh(proxy, **weights)
        await load.more(30)
        assert (await proxy.shop()).active == "temp"
        status, report = await proxy.switch("production")
        assert (status, report["from"], report["to"], report["drained"]) == (200, "temp", "production", True)
        seen = len(load.answers)
        await load.more(30)
        assert set(load.answers[seen + 4 :]) == {"production"}
    assert load.failures == []
    assert (await proxy.shop()).weights is None


async def test_a_switch_to_the_active_slot_ends_the_weights(proxy: ProxyProcess) -> None:
    await weigh(proxy, production=50, temp=50)
    status, report = await proxy.switch("production")
    assert (status, report["from"], report["to"], report["epoch"]) == (200, "production", "production", 2)
    assert {(await ask(proxy)).body for _ in range(10)} == {"production"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_weights_are_remembered(proxy: ProxyProcess, how: signal.Signals) -> None:
    await weigh(proxy, production=50, temp=50)
    visitors = [await ask(proxy) for _ in range(6)]
    await restart(proxy, how)
    assert (await proxy.shop()).weights == {"production": 50, "temp": 50}
    for visitor in visitors:
        assert (await ask(proxy, cookie=visitor.cookie)).body == visitor.body


async def test_weights_that_are_refused(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    for weights, code, detail in (
        ({"production": 1, "third": 1}, 422, "no slot third"),
        ({"production": 0, "temp": 0}, 422, "at least 1"),
        ({}, 422, "at least 1"),
        ({"production": -1}, 422, "production"),
        ({"production": 1.5}, 422, "production"),
    ):
        status, problem = await proxy.call("PUT", f"{SHOP}/weights", weights)
        assert (status, detail in problem["detail"]) == (code, True), problem
    backends["temp"].healthy = False
    await proxy.until_shop(lambda shop: shop.slot("temp").backends[0].health == "down")
    status, problem = await proxy.call("PUT", f"{SHOP}/weights", {"production": 9, "temp": 1})
    assert (status, "temp has no healthy backend" in problem["detail"]) == (422, True)
    backends["temp"].healthy = True
    await proxy.switch("temp", confirm_within="1h")
    status, problem = await proxy.call("PUT", f"{SHOP}/weights", {"production": 9, "temp": 1})
    assert (status, "temp is on trial" in problem["detail"]) == (409, True)


async def test_a_reload_must_keep_a_slot_with_a_weight(proxy: ProxyProcess) -> None:
    await weigh(proxy, production=50, temp=50)
    proxy.configure(app={"slots": {"production": {"backends": [f"127.0.0.1:{proxy.backends['production'].port}"]}}})
    status, problem = await proxy.call("POST", "/v1/reload")
    assert (status, "slot temp of app shop has a weight" in problem["detail"]) == (507, True), problem
    proxy.configure()
    assert (await proxy.call("POST", "/v1/reload"))[0] == 200
    assert {(await ask(proxy)).body for _ in range(8)} == {"production", "temp"}


# --- pause -------------------------------------------------------------------------------------------------------


async def test_requests_wait_until_it_is_resumed(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    status, shop = await proxy.call("POST", f"{SHOP}/pause", {"for": "60s"})
    assert status == 200
    assert time.time() + 55 < shop["paused_until"] < time.time() + 61
    waiting = [asyncio.create_task(proxy.get()) for _ in range(6)]
    await proxy.until_shop(lambda shop: shop.held == 6)
    assert (await proxy.switch("temp"))[0] == 200, "a switch works during a pause"
    assert (await proxy.shop()).held == 6
    assert backends["production"].requests == backends["temp"].requests == []
    status, shop = await proxy.call("POST", f"{SHOP}/resume")
    assert (status, shop["paused_until"]) == (200, None)
    assert await asyncio.gather(*waiting) == ["temp"] * 6
    assert (await proxy.call("POST", f"{SHOP}/resume"))[0] == 200, "without a pause there is nothing to do"


async def test_a_pause_ends_by_itself(proxy: ProxyProcess) -> None:
    begun = time.monotonic()
    await proxy.call("POST", f"{SHOP}/pause", {"for": "700ms"})
    assert await proxy.get() == "production"
    assert time.monotonic() - begun >= 0.65
    await proxy.until_shop(lambda shop: shop.paused_until is None)
    assert "the pause is over, as nobody resumed it in time" in proxy.log()


async def test_a_pause_without_a_time_is_as_long_as_a_request_may_wait(proxy: ProxyProcess) -> None:
    status, shop = await proxy.call("POST", f"{SHOP}/pause")
    assert status == 200
    assert time.time() + 8 < shop["paused_until"] < time.time() + 10.5
    for body in ({"for": "1h"}, {"for": 0}, {"until": 5}):
        assert (await proxy.call("POST", f"{SHOP}/pause", body))[0] == 422


async def test_a_pause_outlasts_the_supervisor_and_a_worker(proxy: ProxyProcess) -> None:
    await proxy.call("POST", f"{SHOP}/pause", {"for": "60s"})
    await restart(proxy, signal.SIGKILL)
    assert (await proxy.shop()).paused_until is not None
    assert proxy.process is not None
    pids = proxy.worker_pids(proxy.process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: proxy.process is not None and not set(pids) & set(proxy.worker_pids(proxy.process.pid)))
    await proxy.until_ready(2)
    waiting = asyncio.create_task(proxy.get())
    await proxy.until_shop(lambda shop: shop.held == 1)
    await proxy.call("POST", f"{SHOP}/resume")
    assert await waiting == "production"


# --- maintenance -------------------------------------------------------------------------------------------------


async def test_maintenance(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    body = {"on": True, "text": "Back at <noon>.", "retry_after": "90s"}
    status, shop = await proxy.call("PUT", f"{SHOP}/maintenance", body)
    assert status == 200
    assert (shop["maintenance"]["text"], shop["maintenance"]["retry_after"]) == ("Back at <noon>.", 90)
    for _ in range(6):
        answer = await ask(proxy)
        assert (answer.status, answer.fields["retry-after"]) == (503, "90")
        assert "Back at &lt;noon&gt;." in answer.body
    assert (await proxy.call("GET", "/readyz"))[0] == 200
    assert backends["production"].requests == []
    assert (await proxy.shop()).slot("production").errors_5xx == 0, "it is not the slot's fault"
    await restart(proxy, signal.SIGTERM)
    assert (await ask(proxy)).status == 503
    status, shop = await proxy.call("PUT", f"{SHOP}/maintenance", {"on": False})
    assert (status, shop["maintenance"]) == (200, None)
    assert {(await ask(proxy)).status for _ in range(6)} == {200}


async def test_maintenance_with_a_page_of_ones_own(proxy: ProxyProcess) -> None:
    page = "<!doctype html><title>é</title>"
    assert (await proxy.call("PUT", f"{SHOP}/maintenance", {"on": True, "page": page}))[0] == 200
    answer = await ask(proxy)
    assert (answer.status, answer.fields["content-type"], answer.body) == (503, "text/html; charset=utf-8", page)
    too_long = {"on": True, "page": "x" * 70_000}
    assert (await proxy.call("PUT", f"{SHOP}/maintenance", too_long))[0] == 422
    assert (await ask(proxy)).body == page


async def test_maintenance_answers_those_who_wait(proxy: ProxyProcess) -> None:
    await proxy.call("POST", f"{SHOP}/pause", {"for": "60s"})
    waiting = asyncio.create_task(ask(proxy))
    await proxy.until_shop(lambda shop: shop.held == 1)
    await proxy.call("PUT", f"{SHOP}/maintenance", {"on": True})
    assert (await waiting).status == 503


# --- commands ----------------------------------------------------------------------------------------------------


async def test_the_commands(proxy: ProxyProcess) -> None:
    page = proxy.directory / "page.html"
    page.write_text("<p>soon")
    for arguments, code, expected in (
        (("weights", "production=90", "temp=10"), 0, "weights: production 90, temp 10, visitors keep their slot"),
        (("weights", "production"), 2, "allowed: SLOT=WEIGHT"),
        (("weights", "third=1"), 3, "no slot third"),
        (("round-robin",), 0, "weights: production 1, temp 1, by turns"),
        (("weights", "production=1"), 0, "requests go to production"),
        (("pause", "--for", "5m"), 0, "PAUSED until"),
        (("pause", "--for", "soon"), 2, "for:"),
        (("resume",), 0, "requests go to production"),
        (("maintenance", "on", "--page", str(page)), 0, "MAINTENANCE since"),
        (("status",), 0, "MAINTENANCE since"),
        (("maintenance", "off"), 0, "requests go to production"),
        (("maintenance", "maybe"), 2, "maybe"),
    ):
        exit_code, said = await proxy.command(*arguments)
        assert (exit_code, expected in said) == (code, True), (arguments, said)
