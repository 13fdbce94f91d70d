"""A request and its response, in every framing, for clients of both versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, RESET, Page, delivered, forwarded, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_request_and_response(site: Site, client: Peer) -> None:
    client >> GET
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test")
    site.backend >> head("HTTP/1.1 200 OK", "Server: one", "Content-Length: 2", "ETag: 1") + b"ok"
    client << delivered("HTTP/1.1 200 OK", "Server: one", "Content-Length: 2", "ETag: 1") + b"ok"


def test_both_connections_are_kept(site: Site, client: Peer) -> None:
    for turn in (1, 2, 3):
        client >> GET
        site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=turn)
        site.backend >> OK
        client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=turn) + b"ok"
    assert len(site.backend.connections) == 1


def test_a_date_of_the_backend_stays(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Length: 0")
    client << head("HTTP/1.1 200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Length: 0", "X-Request-Id: #1")


def test_sized_upload(site: Site, client: Peer) -> None:
    client >> head("POST /cart HTTP/1.1", "Host: shop.test", "Content-Length: 11") + b"hello "
    site.backend << forwarded("POST /cart HTTP/1.1", "Host: shop.test", "Content-Length: 11") + b"hello "
    client >> b"world"
    site.backend << b"world"
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_chunked_upload(site: Site, client: Peer) -> None:
    client >> head("POST /cart HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked") + b"6\r\nhello \r\n"
    top = forwarded("POST /cart HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked")
    site.backend << top + b"6\r\nhello \r\n"
    client >> b"5;note=x\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n"
    site.backend << b"5\r\nworld\r\n0\r\nX-Sum: 1\r\n\r\n"
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    client >> GET
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=2)
    assert len(site.backend.connections) == 1


def test_an_empty_chunked_upload(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    site.backend << forwarded("POST / HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_trailer_that_would_route_or_frame_is_dropped(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked")
    client >> b"1\r\nx\r\n0\r\nContent-Length: 5\r\n\r\n"
    top = forwarded("POST / HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked")
    site.backend << top + b"1\r\nx\r\n0\r\n\r\n"


def test_chunked_response(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n"
    client << delivered("HTTP/1.1 200 OK", chunked=True) + b"5\r\nhello\r\n"
    site.backend >> b"1;x=y\r\n!\r\n"
    client << b"1\r\n!\r\n"
    site.backend >> b"0\r\nX-Sum: 1\r\n\r\n"
    client << b"0\r\nX-Sum: 1\r\n\r\n"
    client >> GET
    assert site.backend.open == len(site.backend.connections) == 1


def test_chunked_response_to_a_1_0_client(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.0", "Host: shop.test", "Connection: keep-alive")
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", via="1.0")
    site.backend >> head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5;a=b\r\nhello\r\n1\r\n!\r\n"
    client << delivered("HTTP/1.1 200 OK", connection="close") + b"hello!"
    site.backend >> b"0\r\nX-Sum: 1\r\n\r\n"
    client << b""
    client << CLOSED
    assert site.backend.open == 1


def in_chunks(*packets: bytes, by: int) -> bytes:
    """A chunk for each packet of `by` bytes at most."""
    pieces = (packet[start : start + by] for packet in packets for start in range(0, len(packet), by))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def test_until_close_becomes_chunked(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Type: text/plain") + b"hello"
    expected = delivered("HTTP/1.1 200 OK", "Content-Type: text/plain", chunked=True)
    begun = client.received()
    assert begun.startswith(expected)
    site.backend >> b" to all the world"
    coded = begun.removeprefix(expected) + client.received()
    assert coded == in_chunks(b"hello", b" to all the world", by=1 if site.piecewise else 99)
    site.backend >> CLOSED
    client << b"0\r\n\r\n"
    site.backend << CLOSED
    client >> GET
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=2)


def test_until_close_to_a_1_0_client(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.0")
    site.backend << forwarded("GET / HTTP/1.1", "Host: localhost:8080", host="localhost:8080", via="1.0")
    site.backend >> head("HTTP/1.0 200 OK") + b"hello"
    client << delivered("HTTP/1.1 200 OK", connection="close") + b"hello"
    site.backend >> EOF
    client << CLOSED


def test_until_close_without_a_body(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.0 200 OK")
    client << delivered("HTTP/1.1 200 OK", chunked=True)
    site.backend >> CLOSED
    client << b"0\r\n\r\n"


@pytest.mark.parametrize("until_close_to", ["1.0", "1.1"])
def test_until_close_that_ends_in_a_reset_is_not_a_whole_body(site: Site, client: Peer, until_close_to: str) -> None:
    client >> head(f"GET / HTTP/{until_close_to}", "Host: shop.test")
    site.backend >> head("HTTP/1.1 200 OK") + b"x"
    assert client.received().endswith((b"\r\n\r\nx", b"1\r\nx\r\n"))
    site.backend >> RESET
    client << b""
    client << (RESET if until_close_to == "1.0" else ABORTED)


def test_1_0_clients_and_keep_alive(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.0", "Host: shop.test", "Connection: keep-alive")
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", connection="keep-alive") + b"ok"
    client >> head("GET / HTTP/1.0", "Host: shop.test")
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2, connection="close") + b"ok"
    client << CLOSED


def test_connection_close_of_the_client(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.1", "Host: shop.test", "Connection: close")
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test")
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", connection="close") + b"ok"
    client << CLOSED
    assert site.backend.open == 1


def test_connection_close_of_the_backend(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok"
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    site.backend << CLOSED
    client >> GET
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=2)
    assert len(site.backend.connections) == 2


@pytest.mark.parametrize(
    ("claims", "shown"),
    [
        (("Content-Length: 5",), ("Content-Length: 5",)),
        (("Transfer-Encoding: chunked",), ()),
        ((), ()),
    ],
    ids=["sized", "chunked", "until-close"],
)
def test_head_has_no_body(site: Site, client: Peer, claims: tuple[str, ...], shown: tuple[str, ...]) -> None:
    client >> head("HEAD / HTTP/1.1", "Host: shop.test")
    site.backend >> head("HTTP/1.1 200 OK", *claims)
    client << delivered("HTTP/1.1 200 OK", *shown)
    client >> GET
    site.backend << forwarded("HEAD / HTTP/1.1", "Host: shop.test") + forwarded(
        "GET / HTTP/1.1", "Host: shop.test", id=2
    )


@pytest.mark.parametrize(
    ("status", "claim", "shown"),
    [
        ("204 No Content", "Content-Length: 5", ()),
        ("204 No Content", "Transfer-Encoding: chunked", ()),
        ("304 Not Modified", "Content-Length: 5", ("Content-Length: 5",)),
        ("304 Not Modified", "Transfer-Encoding: chunked", ()),
    ],
)
def test_204_and_304_have_no_body(site: Site, client: Peer, status: str, claim: str, shown: tuple[str, ...]) -> None:
    client >> GET
    site.backend >> head(f"HTTP/1.1 {status}", claim)
    client << delivered(f"HTTP/1.1 {status}", *shown)
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    assert len(site.backend.connections) == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_body_that_must_not_be_costs_the_backend_its_connection(site: Site, client: Peer, status: str) -> None:
    client >> GET
    site.backend >> head(f"HTTP/1.1 {status}")
    client << delivered(f"HTTP/1.1 {status}")
    site.backend >> b"hello"
    client << b""
    site.backend << CLOSED
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 2", b"ok"),
        ("Content-Length: 0", b""),
        ("Transfer-Encoding: chunked", b"2\r\nok\r\n0\r\n\r\n"),
    ],
)
def test_bytes_behind_a_response_reach_nobody(
    site: Site, client: Peer, framing: str, body: bytes, surplus: bytes
) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", framing) + body + surplus
    answer = client.received()
    assert answer.endswith(body)
    assert surplus not in answer
    site.backend << CLOSED
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    assert len(site.backend.connections) == 2


def test_a_response_that_nobody_asked_for_reaches_nobody(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    site.backend >> OK
    client << b""
    site.backend << CLOSED


def test_a_body_longer_than_announced_in_a_later_packet(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 4") + b"ok"
    site.backend >> b"ok and more"
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 4") + b"okok"
    site.backend << CLOSED


@pytest.mark.parametrize(
    "sent",
    [b"", b"he", b"hell"],
)
def test_a_sized_body_cut_short_is_an_abort(site: Site, client: Peer, sent: bytes) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + sent
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 5") + sent
    site.backend >> EOF
    client << b""
    client << ABORTED


@pytest.mark.parametrize(
    "sent", [b"", b"5\r\nhe", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b"5\r\nhello\r\n0\r\nA: b\r\n"]
)
def test_a_chunked_body_cut_short_is_an_abort(site: Site, client: Peer, sent: bytes) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + sent
    assert not client.received().endswith(b"0\r\n\r\n")
    site.backend >> EOF
    client << b""
    client << ABORTED


@pytest.mark.parametrize("bad", [b"xyz\r\n", b"5\nhello", b"-1\r\n", b"5\r\nhelloXX", b"0\r\nbad trailer\r\n\r\n"])
def test_a_chunked_body_that_is_not_valid_is_an_abort(site: Site, client: Peer, bad: bytes) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\nok\r\n"
    client << delivered("HTTP/1.1 200 OK", chunked=True) + b"2\r\nok\r\n"
    site.backend >> bad
    assert b"\r\n0\r\n" not in client.received()
    client << ABORTED
    site.backend << ABORTED


@WHOLE
def test_an_invalid_chunk_right_behind_the_head_is_502(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"xyz\r\n"
    client << Page(502, "the application's response")
    site.backend << ABORTED
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


@pytest.mark.parametrize(
    "bad",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
    ],
)
def test_a_malformed_response_is_502(site: Site, client: Peer, bad: bytes) -> None:
    client >> GET
    site.backend >> bad
    client << Page(502, "the application's response")
    site.backend << ABORTED
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


@pytest.mark.parametrize(("fields", "status"), [(10, 200), (11, 502)])
def test_limits_headers_bounds_a_response_s_fields_too(build: Callable[..., Site], fields: int, status: int) -> None:
    site = build(limits={"headers": 10})
    client = site.client()
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 0", *["A: b"] * (fields - 1))
    assert client.received().startswith(f"HTTP/1.1 {status} ".encode())
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


def test_a_response_may_come_without_reason_or_fields(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> b"HTTP/1.1 204\r\n\r\n"
    client << delivered("HTTP/1.1 204 ")


@WHOLE
def test_a_response_head_without_end_is_502(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> b"HTTP/1.1 200 OK\r\n"
    for _ in range(64):
        client << b""
        site.backend >> b"A: " + b"x" * 1019 + b"\r\n"
    client << Page(502, "the application's response")
    site.backend << ABORTED
