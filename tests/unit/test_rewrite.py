"""Heads as they go out."""

from __future__ import annotations

import pytest

from proxy.http1.head import RequestHead, parse_request, parse_response
from proxy.http1.rewrite import (
    Peer,
    forwarded_fields,
    interim_head,
    request_head,
    response_head,
    switching_head,
    with_max_forwards,
    without_field,
)

CLIENT = Peer(b"192.0.2.7", b"https", b"443")
PROXY = Peer(b"10.0.0.1", b"http", b"8080", trusted=True)


def request(data: bytes) -> RequestHead:
    head = parse_request(data)
    assert head is not None
    return head


def sent(data: bytes, peer: Peer = CLIENT) -> bytes:
    head = request(data)
    return request_head(head, forwarded_fields(head.fields, head.authority, peer), b"id-1")


def test_a_request_for_the_backend() -> None:
    data = b"GET /a?b HTTP/1.1\r\nhost: shop:8080\r\nAccept: */*\r\nConnection: keep-alive\r\nCookie: c=d\r\n\r\n"
    assert sent(data) == (
        b"GET /a?b HTTP/1.1\r\n"
        b"host: shop:8080\r\n"
        b"Accept: */*\r\n"
        b"Cookie: c=d\r\n"
        b"X-Forwarded-For: 192.0.2.7\r\n"
        b"X-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: shop:8080\r\n"
        b"X-Forwarded-Port: 443\r\n"
        b"Via: 1.1 switchyard\r\n"
        b"X-Request-Id: id-1\r\n"
        b"\r\n"
    )


def test_a_1_0_request_is_sent_in_1_1_with_a_host() -> None:
    lines = sent(b"GET / HTTP/1.0\r\n\r\n").split(b"\r\n")
    assert lines[:2] == [b"GET / HTTP/1.1", b"Host: localhost:443"]
    assert b"Via: 1.0 switchyard" in lines
    assert b"X-Forwarded-Host: localhost:443" in lines


def test_the_targets_authority_replaces_host() -> None:
    lines = sent(b"GET http://b:1/x HTTP/1.1\r\nX: y\r\nHOST: a\r\n\r\n").split(b"\r\n")
    assert lines[:3] == [b"GET /x HTTP/1.1", b"Host: b:1", b"X: y"]
    assert b"HOST: a" not in lines


def test_an_asterisk_stays() -> None:
    assert sent(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n")


BEFORE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.1, 203.0.113.2\r\nX-Forwarded-Proto: https\r\n"
    b"X-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\nForwarded: for=203.0.113.1\r\nX-Forwarded-For: \r\n"
    b"Forwarded: for=203.0.113.2\r\nX-Real-IP: 203.0.113.1\r\n\r\n"
)


def test_a_trusted_proxy_is_believed_and_appended_to() -> None:
    lines = sent(BEFORE, PROXY).split(b"\r\n")
    assert lines[2:7] == [
        b"X-Forwarded-For: 203.0.113.1, 203.0.113.2, 10.0.0.1",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Host: shop.example",
        b"X-Forwarded-Port: 443",
        b"Forwarded: for=203.0.113.1, for=203.0.113.2, for=10.0.0.1",
    ]


def test_what_a_trusted_proxy_leaves_empty_is_known_from_the_connection() -> None:
    out = sent(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto:\r\nX-Forwarded-For: \r\nForwarded:\r\n\r\n", PROXY)
    assert b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n" in out
    assert b"\r\nForwarded:" not in out


def test_nobody_else_is_believed() -> None:
    out = sent(BEFORE)
    assert b"203.0.113" not in out
    assert b"shop.example" not in out
    assert b"\r\nForwarded:" not in out


def test_an_ipv6_address_is_quoted_where_it_must_be() -> None:
    out = sent(BEFORE, Peer(b"2001:db8::1", b"http", b"80", trusted=True))
    assert b"203.0.113.2, 2001:db8::1\r\n" in out
    assert b'for=203.0.113.2, for="[2001:db8::1]"\r\n' in out


def test_only_the_real_field_of_a_trusted_proxy_counts() -> None:
    out = sent(b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: evil\r\nX-Forwarded_Host: evil\r\n\r\n", PROXY)
    assert b"evil" not in out


@pytest.mark.parametrize(
    ("fields", "extras"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        (b"Connection: TE\r\nTE: trailers\r\n", b"Connection: TE\r\nTE: trailers\r\n"),
        (b"Connection: TE\r\nTE: deflate\r\n", b""),
    ],
)
def test_hop_by_hop_fields_are_the_proxys_own(fields: bytes, extras: bytes) -> None:
    out = sent(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
    assert out.endswith(b"X-Forwarded-Port: 443\r\n" + extras + b"Via: 1.1 switchyard\r\nX-Request-Id: id-1\r\n\r\n")
    assert out.count(b"Connection:") == bool(extras)


def test_max_forwards_is_replaced() -> None:
    lines = with_max_forwards(b"A: b\r\nMAX-forwards: 7\r\nMax-Forwards: 8\r\n", 2)
    assert lines == b"A: b\r\nMax-Forwards: 2\r\n"


def test_only_the_whole_name_is_left_out() -> None:
    assert without_field(b"Host: a\r\nX-Host: b\r\nhost:c\r\nHosts: d\r\n", b"host") == b"X-Host: b\r\nHosts: d\r\n"


# --- responses -----------------------------------------------------------------------------------------------------


def test_a_response_for_the_client() -> None:
    head = parse_response(b"HTTP/1.0 200 Fine\r\nServer: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n")
    assert head is not None
    out = response_head(head, chunked=False, connection=b"Connection: close\r\n", request_id=b"id-1", date=b"today")
    status, *lines = out.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert status == b"HTTP/1.1 200 Fine"
    expected = [b"Connection: close", b"Content-Length: 2", b"Date: today", b"Server: x", b"X-Request-Id: id-1"]
    assert sorted(lines) == expected


def test_a_body_without_a_length_goes_out_in_chunks() -> None:
    head = parse_response(b"HTTP/1.1 200 OK\r\nDate: then\r\n\r\n")
    assert head is not None
    out = response_head(head, chunked=True, connection=b"", request_id=b"id-1", date=b"now")
    assert b"\r\nTransfer-Encoding: chunked\r\n" in out
    assert b"Date: then" in out
    assert b"now" not in out
    assert b"chunked" not in response_head(head, chunked=False, connection=b"", request_id=b"id-1", date=b"now")


def test_trailers_are_announced_where_they_are_sent() -> None:
    head = parse_response(b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\nDate: then\r\n\r\n")
    assert head is not None
    assert b"Trailer: X-Sum" in response_head(head, chunked=True, connection=b"", request_id=b"id-1", date=b"now")
    without = response_head(head, chunked=False, connection=b"", request_id=b"id-1", date=b"now")
    assert without == b"HTTP/1.1 200 OK\r\nDate: then\r\nX-Request-Id: id-1\r\n\r\n"


def test_a_switch_of_protocols() -> None:
    head = parse_response(
        b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nX: y\r\nConnection: X-Z, Upgrade\r\nX-Z: 1\r\n\r\n"
    )
    assert head is not None
    assert switching_head(head, b"id-1") == (
        b"HTTP/1.1 101 Go\r\nX: y\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Request-Id: id-1\r\n\r\n"
    )


def test_an_interim_response() -> None:
    head = parse_response(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: close\r\n\r\n")
    assert head is not None
    assert interim_head(head) == b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
