"""The admin API over a real socket, with a supervisor that has no workers: answers, errors, access, events, metrics."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.config_file import loads
from proxy.control.admin import MAX_BODY, AdminApi
from proxy.control.callers import Callers
from proxy.control.events import EventBus
from proxy.control.keeper import StateKeeper
from proxy.control.state import State, StateStore, for_settings
from proxy.control.supervisor import Supervisor
from proxy.errors import AdminError
from proxy.wire import AppStatus, Status, SwitchReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import ClientResponse

CONFIG = """
apps:
  shop:
    health: null
    slots:
      production: {backends: ["127.0.0.1:1"]}
      temp: {backends: ["127.0.0.1:2"]}
"""
SHOP = "/v1/apps/shop"


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    settings = loads(CONFIG)
    store = StateStore(str(tmp_path))
    keeper = StateKeeper(store, for_settings(State(), settings, "state"))
    supervisor = Supervisor(
        "none.yaml", settings, keeper, EventBus(lambda: 7.0, lambda _: None), clock=lambda: 7.0, command=("false",)
    )
    supervisor.set_apps(settings)
    yield supervisor
    await supervisor.stop(0.0)


async def no_upgrade() -> None:
    raise AdminError(409, "a reload is under way")


def api(supervisor: Supervisor, token: str | None = None) -> AdminApi:
    return AdminApi(supervisor, token, by_address=True, callers=Callers(), upgrade=no_upgrade)


@pytest.fixture
async def client(supervisor: Supervisor) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(api(supervisor).make())) as client:
        yield client


async def problem(response: ClientResponse, status: int) -> str:
    assert response.status == status
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    detail: str = body["detail"]
    return detail


async def test_what_is(client: TestClient[Any, Any]) -> None:
    status = Status.model_validate_json(await (await client.get("/v1/status")).text())
    assert (status.listen, status.ready, status.workers) == (("http://0.0.0.0:8080",), False, ())
    app = AppStatus.model_validate_json(await (await client.get(SHOP)).text())
    assert app == status.app("shop")
    assert (app.active, app.epoch, app.slot("production").active, app.slot("temp").active) == (
        "production",
        0,
        True,
        False,
    )
    assert (await (await client.get(f"{SHOP}/inflight")).json()) == {"exchanges": [], "truncated": False}


async def test_alive_is_not_ready(client: TestClient[Any, Any]) -> None:
    assert (await client.get("/healthz")).status == 200
    assert "workers are starting" in await problem(await client.get("/readyz"), 503)


async def test_a_switch_and_its_report(client: TestClient[Any, Any], tmp_path: Path) -> None:
    response = await client.post(f"{SHOP}/switch", json={"to": "temp", "expect_active": "production", "hold": "1s"})
    raw = await response.json()
    assert (raw["from"], raw["to"], raw["epoch"], raw["drained"], raw["cut"]) == ("production", "temp", 1, True, [])
    assert SwitchReport.model_validate(raw).from_slot == "production"
    assert json.loads((tmp_path / "state.json").read_text())["apps"]["shop"]["active"] == "temp"
    again = await (await client.post(f"{SHOP}/switch", json={"to": "temp"})).json()
    assert (again["from"], again["to"], again["epoch"]) == ("temp", "temp", 1)


async def test_switches_that_are_refused(client: TestClient[Any, Any]) -> None:
    wrong = {"to": "temp", "expect_active": "temp"}
    assert "production is active" in await problem(await client.post(f"{SHOP}/switch", json=wrong), 409)
    assert "it has production, temp" in await problem(await client.post(f"{SHOP}/switch", json={"to": "x"}), 422)
    assert "there is shop" in await problem(await client.post("/v1/apps/x/switch", json={"to": "temp"}), 404)
    assert (await (await client.get(SHOP)).json())["epoch"] == 0


async def test_a_disk_that_refuses_changes_nothing(client: TestClient[Any, Any], tmp_path: Path) -> None:
    (tmp_path / "state.json.new").mkdir()
    response = await client.post(f"{SHOP}/switch", json={"to": "temp"})
    assert "can't be written" in await problem(response, 507)
    assert "can't be written" in await problem(await client.put(f"{SHOP}/slots/temp", json={"release": "r1"}), 507)
    app = AppStatus.model_validate_json(await (await client.get(SHOP)).text())
    assert (app.active, app.epoch, app.switching, app.slot("temp").release) == ("production", 0, False, None)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"[]", 422, "object"),
        (b"{}", 422, "to: Field required"),
        (b'{"to": "temp", "more": 1}', 422, "more: Extra inputs"),
        (b'{"to": "temp", "hold": "soon"}', 422, "hold: "),
        (b'{"to": "temp", "hold": 0}', 422, "hold: "),
        (b'{"to": "temp", "drain": -1}', 422, "drain: "),
        (b'{"to": 7}', 422, "to: "),
        (b'{"to": "' + b"x" * MAX_BODY + b'"}', 413, ""),
    ],
)
async def test_bodies_that_are_refused(client: TestClient[Any, Any], body: bytes, status: int, detail: str) -> None:
    response = await client.post(f"{SHOP}/switch", data=body, headers={"Content-Type": "application/json"})
    assert detail in await problem(response, status)


async def test_paths_methods_and_types_that_are_refused(client: TestClient[Any, Any]) -> None:
    assert "/openapi.json" in await problem(await client.get("/v2"), 404)
    response = await client.get(f"{SHOP}/switch")
    assert "allowed: POST" in await problem(response, 405)
    assert response.headers["Allow"] == "POST"
    assert "text/plain" in await problem(await client.post(f"{SHOP}/switch", data="x"), 415)


async def test_a_slot_is_changed_and_remembered(client: TestClient[Any, Any], tmp_path: Path) -> None:
    update = {"backends": ["127.0.0.1:3", "[::1]:4"], "release": "r2", "static_root": str(tmp_path)}
    app = AppStatus.model_validate_json(await (await client.put(f"{SHOP}/slots/temp", json=update)).text())
    slot = app.slot("temp")
    assert [backend.address for backend in slot.backends] == ["127.0.0.1:3", "[::1]:4"]
    assert (slot.release, slot.static_root) == ("r2", str(tmp_path))
    await client.put(f"{SHOP}/slots/temp", json={"release": "r3"})
    record = StateStore(str(tmp_path)).load().apps["shop"].slots["temp"]
    assert (record.backends, record.release) == (("127.0.0.1:3", "[::1]:4"), "r3")


@pytest.mark.parametrize(
    ("slot", "update", "status", "detail"),
    [
        ("x", {"release": "r"}, 404, "no slot x"),
        ("temp", {"backends": []}, 422, "at least one"),
        ("temp", {"backends": ["127.0.0.1:1"]}, 422, "is of slot production"),
        ("temp", {"backends": ["127.0.0.1:99999"]}, 422, "a port from 1"),
        ("temp", {"static_root": "/nowhere"}, 422, "no directory"),
        ("temp", {"colour": "red"}, 422, "colour"),
    ],
)
async def test_slot_changes_that_are_refused(
    client: TestClient[Any, Any], slot: str, update: dict[str, Any], status: int, detail: str
) -> None:
    before = await (await client.get(SHOP)).json()
    assert detail in await problem(await client.put(f"{SHOP}/slots/{slot}", json=update), status)
    assert await (await client.get(SHOP)).json() == before


async def test_a_release_is_shown(client: TestClient[Any, Any]) -> None:
    progress = {"release": "r2", "state": "running", "started": 5.0, "steps": [{"name": "start", "state": "running"}]}
    assert (await client.post(f"{SHOP}/releases/current", json=progress)).status == 200
    app = AppStatus.model_validate_json(await (await client.get(SHOP)).text())
    assert app.release is not None
    assert app.release.steps[0].name == "start"


async def test_pages_of_other_origins_are_refused(client: TestClient[Any, Any]) -> None:
    for headers in ({"Host": "evil.example"}, {"Host": "evil.example:9900"}, {"Origin": "http://evil.example"}):
        assert "token_file" in await problem(await client.get("/v1/status", headers=headers), 403)
    for host in ("localhost:9900", "127.0.0.1:9900", "[::1]:9900"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert (await client.get("/v1/status", headers=headers)).status == 200


@pytest.mark.parametrize("host", ["[bad", "bad]", "[::1", "[]", "127.0.0.1\u2100"])
async def test_a_host_that_can_not_be_read_is_refused(client: TestClient[Any, Any], host: str) -> None:
    for path in ("/v1/status", "/metrics", "/none"):
        assert "token_file" in await problem(await client.get(path, headers={"Host": host}), 403)


async def test_a_page_of_another_site_can_not_even_ask(client: TestClient[Any, Any]) -> None:
    """It may send a plain GET to the loopback address, without Origin, and the browser says where it comes from."""
    for site in ("cross-site", "same-site"):
        for path in ("/v1/status", "/v1/events", "/metrics"):
            assert "token_file" in await problem(await client.get(path, headers={"Sec-Fetch-Site": site}), 403)
    for site in ("none", "same-origin"):
        assert (await client.get("/v1/status", headers={"Sec-Fetch-Site": site})).status == 200


async def test_the_token_is_needed(supervisor: Supervisor) -> None:
    async with TestClient(TestServer(api(supervisor, "right").make())) as client:
        for value in (None, "right", "Bearer wrong", "Basic right", "Bearer rightx", "Bearer righ\u00e9"):
            headers = {"Authorization": value} if value else {}
            for path in ("/v1/status", "/metrics", "/openapi.json", "/none"):
                response = await client.get(path, headers=headers)
                await problem(response, 401)
                assert response.headers["WWW-Authenticate"] == "Bearer"
        good = {"Authorization": "Bearer right", "Host": "proxy.example"}
        assert (await client.get("/v1/status", headers=good)).status == 200
        assert (await client.get("/healthz")).status == 200


async def test_events_are_streamed_and_resumed(client: TestClient[Any, Any], supervisor: Supervisor) -> None:
    supervisor.bus.publish("worker", "one")
    supervisor.bus.publish("worker", "two")
    async with client.get("/v1/events", headers={"Last-Event-ID": "1"}) as response:
        assert response.content_type == "text/event-stream"
        assert await response.content.readuntil(b"\n\n") == b": events follow\n\n"
        block = (await response.content.readuntil(b"\n\n")).decode()
        assert block.startswith("id: 2\nevent: worker\ndata: ")
        await client.post(f"{SHOP}/switch", json={"to": "temp"})
        seen = [(await response.content.readuntil(b"\n\n")).decode() for _ in range(2)]
        assert [re.findall(r"event: (\w+)", text)[0] for text in seen] == ["switch", "drain"]
        data = json.loads(seen[0].split("data: ")[1])
        assert (data["app"], data["message"]) == ("shop", "production -> temp (switch 1)")


async def test_the_stream_ends_with_the_proxy(client: TestClient[Any, Any], supervisor: Supervisor) -> None:
    async with client.get("/v1/events") as response:
        await response.content.readuntil(b"\n\n")
        supervisor.bus.close()
        assert await response.content.read() == b""


async def test_metrics(client: TestClient[Any, Any]) -> None:
    await client.post(f"{SHOP}/switch", json={"to": "temp"})
    text = await (await client.get("/metrics")).text()
    assert 'switchyard_slot_active{app="shop",slot="temp"} 1.0' in text
    assert 'switchyard_switches_total{app="shop",outcome="switched"} 1.0' in text
    assert 'switchyard_switch_hold_seconds_count{app="shop"} 1.0' in text
    assert 'switchyard_backend_up{app="shop",backend="127.0.0.1:1",slot="production"} 1.0' in text


async def test_the_document_describes_every_call(client: TestClient[Any, Any], supervisor: Supervisor) -> None:
    document = await (await client.get("/openapi.json")).json()
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    routes = api(supervisor).routes()
    assert described == {(route.operation.method, route.operation.path) for route in routes}
    for reference in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]
    identities = [item["operationId"] for path in document["paths"].values() for item in path.values()]
    assert len(set(identities)) == len(identities)
    switch = document["paths"]["/v1/apps/{app}/switch"]["post"]
    own = {"404", "409", "503", "507"}
    assert set(switch["responses"]) == {"200", "401", "403"} | {"400", "413", "415", "422"} | own
    assert "from" in document["components"]["schemas"]["SwitchReport"]["properties"]
