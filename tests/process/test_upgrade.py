"""`proxy upgrade`, with real processes and code that really changes: nothing is lost, and bad code changes nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError
from proxy_process import ROOT, Load, ProxyProcess, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy_process import Backend

UPGRADE = "/v1/upgrade"


def copied(directory: Path, backends: dict[str, Backend]) -> ProxyProcess:
    """It runs a copy of the code, which a test may change: `python -m` looks into the current directory first."""
    shutil.copytree(ROOT / "proxy", directory / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    proxy = ProxyProcess(directory, backends)
    proxy.configure()
    return proxy


@pytest.fixture
async def proxy(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[ProxyProcess]:
    proxy = copied(tmp_path, backends)
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()


def change(proxy: ProxyProcess, module: str, old: str, new: str) -> None:
    """New code: a line of the copy is another one from now on."""
    file = proxy.directory / "proxy" / module
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def renew(proxy: ProxyProcess) -> None:
    """New code that can be told from the old one."""
    change(proxy, "control/status.py", 'return version("switchyard")', 'return "99.0"')


async def test_an_upgrade_under_load_loses_nothing(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    before = await proxy.status()
    await proxy.switch("temp")
    async with Load(proxy.port) as load:
        await load.more(50)
        for _ in range(2):
            renewed = asyncio.create_task(proxy.call("POST", UPGRADE))
            await load.more(50)
            status, done = await renewed
            assert status == 200, done
            await load.more(50)
            if "99.0" not in done["message"]:
                renew(proxy)
    after = await proxy.until_ready(2)
    assert load.failures == []
    assert set(load.answers) == {"temp"}
    asked = backends["temp"].requests
    assert len(asked) == len(set(asked)), "a request was sent twice"
    assert (after.pid, after.started) == (before.pid, before.started)
    assert not {worker.pid for worker in after.workers} & {worker.pid for worker in before.workers}
    assert after.version == "99.0", "the supervisor runs the new code"
    shop = after.app("shop")
    assert (shop.active, shop.epoch) == ("temp", 1)
    assert shop.slot("temp").requests >= len(load.answers), "the counters go on"
    assert proxy.log().count("is up") == 2, "and so does what is known of the backends"


async def test_workers_run_the_new_code_too(proxy: ProxyProcess) -> None:
    assert (await proxy.call("POST", "/v1/reload"))[0] == 200
    change(proxy, "net/worker.py", "self._tell(orders.Ready(pid=os.getpid()))", "self._tell(orders.Ready(pid=1))")
    change(proxy, "control/worker_process.py", "case orders.Ready():", "case orders.Ready(pid=1):")
    status, done = await proxy.call("POST", UPGRADE)
    assert status == 200, done
    await proxy.until_ready(2)


@pytest.mark.parametrize(
    ("module", "old", "new", "said"),
    [
        ("net/worker.py", "import gc", "import gcc", "No module named 'gcc'"),
        ("control/supervisor.py", "class Supervisor:", "class Supervisor(:", "SyntaxError"),
        ("control/state.py", "version: Literal[1] = 1", "version: Literal[2] = 2", "state.json is damaged"),
        ("control/handover.py", "form: Literal[1]", "form: Literal[2]", "this version can't take over"),
        ("settings.py", "workers: Annotated", "hands: Annotated", "unknown key"),
        ("cli.py", "def upgrade_check(", "def other_check(", "No such command"),
    ],
)
async def test_code_that_can_not_take_over_changes_nothing(
    proxy: ProxyProcess, module: str, old: str, new: str, said: str
) -> None:
    before = await proxy.status()
    change(proxy, module, old, new)
    status, problem = await proxy.call("POST", UPGRADE)
    assert (status, said in problem["detail"]) == (422, True), problem
    after = await proxy.until_ready(2)
    assert [worker.pid for worker in after.workers] == [worker.pid for worker in before.workers]
    change(proxy, module, new, old)
    assert (await proxy.call("POST", UPGRADE))[0] == 200


async def test_workers_that_do_not_come_up_leave_the_old_ones(proxy: ProxyProcess) -> None:
    before = await proxy.status()
    change(proxy, "net/worker_command.py", "parsed = parser.parse_args(arguments)", 'raise SystemExit("no")')
    status, problem = await proxy.call("POST", UPGRADE)
    assert status == 503
    assert "the workers of the version before serve on" in problem["detail"]
    after = await proxy.until_ready(2)
    assert {worker.pid for worker in after.workers} == {worker.pid for worker in before.workers}
    assert await proxy.get() == "production"
    assert (await proxy.switch("temp"))[1]["workers"] == 2, "the new supervisor is obeyed"
    change(proxy, "net/worker_command.py", 'raise SystemExit("no")', "parsed = parser.parse_args(arguments)")
    assert (await proxy.call("POST", "/v1/reload"))[0] == 200
    assert await proxy.get() == "temp"


async def test_a_drain_goes_on_and_its_caller_gets_the_report(
    proxy: ProxyProcess, backends: dict[str, Backend]
) -> None:
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    switch = asyncio.create_task(proxy.switch("temp", confirm_within="1h"))
    await proxy.until_shop(lambda shop: shop.draining == "production")
    status, done = await proxy.call("POST", UPGRADE)
    assert status == 200, done
    shop = await proxy.shop()
    assert (shop.active, shop.draining) == ("temp", "production")
    assert not switch.done()
    backends["production"].release.set()
    assert await slow == "production"
    status, report = await switch
    assert (status, report["drained"], report["in_flight"], report["workers"]) == (200, True, 1, 2)
    assert (report["from"], report["to"], report["trial"]) == ("production", "temp", True)
    await proxy.until_shop(lambda shop: shop.draining is None)
    assert "production is drained" in proxy.log()


async def test_the_deadline_of_a_drain_stays(proxy: ProxyProcess, backends: dict[str, Backend]) -> None:
    slow = asyncio.create_task(proxy.get("/slow"))
    await until(lambda: bool(backends["production"].requests))
    switch = asyncio.create_task(proxy.switch("temp", drain="8s"))
    await proxy.until_shop(lambda shop: shop.draining == "production")
    assert (await proxy.call("POST", UPGRADE))[0] == 200
    status, report = await switch
    assert (status, report["drained"]) == (200, False)
    assert [(one["method"], one["path"]) for one in report["cut"]] == [("GET", "/slow")]
    assert report["drain_ms"] >= 8000
    with pytest.raises((AssertionError, OSError)):
        await slow


async def test_a_trial_goes_on(proxy: ProxyProcess) -> None:
    _, report = await proxy.switch("temp", confirm_within="20s")
    assert (await proxy.call("POST", UPGRADE))[0] == 200
    shop = await proxy.shop()
    assert shop.trial is not None
    assert (shop.active, shop.trial.confirm_by) == ("temp", report["confirm_by"])
    assert (await proxy.call("POST", "/v1/apps/shop/revert"))[1]["to"] == "production"


async def test_one_change_at_a_time(proxy: ProxyProcess) -> None:
    first = asyncio.create_task(proxy.call("POST", UPGRADE))
    await until(lambda: "trying the new code" in proxy.log())
    for path in (UPGRADE, "/v1/reload"):
        status, problem = await proxy.call("POST", path)
        assert (status, problem["detail"]) == (409, "an upgrade is under way")
    assert (await first)[0] == 200


async def test_a_signal_to_stop_is_not_lost_in_an_upgrade(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    upgrade = asyncio.create_task(_call_until_it_ends(proxy))
    await until(lambda: "going on with the new code" in proxy.log())
    proxy.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await proxy.process.wait() == 0
    await upgrade
    assert "stopping" in proxy.log()


async def _call_until_it_ends(proxy: ProxyProcess) -> Any:
    try:
        return await proxy.call("POST", UPGRADE)
    except ClientError as error:
        return error


async def test_a_successor_that_dies_leaves_the_workers(proxy: ProxyProcess) -> None:
    """What the check can't foresee: the program is replaced, and the new one fails."""
    assert proxy.process is not None
    change(proxy, "control/successor.py", "async def run(self) -> None:", "async def run(self) -> None:\n        1 / 0")
    async with Load(proxy.port) as load:
        await load.more(20)
        code, said = await proxy.command("upgrade")
        assert (code, "its workers serve on" in said) == (4, True), said
        async with asyncio.timeout(60):
            assert await proxy.process.wait() == 1
        await load.more(50)
        change(proxy, "control/successor.py", "        1 / 0", "        pass")
        await proxy.start()
        await load.more(50)
    assert load.failures == []


async def test_a_program_that_can_not_be_executed_changes_nothing(tmp_path: Path, backends: dict[str, Backend]) -> None:
    proxy = copied(tmp_path, backends)
    change(proxy, "control/upgrade.py", "] = os.execve,", "] = lambda *_: os.execv('nothing', ['nothing']),")
    try:
        before = await (await proxy.start()).status()
        async with Load(proxy.port) as load:
            for _ in range(2):
                code, said = await proxy.command("upgrade")
                assert (code, "the new code can't be executed" in said) == (3, True), said
                assert "No such file or directory; nothing has changed" in said
            await load.more(20)
        assert load.failures == []
        after = await proxy.status()
        assert [worker.pid for worker in after.workers] == [worker.pid for worker in before.workers]
        assert (await proxy.call("POST", "/v1/reload"))[0] == 200
        assert (await proxy.command("stop"))[0] == 0, "signals are heard again"
    finally:
        await proxy.stop()


async def test_a_worker_that_dies_meanwhile_is_replaced(proxy: ProxyProcess) -> None:
    assert proxy.process is not None
    victim = proxy.worker_pids(proxy.process.pid)[0]
    upgrade = asyncio.create_task(proxy.call("POST", UPGRADE))
    await until(lambda: "going on with the new code" in proxy.log())
    os.kill(victim, signal.SIGKILL)
    status, done = await upgrade
    assert status == 200, done
    await proxy.until_ready(2)
    assert await asyncio.gather(*(proxy.get() for _ in range(20))) == ["production"] * 20


async def test_events_go_on_where_they_were(proxy: ProxyProcess) -> None:
    url = f"http://127.0.0.1:{proxy.admin_port}/v1/events"
    async with proxy.session.get(url, headers={"Last-Event-ID": "0"}) as events:
        last = 0
        while last < 3:
            line = await events.content.readline()
            last = int(line.removeprefix(b"id: ")) if line.startswith(b"id: ") else last
    assert (await proxy.call("POST", UPGRADE))[0] == 200
    async with proxy.session.get(url, headers={"Last-Event-ID": str(last)}) as events:
        numbers = []
        said = b""
        while b"upgraded to version" not in said:
            said = await events.content.readline()
            numbers += [int(said.removeprefix(b"id: "))] if said.startswith(b"id: ") else []
    assert numbers == list(range(last + 1, last + 1 + len(numbers)))


async def test_the_command(proxy: ProxyProcess) -> None:
    code, said = await proxy.command("upgrade")
    assert (code, "upgraded to version" in said) == (0, True), said
    assert "2 new workers serve" in said
    change(proxy, "net/worker.py", "import gc", "import gcc")
    code, said = await proxy.command("upgrade")
    assert (code, "the new code can't take over" in said) == (3, True), said
