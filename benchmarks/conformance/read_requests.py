"""What eight parsers read from the bytes that reached a backend: three libraries', Python's, and four lenient ones.

Each reader takes all bytes of one connection and answers with a `Reading`: the whole requests in order, whether bytes
are left behind the last of them, and why it refused, if it did. It never raises for any bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import http.server
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import h11
import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy

from benchmarks.conformance.lenient import PROFILES, read_leniently
from benchmarks.conformance.model import Reading, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LARGE: Final = 1 << 20


def effective_host(target: bytes, hosts: Iterable[bytes]) -> bytes:
    """The authority of an absolute-form target, else the first Host (RFC 9112 section 3.2.2)."""
    if b"://" in target and not target.startswith(b"/"):
        return target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0].lower()
    return next(iter(hosts), b"").strip().lower()


def by_h11(data: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGE)
    seen: list[Seen] = []
    body = bytearray()
    request: h11.Request | None = None
    try:
        connection.receive_data(data)
        while True:
            event: Any = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, bytearray()
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                hosts = (value for name, value in request.headers if name == b"host")
                host = effective_host(request.target, hosts)
                seen.append(Seen(request.method.upper(), request.target, host, bytes(body)))
                rest = connection.trailing_data[0]
                connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGE)
                connection.receive_data(rest.lstrip(b"\r\n"))
                request = None
            else:
                left = request is not None or bool(connection.trailing_data[0].strip(b"\r\n"))
                return Reading(tuple(seen), left)
    except h11.RemoteProtocolError as error:
        return Reading(tuple(seen), refused=str(error) or "refused")


@dataclass(slots=True)
class _Callbacks:
    """Collects what llhttp reports; the target, fields and body are of the request under way."""

    parser: Any = None
    seen: list[Seen] = field(default_factory=list)
    target: bytes = b""
    hosts: list[bytes] = field(default_factory=list)
    body: bytes = b""
    under_way: bool = False

    def on_message_begin(self) -> None:
        self.target, self.hosts, self.body, self.under_way = b"", [], b"", True

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"host":
            self.hosts.append(value)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        host = effective_host(self.target, self.hosts)
        self.seen.append(Seen(self.parser.get_method().upper(), self.target, host, self.body))
        self.under_way = False


def by_llhttp(data: bytes) -> Reading:
    """Each request has a parser of its own, as httptools does not begin again by itself after an upgrade."""
    calls = _Callbacks()
    calls.parser = httptools.HttpRequestParser(calls)
    try:
        calls.parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        rest = by_llhttp(data[upgrade.args[0] :]) if upgrade.args[0] else Reading(())
        return Reading((*calls.seen, *rest.requests), rest.left, rest.refused)
    except httptools.HttpParserError as error:
        return Reading(tuple(calls.seen), refused=str(error) or "refused")
    return Reading(tuple(calls.seen), calls.under_way and bool(data.strip(b"\r\n")))


def by_aiohttp(data: bytes) -> Reading:
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        protocol = BaseProtocol(loop)
        parser = HttpRequestParserPy(
            protocol,
            loop,
            limit=_LARGE,
            max_line_size=_LARGE,
            max_headers=_LARGE,
            max_field_size=_LARGE,
            auto_decompress=False,
        )
        seen: list[Seen] = []
        left, refused, at = False, "", 0
        # One byte at a time, as on an error in one feed the whole requests before it would be lost.
        pending: list[Any] = []
        while at < len(data) and not refused:
            try:
                messages, upgraded, _ = parser.feed_data(data[at : at + 1])
            except (HttpProcessingError, ValueError) as error:
                messages, upgraded, refused = [], False, f"{type(error).__name__}: {error}"
            pending += messages
            at += 1
            while pending and pending[0][1].is_eof() and pending[0][1].exception() is None:
                message, payload = pending.pop(0)
                target = message.path.encode("utf-8", "surrogateescape")
                hosts = (value for name, value in message.raw_headers if name.lower() == b"host")
                body = payload.read_nowait(-1) if payload.total_bytes else b""
                seen.append(Seen(message.method.encode(), target, effective_host(target, hosts), body))
            if upgraded:
                break
        begun = bool(parser._tail) or bool(parser._lines)
        left = not refused and (bool(pending) or begun or bool(data[at:].strip(b"\r\n")))
        return Reading(tuple(seen), left, refused)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Python's own reading of a request line and fields, without a socket."""

    def __init__(self, line: bytes, stream: io.BytesIO) -> None:
        self.raw_requestline = line
        self.rfile = stream
        self.requestline, self.request_version, self.command, self.path = "", "", "", ""
        self.error = ""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        self.error = f"{code} {message}"

    def handle_expect_100(self) -> bool:
        return True


def by_stdlib(data: bytes) -> Reading:
    """http.server's parser; bodies by Transfer-Encoding, then the first Content-Length, as `int` takes them."""
    stream, seen = io.BytesIO(data), list[Seen]()
    while True:
        line = stream.readline(65537)
        if not line.strip(b"\r\n"):
            if not line:
                return Reading(tuple(seen))
            continue
        handler = _Handler(line, stream)
        if not line.endswith(b"\n"):
            return Reading(tuple(seen), left=True)
        try:
            if not handler.parse_request():
                return Reading(tuple(seen), refused=handler.error or "refused")
            if handler.request_version != "HTTP/0.9" and not data[: stream.tell()].endswith((b"\n\n", b"\n\r\n")):
                return Reading(tuple(seen), left=True)
            body = _stdlib_body(handler, stream)
        except (ValueError, http.client.HTTPException) as error:
            return Reading(tuple(seen), refused=f"{type(error).__name__}: {error}")
        if body is None:
            return Reading(tuple(seen), left=True)
        target = handler.requestline.split()[1].encode("latin-1")
        hosts = [value.encode("latin-1", "replace") for value in handler.headers.get_all("Host") or ()]
        seen.append(
            Seen(handler.command.upper().encode("latin-1", "replace"), target, effective_host(target, hosts), body)
        )


def _stdlib_body(handler: _Handler, stream: io.BytesIO) -> bytes | None:
    fields = getattr(handler, "headers", None)
    if fields is None:
        handler.headers = http.client.HTTPMessage()
        return b""
    if (fields.get("Transfer-Encoding") or "").lower() != "chunked":
        length = int(fields.get("Content-Length") or "0")
        if length < 0:
            raise ValueError("negative length")
        return _take(stream, length)
    body = b""
    while True:
        line = stream.readline(65537)
        if not line.endswith(b"\n"):
            return None
        size = int(line.split(b";")[0], 16)
        if size < 0:
            raise ValueError("negative size")
        if size == 0:
            break
        piece = _take(stream, size)
        if piece is None or _take(stream, 2) is None:
            return None
        body += piece
    while (line := stream.readline(65537)) not in (b"\r\n", b"\n"):
        if not line:
            return None
    return body


def _take(stream: io.BytesIO, count: int) -> bytes | None:
    """So many bytes, None when there are fewer."""
    piece = stream.read(min(count, _LARGE))
    return piece if len(piece) == count else None


READERS: Final[Mapping[str, Callable[[bytes], Reading]]] = {
    "h11": by_h11,
    "llhttp": by_llhttp,
    "aiohttp": by_aiohttp,
    "http.server": by_stdlib,
    **{
        profile.name: (lambda data, profile=profile: read_leniently(data, profile))  # type: ignore[misc]
        for profile in PROFILES
    },
}
