"""Slots that are changed through the admin API, with real workers: all of a change is made, or nothing of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from proxy_process import ProxyProcess

from proxy.net.static import MAX_FILES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from proxy_process import Backend

TEMP = "/v1/apps/shop/slots/temp"
ACTIVE = "/v1/apps/shop/slots/production"


@pytest.fixture
async def proxy(tmp_path: Path, backends: dict[str, Backend]) -> AsyncIterator[ProxyProcess]:
    proxy = ProxyProcess(tmp_path, backends)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    proxy.configure(app={"static": {"prefix": "/static/", "root": "old"}})
    try:
        yield await proxy.start()
    finally:
        await proxy.stop()


def _too_many(directory: Path) -> Path:
    """A root that can't be indexed: few files, by many names."""
    (directory / "many/files").mkdir(parents=True)
    for number in range(1000):
        (directory / f"many/files/{number}").touch()
    for number in range(MAX_FILES // 1000):
        (directory / f"many/{number}").symlink_to("files")
    return directory / "many"


async def test_new_files_are_served_when_the_call_returns(proxy: ProxyProcess) -> None:
    assert await proxy.get("/static/a.txt") == "old"
    status, shop = await proxy.call("PUT", ACTIVE, {"static_root": "new"})
    assert (status, shop["slots"][0]["static_root"]) == (200, "new")
    assert {await proxy.get("/static/a.txt") for _ in range(8)} == {"new"}


async def test_files_that_a_worker_can_not_read_change_nothing(
    proxy: ProxyProcess, backends: dict[str, Backend]
) -> None:
    many = _too_many(proxy.directory)
    other = f"127.0.0.1:{backends['production'].port + 1}"
    status, problem = await proxy.call("PUT", ACTIVE, {"static_root": str(many), "backends": [other], "release": "r2"})
    assert status == 422
    assert f"more than {MAX_FILES} files" in problem["detail"]
    assert "slot production is as before" in problem["detail"]
    slot = (await proxy.shop()).slot("production")
    assert (slot.static_root, slot.release) == (None, None)
    assert [backend.address for backend in slot.backends] == [f"127.0.0.1:{backends['production'].port}"]
    assert {await proxy.get("/static/a.txt") for _ in range(8)} == {"old"}
    assert {await proxy.get() for _ in range(8)} == {"production"}
    assert "goes on with slot production as it was" in proxy.log()
    state = json.loads((proxy.directory / "var/proxy/state.json").read_text())
    assert state["apps"]["shop"]["slots"]["production"]["static_root"] is None
    assert (await proxy.call("PUT", TEMP, {"static_root": "new"}))[0] == 200, "the next change finds nothing left over"
