"""What a connection keeps of a request that has been answered."""

from __future__ import annotations

from dataclasses import astuple, is_dataclass
from typing import TYPE_CHECKING, Any

import pytest
from playbook import CLOSED, GET, delivered, head

from proxy.http1.head import MAX_REQUEST_LINE, RequestHead
from proxy.net.downstream import MAX_REMEMBERED
from proxy.net.server import MANY, REMEMBER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

pytestmark = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
LONG = "x" * 20_000
LEAST = 200
"""Bytes that are no memory of a request: the client's address, the last request's id."""


def kept(what: Any) -> int:
    """Bytes in all strings of bytes that can be reached from it, each counted once."""
    seen: dict[int, bytes] = {}

    def walk(value: Any) -> None:
        if isinstance(value, bytes):
            seen[id(value)] = value
        elif isinstance(value, tuple):
            for item in value:
                walk(item)
        elif is_dataclass(value) and not isinstance(value, type):
            walk(astuple(value))
        elif isinstance(value, RequestHead):
            for name in value.__slots__:
                walk(getattr(value, name))

    for name in type(what).__slots__:
        walk(getattr(what, name))
    return sum(map(len, seen.values()))


@pytest.mark.parametrize(
    "line",
    [
        f"X-Large: {LONG}",
        f"X-Forwarded-For: {LONG}",
        f"Keep-Alive: {LONG}",
        f"TE: {LONG}",
        f"Cookie: a={LONG}",
        f"User-Agent: {LONG}",
        f"Connection: close-not, {LONG}",
        f"Cookie: a={'x' * 3500}",
        f"X-Forwarded-For: {'x' * 3500}",
    ],
    ids=lambda line: f"{line[:12]} {len(line)}",
)
def test_an_idle_connection_keeps_little_and_not_for_long(site: Site, client: Peer, line: str) -> None:
    client >> head(f"GET /{'t' * 8000} HTTP/1.1", "Host: shop.test", line)
    site.backend >> OK
    assert client.received().endswith(b"ok")
    assert kept(client.wire.protocol) <= 5 * MAX_REMEMBERED + MAX_REQUEST_LINE
    site.wait(REMEMBER_SECONDS + 1)
    assert kept(client.wire.protocol) <= LEAST
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


def test_many_forget_sooner(build: Callable[..., Site]) -> None:
    site = build(limits={"connections": MANY + 2})
    client = site.client()
    others = [site.client() for _ in range(MANY)]
    site.wait(0.5)
    client >> GET
    site.backend >> OK
    assert client.received().endswith(b"ok")
    assert kept(client.wire.protocol) > LEAST
    site.wait(1)
    assert kept(client.wire.protocol) <= LEAST
    site.wait(73)
    assert client.wire.end == "open"
    assert {other.wire.end for other in others} == {"open"}
    site.wait(2)
    client << CLOSED
