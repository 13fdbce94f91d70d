"""A release whose classes cannot read the live release's sessions is refused before anything is touched."""

from __future__ import annotations

import json
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from deployed_site import Deployed
from fake_proxy import FakeProxy
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Deployed]:
    ports = free_ports(7)
    with FakeProxy(ports[6], {"production": ports[0], "temp": ports[3]}) as proxy:
        deployed = Deployed(tmp_path, proxy.url, ports[:6])
        deployed.configure()
        try:
            yield deployed
        finally:
            deployed.stop_all()


def session_class(uid: int) -> bytes:
    """shop.Cart, Serializable with this serialVersionUID, and a listener that only objects in sessions are."""
    names = ["shop/Cart", "java/lang/Object", "java/io/Serializable", "jakarta/servlet/http/HttpSessionBindingListener"]
    texts = [*names, "serialVersionUID", "J", "ConstantValue"]
    pool = b"".join(b"\x01" + struct.pack(">H", len(text)) + text.encode() for text in texts)
    pool += b"".join(b"\x07" + struct.pack(">H", number) for number in range(1, 5)) + b"\x05" + struct.pack(">q", uid)
    head = struct.pack(">IHHH", 0xCAFEBABE, 0, 55, 14)
    body = struct.pack(">HHHHHH", 0x21, 8, 9, 2, 10, 11)
    field = struct.pack(">HHHHHHIH", 1, 0x1A, 5, 6, 1, 7, 2, 12)
    return head + pool + body + field + struct.pack(">HH", 0, 0)


def war(site: Deployed, version: int, uid: int) -> str:
    path = site.war(version)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("WEB-INF/classes/shop/Cart.class", session_class(uid))
    return str(path)


def what_runs(site: Deployed) -> dict[str, tuple[int | None, str | None]]:
    return {name: (slot["pid"], slot["release_id"]) for name, slot in site.status()["slots"].items()}


def test_a_release_that_would_lose_sessions_is_refused_until_that_is_accepted(site: Deployed) -> None:
    first = site.run("release", war(site, 1, 1))
    assert first.returncode == 0, first.stdout + first.stderr
    assert site.run("check", war(site, 2, 1)).returncode == 0
    changed = war(site, 3, 7)
    checked = site.run("check", changed, "--json")
    assert checked.returncode == 3
    (finding,) = json.loads(checked.stdout)["findings"]
    assert finding["severity"] == "error"
    assert "shop.Cart: its serialVersionUID changes from 1 to 7" in finding["what"]
    before, running = site.contents(), what_runs(site)
    for command in (["release", changed], ["plan", changed], ["release", changed, "--dry-run"]):
        refused = site.run(*command)
        assert refused.returncode == 3
        assert "will be lost at the switch" in refused.stderr
        assert "--accept-session-loss" in refused.stderr
    assert site.contents() == before
    assert what_runs(site) == running
    done = site.run("release", changed, "--accept-session-loss")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: session class shop.Cart" in done.stdout
    assert site.run("rollback").returncode == 0


def test_check_works_without_a_proxy_and_before_the_first_release(site: Deployed) -> None:
    assert json.loads(site.run("check", war(site, 1, 1), "--json").stdout)["findings"] == []
    site.configure(proxy="http://127.0.0.1:9")
    done = site.run("check", war(site, 1, 1))
    assert done.returncode == 0
    assert "note: not held against the live release's sessions" in done.stdout


def test_a_live_release_that_is_not_in_the_store_is_a_note(site: Deployed) -> None:
    assert site.run("release", war(site, 1, 1)).returncode == 0
    for stored in site.directory.glob("var/releases/*.war"):
        stored.unlink()
    done = site.run("check", war(site, 2, 7))
    assert done.returncode == 0
    assert "is not in the store, so its session classes were not compared" in done.stdout
