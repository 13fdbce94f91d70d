"""Heads as they go out: what a gateway removes, sets and adds (RFC 9110 section 7.6, RFC 7239)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.http1.grammar import FIELD_LINE
from proxy.http1.head import VIA_PSEUDONYM, ResponseHead

if TYPE_CHECKING:
    from proxy.http1.head import RequestFields, RequestHead


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a client connection, as the backend is told. `port` is the one it connected to.

    `trusted`: one of `trusted_proxies`, whose X-Forwarded-* are believed and appended to.
    """

    address: bytes
    scheme: bytes
    port: bytes
    trusted: bool = False


def forwarded_fields(fields: RequestFields, authority: bytes, peer: Peer) -> bytes:
    """All field lines for the backend that are the same for each request with these fields from this peer.

    `authority` is the host that the request is for: Host's value, or that of an absolute-form target, which
    replaces it (RFC 9112 section 3.2.2). A 1.0 request may have none; the backend is spoken to in 1.1 and needs one.
    """
    kept = fields.kept
    if not authority:
        authority = b"localhost:" + peer.port
    if authority != fields.host:
        kept = b"Host: %b\r\n%b" % (authority, without_field(kept, b"host"))
    extras = b""
    if fields.upgrade:
        extras = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % fields.upgrade
    elif fields.te_trailers:
        extras = b"Connection: TE\r\nTE: trailers\r\n"
    return b"%b%b%bVia: 1.%d %b\r\n" % (
        kept,
        _client_fields(fields, authority, peer),
        extras,
        fields.minor,
        VIA_PSEUDONYM,
    )


def _client_fields(fields: RequestFields, authority: bytes, peer: Peer) -> bytes:
    """X-Forwarded-*, from the connection; of what the client said itself, only what a trusted proxy did."""
    chain = [peer.address]
    told = {b"x-forwarded-proto": peer.scheme, b"x-forwarded-host": authority, b"x-forwarded-port": peer.port}
    forwarded = b""
    if peer.trusted:
        for name, value in fields.forwarded:
            if name == b"x-forwarded-for" and value:
                chain.insert(-1, value)
            elif name in told and value:
                told[name] = value
            elif name == b"forwarded" and value:
                forwarded = b"%b, %b" % (forwarded, value) if forwarded else value
    if forwarded:
        node = b'"[%b]"' % peer.address if b":" in peer.address else peer.address
        forwarded = b"Forwarded: %b, for=%b\r\n" % (forwarded, node)
    return (b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Port: %b\r\n%b") % (
        b", ".join(chain),
        *told.values(),
        forwarded,
    )


def without_field(lines: bytes, name: bytes) -> bytes:
    """The field lines but for those of the field `name` (lower case)."""
    return b"".join(line[0] for line in FIELD_LINE.finditer(lines) if line[1].lower() != name)


def request_head(head: RequestHead, forwarded: bytes, request_id: bytes) -> bytes:
    """The head for the backend. `forwarded` is the result of `forwarded_fields`."""
    return b"".join(
        (head.method, b" ", head.target, b" HTTP/1.1\r\n", forwarded, b"X-Request-Id: ", request_id, b"\r\n\r\n")
    )


def with_max_forwards(forwarded: bytes, value: int) -> bytes:
    """The lines with Max-Forwards set to `value` (RFC 9110 section 7.6.2)."""
    return b"%bMax-Forwards: %d\r\n" % (without_field(forwarded, b"max-forwards"), value)


def with_field(head: ResponseHead, line: bytes) -> ResponseHead:
    """The head with one more field line, which ends with CRLF."""
    return ResponseHead(
        head.status,
        head.status_line,
        head.kept + line,
        head.length,
        head.chunked,
        head.keep_alive,
        head.upgrade,
        head.has_date,
        head.end,
    )


def response_head(
    head: ResponseHead, *, chunked: bool, connection: bytes, request_id: bytes, date: bytes, body: bytes = b""
) -> bytes:
    """The head for an HTTP/1 client, and the first bytes of the body.

    `connection` is a whole field line, or empty; `date` an IMF-fixdate. `chunked`: whether the body goes out in chunked
    coding, which the client must then be able to read. Without it no trailers go out, and none are announced.
    """
    return b"%b%b%b%bX-Request-Id: %b\r\n\r\n%b" % (
        head.status_line + without_field(head.kept, b"trailer") if head.chunked and not chunked else head.lines,
        b"" if head.has_date else b"Date: %b\r\n" % date,
        b"Transfer-Encoding: chunked\r\n" if chunked else b"",
        connection,
        request_id,
        body,
    )


def switching_head(head: ResponseHead, request_id: bytes) -> bytes:
    """The head of a 101 for the client."""
    return b"%b%bConnection: Upgrade\r\nUpgrade: %b\r\nX-Request-Id: %b\r\n\r\n" % (
        head.status_line,
        head.kept,
        head.upgrade,
        request_id,
    )


def interim_head(head: ResponseHead) -> bytes:
    """The head of a 1xx other than 101 for the client."""
    return b"%b%b\r\n" % (head.status_line, head.kept)
