"""Answers before the request has ended (RFC 9112 section 9.3, 9.6): delivered, and no byte is taken for a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, RESET, End, Page, delivered, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
UPLOAD = head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 1000") + b"x" * 10
CHUNKED = head("POST / HTTP/1.1", "Host: shop.test", "Transfer-Encoding: chunked") + b"a\r\n0123456789\r\n"


@pytest.mark.parametrize("upload", [UPLOAD, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("status", ["401 Unauthorized", "413 Content Too Large", "303 See Other", "200 OK"])
def test_delivered_then_closed(site: Site, client: Peer, upload: bytes, status: str) -> None:
    client >> upload
    site.backend >> head(f"HTTP/1.1 {status}", "Content-Length: 2") + b"no"
    client << delivered(f"HTTP/1.1 {status}", "Content-Length: 2", connection="close") + b"no"
    client << EOF
    site.backend << ABORTED
    client >> b"x" * 90 + GET
    client << b""
    assert len(site.backend.connections) == 1
    client >> EOF
    client << CLOSED


def test_a_client_that_goes_on_sending_is_read_within_bounds(site: Site, client: Peer) -> None:
    site.piecewise = False
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 100000000")
    site.backend >> head("HTTP/1.1 401 Unauthorized", "Content-Length: 0")
    client << delivered("HTTP/1.1 401 Unauthorized", "Content-Length: 0", connection="close")
    client.flood(1_000_000)
    client << EOF
    client.flood(100_000)
    client << CLOSED


def test_a_client_that_does_not_close_is_closed(site: Site, client: Peer) -> None:
    client >> UPLOAD
    site.backend >> head("HTTP/1.1 401 Unauthorized", "Content-Length: 0")
    client << delivered("HTTP/1.1 401 Unauthorized", "Content-Length: 0", connection="close")
    site.wait(3)
    client << ABORTED


@WHOLE
def test_a_slow_reader_still_gets_the_whole_answer(site: Site, client: Peer) -> None:
    client >> UPLOAD
    client.stop_reading()
    site.backend >> head("HTTP/1.1 401 Unauthorized", "Content-Length: 262144")
    site.backend.last.flood(262_144)
    site.wait(20)
    client.read_on()
    assert client.received().count(b"x") == 262_144


def test_the_answer_streams_while_the_upload_goes_on(site: Site, client: Peer) -> None:
    """A backend may echo: neither direction waits for the other."""
    client >> CHUNKED
    site.backend >> head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"1\r\na\r\n"
    client << delivered("HTTP/1.1 200 OK", chunked=True, connection="close") + b"1\r\na\r\n"
    client >> b"1\r\nb\r\n"
    assert site.backend.last.received().endswith(b"1\r\nb\r\n")
    site.backend >> b"1\r\nb\r\n"
    client << b"1\r\nb\r\n"
    client >> b"0\r\n\r\n"
    site.backend << b"0\r\n\r\n"
    site.backend >> b"0\r\n\r\n"
    client << b"0\r\n\r\n"
    client << CLOSED
    assert site.backend.open == 1


def test_a_backend_that_answers_and_closes(site: Site, client: Peer) -> None:
    client >> UPLOAD
    site.backend >> head("HTTP/1.1 413 Content Too Large", "Connection: close", "Content-Length: 2") + b"no"
    client << delivered("HTTP/1.1 413 Content Too Large", "Content-Length: 2", connection="close") + b"no"
    assert site.backend.open == 0


def test_a_backend_that_answers_until_close(site: Site, client: Peer) -> None:
    client >> UPLOAD
    site.backend >> head("HTTP/1.1 413 Content Too Large")
    site.backend >> b"n"
    site.backend >> CLOSED
    answer = delivered("HTTP/1.1 413 Content Too Large", chunked=True, connection="close")
    client << answer + b"1\r\nn\r\n0\r\n\r\n"
    client << EOF


# --- the limit on bodies --------------------------------------------------------------------------------------------


def test_a_declared_length_over_the_limit_reaches_no_backend(build: Callable[..., Site]) -> None:
    site = build(limits={"body": 100})
    client = site.client()
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Expect: 100-continue", "Content-Length: 101")
    client << Page(413, "the request's body", end=True)
    client << EOF
    assert site.backend.connections == []


def test_a_declared_length_at_the_limit(build: Callable[..., Site]) -> None:
    site = build(limits={"body": 100})
    client = site.client()
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 100") + b"x" * 100
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 0")
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 0")


def test_a_chunked_body_over_the_limit(build: Callable[..., Site]) -> None:
    site = build(limits={"body": 100})
    client = site.client()
    client >> CHUNKED
    client >> b"5a\r\n" + b"x" * 90 + b"\r\n"
    client << b""
    client >> b"1\r\n!\r\n0\r\n\r\n"
    client << Page(413, "the request's body", end=True)
    client << EOF
    assert b"!" not in site.backend.last.received()
    site.backend << ABORTED


@WHOLE
def test_a_chunked_body_over_the_limit_at_once(build: Callable[..., Site]) -> None:
    site = build(limits={"body": 5})
    client = site.client()
    client >> CHUNKED
    client << Page(413, "the request's body", end=True)
    assert site.backend.connections == []


@pytest.mark.parametrize("bad", [b"xyz\r\n", b"-1\r\n", b"5\r\nhelloXX", b"0\r\nA b: c\r\n\r\n", b"1 \r\nx\r\n"])
def test_a_chunked_upload_that_is_not_valid(site: Site, client: Peer, bad: bytes) -> None:
    client >> CHUNKED
    before = site.backend.last.received()
    client >> bad + GET
    client << Page(400, "the message's body", end=True)
    client << EOF
    assert before.endswith(b"a\r\n0123456789\r\n")
    assert site.backend.last.received() in (b"", b"5\r\nhello", b"0\r\n")
    site.backend << ABORTED
    assert len(site.backend.connections) == 1


def test_a_chunked_upload_that_is_not_valid_after_the_answer_has_begun(site: Site, client: Peer) -> None:
    client >> CHUNKED
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    client >> b"xyz\r\n"
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 5", connection="close") + b"he"
    client << ABORTED
    site.backend << ABORTED


@pytest.mark.parametrize("end", [EOF, CLOSED, RESET])
@pytest.mark.parametrize("upload", [UPLOAD, CHUNKED], ids=["sized", "chunked"])
def test_an_upload_that_is_cut_short_is_not_passed_on_as_whole(
    site: Site, client: Peer, upload: bytes, end: End
) -> None:
    client >> upload
    client >> end
    site.backend << ABORTED
    assert '"status":499' in site.finish()[0]
