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


@WHOLE
def test_a_body_may_be_slow_as_long_as_it_comes(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 80000")
    for _ in range(5):
        site.wait(59)
        client >> b"x" * 16_000
    site.wait(50)
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


@pytest.mark.parametrize("rate", [256, 1000])
def test_a_body_of_which_a_few_bytes_come_now_and_then_is_408(build: Callable[..., Site], rate: int) -> None:
    """Else a byte a minute would hold a thread of the application for as long as one likes."""
    site = build(limits={"min_rate": rate})
    client = site.client()
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 80000")
    for _ in range(3):
        site.wait(20)
        client >> b"x" * (5 * rate)
    site.wait(14)
    client << b""
    site.wait(2)
    client << Page(408, "the request", end=True)
    site.backend << ABORTED


def test_without_a_least_rate_a_byte_a_minute_will_do(build: Callable[..., Site]) -> None:
    site = build(limits={"min_rate": None})
    client = site.client()
    client >> UPLOAD
    for byte in (b" ", b"w", b"o", b"r", b"l", b"d"):
        site.wait(59)
        client << b""
        if byte != b"d":
            client >> byte
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_line_s_end_after_a_request_begins_none(site: Site, client: Peer) -> None:
    """RFC 9112 section 2.2: some clients send one after a body."""
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    client >> b"\r\n"
    site.wait(12)
    client << b""
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    client >> b"\r\n"
    site.wait(76)
    client << b""
    client << CLOSED


def test_a_head_that_stops_after_a_line_s_end_is_408(site: Site, client: Peer) -> None:
    client >> b"\r\n"
    site.wait(20)
    client >> b"GET"
    site.wait(9)
    client << b""
    site.wait(2)
    client << Page(408, "the request", end=True)


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
    for event in range(2, 5):
        site.wait(3500)
        assert client.wire.end == "open"
        site.backend >> b"data: %d\n\n" % event
        assert b"%d" % event in client.received()
    site.wait(3500)
    assert client.wire.end == "open"
    site.wait(101)
    client << ABORTED
    site.backend << ABORTED


@pytest.mark.parametrize(
    "field", ["X-Note: text/event-stream", "Content-Type: text/plain; a=text/event-stream", "Content-Type: text/html"]
)
def test_only_a_stream_of_events_may_be_silent_for_long(site: Site, client: Peer, field: str) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", field) + b"data: 1\n\n"
    client.received()
    site.wait(61)
    client << ABORTED


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
