"""Several requests on one connection: their order, the bounds, and what an error does to those behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import CLOSED, EOF, GET, PACKET, Page, delivered, forwarded, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
LOST = head("GET /%zz HTTP/1.1", "Host: shop.test")  # the proxy answers this one itself


def ok(id: int, body: bytes = b"ok", connection: str = "") -> bytes:
    return delivered("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", id=id, connection=connection) + body


def test_answers_come_in_the_order_of_the_requests(site: Site, client: Peer) -> None:
    paths = ("/a", "/b", "/c")
    client >> b"".join(head(f"GET {path} HTTP/1.1", "Host: shop.test") for path in paths)
    for id, path in enumerate(paths, 1):
        site.backend << forwarded(f"GET {path} HTTP/1.1", "Host: shop.test", id=id)
        site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 2") + path.encode()
        client << ok(id, path.encode())
    assert len(site.backend.connections) == 1


def test_a_request_behind_a_body(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 3") + b"abc" + GET
    site.backend << forwarded("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 3") + b"abc"
    site.backend >> OK
    client << ok(1)
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=2)
    site.backend >> OK
    client << ok(2)


def test_a_request_behind_a_chunked_body(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n" + GET
    site.backend >> OK
    client << ok(1)
    site.backend >> OK
    client << ok(2)


def test_own_answers_stand_in_line(site: Site, client: Peer) -> None:
    client >> GET + LOST + GET
    client << b""
    site.backend >> OK
    answers = client.received()
    assert answers.startswith(ok(1))
    Page(400, "the request's path").check(answers.removeprefix(ok(1)))
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test") + forwarded(
        "GET / HTTP/1.1", "Host: shop.test", id=3
    )
    site.backend >> OK
    client << ok(3)


def test_an_error_in_the_second(site: Site, client: Peer) -> None:
    client >> GET + b"BAD / HTTP/1.1\r\nA b: c\r\n\r\n" + GET
    client << b""
    site.backend >> OK
    answers = client.received()
    assert answers.startswith(ok(1))
    Page(400, "the request", end=True).check(answers.removeprefix(ok(1)))
    client << EOF
    assert len(site.backend.connections) == 1


def test_nothing_is_served_behind_connection_close(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.1", "Host: shop.test", "Connection: close") + GET
    site.backend >> OK
    client << ok(1, connection="close")
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test")
    client << EOF
    client >> EOF
    client << CLOSED


@WHOLE
def test_many_own_answers_leave_others_their_turn(site: Site, client: Peer) -> None:
    other = site.client()
    client.wire.incoming.append(LOST * 100)
    client.wire.deliver()
    assert client.wire.output.count(b"HTTP/1.1 400") < 40
    other >> GET
    site.backend >> OK
    site.settle()
    assert client.wire.output.count(b"HTTP/1.1 400") == 100


def test_a_client_that_ends_its_side_is_answered_in_full(site: Site, client: Peer) -> None:
    client >> GET + LOST + GET + LOST
    client >> EOF
    site.backend >> OK
    site.backend >> OK
    answers = client.received()
    assert [int(part[1:4]) for part in answers.split(b"HTTP/1.1")[1:]] == [200, 400, 200, 400]
    client << CLOSED


@WHOLE
def test_a_client_that_ends_its_side_after_more_requests_than_one_turn_answers(site: Site, client: Peer) -> None:
    client.wire.incoming.extend((LOST * 100, None))
    client.wire.deliver()
    assert client.received().count(b"HTTP/1.1 400") == 100
    client << CLOSED


def test_a_client_that_ends_its_side_in_the_middle_of_a_pipelined_head(site: Site, client: Peer) -> None:
    client >> GET + b"GET / HT"
    client >> EOF
    site.backend >> OK
    client << ok(1)
    client << CLOSED


@WHOLE
def test_pipelined_requests_are_bounded(site: Site, client: Peer) -> None:
    client >> GET
    client.flood(len(GET) * 4_000, GET)
    assert not client.is_read
    assert client.untaken >= len(GET) * 4_000 - 3 * PACKET
    for _ in range(4_001):
        site.backend.answer(OK)
    site.settle()
    assert client.received().count(b"HTTP/1.1 200") == 4_001
    assert client.is_read
    assert client.untaken == 0


@WHOLE
def test_an_upload_behind_many_requests_goes_on(site: Site, client: Peer) -> None:
    """The client was made to wait because of the requests before it, not because of its own backend."""
    requests = GET * 2500
    assert len(requests) > 64 * 1024
    client >> requests + head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 3000000")
    assert not client.is_read
    client.flood(3_000_000)
    for _ in range(2500):
        site.backend.answer(OK)
    site.settle()
    assert client.untaken == 0
    site.backend >> OK
    assert client.received().endswith(ok(2501))


def test_no_more_than_one_empty_line_before_a_request(site: Site, client: Peer) -> None:
    client >> b"\r\n" + GET
    site.backend >> OK
    client << ok(1)
    client >> b"\r\n\r\n" + GET
    client << Page(400, "the request", end=True)


@WHOLE
def test_requests_wait_while_the_client_does_not_read(build: Callable[..., Site]) -> None:
    """Else a client could have answers pile up that it never takes."""
    site = build()
    client = site.client()
    client.stop_reading()
    client >> LOST * 1000
    assert client.wire.most_unsent < 256 * 1024 + 2000
    client.read_on()
    site.settle()
    for _ in range(200):
        site.settle()
    assert client.received().count(b"HTTP/1.1 400") == 1000
