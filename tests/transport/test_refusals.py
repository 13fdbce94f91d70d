"""Requests that are refused: the answer, the closed connection, and that no backend hears of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, Page, head

if TYPE_CHECKING:
    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"

# (the row of the design's table, the status, the request)
REFUSED = [
    (1, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (1, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    (2, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    (2, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
    (3, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
    (3, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello"),
    (3, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 \r\n\r\nhello"),
    (3, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  -0\r\n\r\n"),
    (3, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11111111111111111111\r\n\r\n"),
    (3, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    (4, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (4, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    (4, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    (
        4,
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (4, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n"),
    (4, 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    (4, 400, b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    (5, 400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    (6, 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"),
    (6, 400, b"GET / HTTP/1.1\r\nHost: a\r\nA\t: b\r\n\r\n"),
    (6, 400, b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    (6, 400, b"GET / HTTP/1.1\r\nHost: a\r\nA(b): c\r\n\r\n"),
    (6, 400, b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
    (6, 400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (7, 400, b"GET / HTTP/1.1\nHost: a\n\n"),
    (7, 400, b"GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n"),
    (7, 400, b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n"),
    (7, 400, b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n"),
    (7, 400, b"GET / HTTP/1.1\r\nHost: a\r\nA: b\x7fc\r\n\r\n"),
    (12, 400, b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
    (12, 400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (12, 400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (12, 400, b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    (12, 400, b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
    (12, 400, b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    (12, 400, b"GET http://user@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (20, 400, b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (20, 400, b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (20, 400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (20, 400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    (22, 405, b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (22, 501, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    (22, 400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
    (22, 400, b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (25, 414, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    (25, 431, b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 40_000 + b"\r\n\r\n"),
    (25, 431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 100 + b"\r\n"),
    (27, 400, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (27, 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello"),
    (27, 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (27, 505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    (27, 505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (27, 400, b"GET /\r\n\r\n"),
    (27, 400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (27, 400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    (27, 400, b"hello\r\n\r\n"),
]


def _small(case: tuple[int, int, bytes]) -> bool:
    return len(case[2]) < 600


@pytest.mark.parametrize(
    ("row", "status", "request_bytes"), [case for case in REFUSED if _small(case)], ids=lambda value: str(value)[:60]
)
def test_refused(site: Site, client: Peer, row: int, status: int, request_bytes: bytes) -> None:
    client >> request_bytes + SMUGGLED
    client << Page(status, "the request", end=True)
    client << EOF
    assert site.backend.connections == []
    client >> EOF
    client << CLOSED


@pytest.mark.parametrize(
    ("line", "status"), [(b"hello\r\n", 400), (b"\r\nGET /\r\n", 400), (b"GET / HTTP/2.0\r\n", 505), (b"G" * 8193, 414)]
)
def test_garbage_is_refused_when_its_line_is_whole(client: Peer, line: bytes, status: int) -> None:
    """Not at the deadline, even when it comes in pieces."""
    client >> line
    client << Page(status, "the request", end=True)
    client << EOF


@WHOLE
@pytest.mark.parametrize(
    ("row", "status", "request_bytes"), [case for case in REFUSED if not _small(case)], ids=["line", "field", "fields"]
)
@pytest.mark.parametrize("packet", [1 << 20, 1000])
def test_too_large(site: Site, client: Peer, row: int, status: int, request_bytes: bytes, packet: int) -> None:
    data = request_bytes + SMUGGLED
    client.wire.incoming.extend(data[start : start + packet] for start in range(0, len(data), packet))
    client.wire.deliver()
    client << Page(status, "the request", end=True)
    assert site.backend.connections == []


@pytest.mark.parametrize(
    "target",
    [
        b"/%zz",
        b"/a%00b",
        b"/../etc/passwd",
    ],
)
def test_a_path_without_a_single_meaning(site: Site, client: Peer, target: bytes) -> None:
    """Here the next request's beginning is known, so the connection stays."""
    client >> b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    client << Page(400, "the request's path")
    client >> GET
    assert site.backend.last.received().startswith(b"GET / HTTP/1.1\r\n")


def test_an_endless_head_without_line_ends(site: Site, client: Peer) -> None:
    client >> b"GET /"
    for _ in range(100):
        if client.wire.end == "open":
            client >> b"x" * 1000
    client << Page(414, "the request", end=True)


def test_an_endless_head_of_fields(site: Site, client: Peer) -> None:
    client >> b"GET / HTTP/1.1\r\nHost: a\r\n"
    sent = 0
    while client.wire.end == "open":
        client >> b"A: " + b"x" * 995 + b"\r\n"
        sent += 1000
    client << Page(431, "the request", end=True)
    assert sent < 34_000


def test_an_endless_chunk_extension(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"5;a="
    sent = 0
    while client.wire.end == "open":
        client >> b"x" * 100
        sent += 100
    client << Page(400, "the message's body", end=True)
    assert sent <= 1100
    site.backend << ABORTED


def test_endless_trailers(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"0\r\n"
    sent = 0
    while client.wire.end == "open":
        client >> b"A: " + b"x" * 95 + b"\r\n"
        sent += 100
    client << Page(400, "the message's body", end=True)
    assert sent <= 8400
    site.backend << ABORTED


def test_a_long_request_line_within_the_limit(site: Site, client: Peer) -> None:
    site.piecewise = False
    target = b"/" + b"x" * 8000
    client >> b"GET " + target + b" HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    assert site.backend.last.received().startswith(b"GET " + target + b" HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["PROPFIND", "M-SEARCH", "get", "A!#$%&'*+.^_`|~9"])
def test_unknown_methods_are_forwarded(site: Site, client: Peer, method: str) -> None:
    client >> head(f"{method} / HTTP/1.1", "Host: shop.test")
    assert site.backend.last.received().startswith(f"{method} / HTTP/1.1\r\n".encode())


def test_a_refused_head_request_has_no_body(site: Site, client: Peer) -> None:
    client >> head("HEAD /%zz HTTP/1.1", "Host: shop.test")
    client << Page(400, head_only=True)


def test_a_1_0_client_that_is_answered_by_the_proxy(site: Site, client: Peer) -> None:
    client >> head("GET /%zz HTTP/1.0", "Host: shop.test")
    client << Page(400, "the request's path", end=True)
    client << CLOSED
