"""Every wait has an end: slow heads, slow bodies, idle connections, and waits that must not end the wrong request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, Page, delivered, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
UPLOAD = head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 10") + b"hello"


def test_an_idle_connection_is_closed(site: Site, client: Peer) -> None:
    site.wait(74)
    client << b""
    assert client.wire.end == "open"
    site.wait(2)
    client << b""
    client << CLOSED


def test_an_idle_connection_is_closed_after_its_last_response(site: Site, client: Peer) -> None:
    for turn in range(3):
        client >> GET
        site.backend >> OK
        client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=turn + 1) + b"ok"
        site.wait(70)
    assert client.wire.end == "open"
    site.wait(6)
    client << CLOSED


def test_a_slow_head_is_408(site: Site, client: Peer) -> None:
    client >> GET[:10]
    site.wait(9)
    client << b""
    client >> GET[10:20]
    site.wait(2)
    client << Page(408, "the request", end=True)
    client << EOF
    site.wait(3)
    client << ABORTED


def test_a_slow_second_head_is_408(site: Site, client: Peer) -> None:
    client >> GET + GET[:10]
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    site.wait(11)
    client << Page(408, "the request", end=True)


def test_the_time_for_a_head_is_for_all_of_it(site: Site, client: Peer) -> None:
    """A byte now and then does not buy more of it."""
    for start in range(11):
        client >> GET[start : start + 1]
        site.wait(1)
    client << Page(408, "the request", end=True)


@pytest.mark.parametrize(
    "upload",
    [UPLOAD, head("POST / HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n"],
    ids=["sized", "chunked"],
)
def test_a_slow_body_is_408(site: Site, client: Peer, upload: bytes) -> None:
    client >> upload
    site.wait(59)
    client << b""
    site.wait(2)
    client << Page(408, "the request", end=True)
    site.backend << ABORTED


def test_a_body_may_be_slow_as_long_as_it_comes(site: Site, client: Peer) -> None:
    client >> UPLOAD
    for byte in (b" ", b"w", b"o", b"r", b"l"):
        site.wait(50)
        client >> byte
    site.wait(50)
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_the_backend_s_time_begins_when_the_request_has_ended(site: Site, client: Peer) -> None:
    client >> UPLOAD
    site.wait(50)
    client >> b"world"
    site.wait(50)
    client << b""
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_slow_body_that_nobody_waits_for_after_its_answer(site: Site, client: Peer) -> None:
    client >> UPLOAD
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 5", connection="close") + b"he"
    site.wait(61)
    client << ABORTED
    site.backend << ABORTED


def test_events_may_be_far_between(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Type: text/event-stream") + b"data: 1\n\n"
    top = delivered("HTTP/1.1 200 OK", "Content-Type: text/event-stream", chunked=True)
    assert client.received().startswith(top)
    for _ in range(5):
        site.wait(1000)
    assert client.wire.end == "open"
    site.backend >> b"data: 2\n\n"
    assert b"2" in client.received()
    assert client.wire.end == "open"


def test_a_held_request_has_the_gate_s_time_not_the_backend_s(build: Callable[..., Site]) -> None:
    site = build(limits={"hold": 100}, timeouts={"response": 5})
    client = site.client()
    site.hold(90)
    client >> GET
    site.wait(80)
    client << b""
    site.switch("temp")
    site.wait(4)
    site.temp >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_kept_backend_connection_is_closed_before_the_backend_would(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    site.wait(29)
    assert site.backend.open == 1
    site.wait(2)
    site.backend << CLOSED


def test_the_last_used_connection_is_used_first_so_that_the_others_age(site: Site) -> None:
    clients = [site.client() for _ in range(3)]
    for client in clients:
        client >> GET
    for connection in site.backend.connections:
        connection >> OK
    for _ in range(4):
        site.wait(10)
        clients[0] >> GET
        site.backend.connections[2] >> OK
    assert [connection.wire.end for connection in site.backend.connections] == ["closed", "closed", "open"]


@WHOLE
def test_a_large_head_may_come_in_single_bytes(site: Site, client: Peer) -> None:
    request = head("GET / HTTP/1.1", "Host: shop.test", *(f"X-{number}: {'y' * 200}" for number in range(90)))
    site.piecewise = True
    client >> request
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
