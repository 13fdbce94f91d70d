"""What four clients read from the bytes that a server sent them: http.client, h11, llhttp and aiohttp's parser.

Each reader takes the bytes, the request's method, and whether the connection has ended, and answers with an `Answer`.
It never raises for any bytes. Interim responses (1xx but 101) are passed over, as clients do.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import h11
import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParserPy

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

_LARGE: Final = 1 << 20
WHOLE: Final = "whole"
WAITS: Final = "waits"
CUT: Final = "cut"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """`end` is whole, waits (for more), cut (by the connection's end) or refused. `surplus`: bytes behind its end."""

    end: str
    status: int = 0
    body: bytes = b""
    surplus: int = 0
    why: str = ""

    @property
    def failed(self) -> bool:
        """Whether the client sees that something went wrong."""
        return self.end in (CUT, REFUSED)

    def __str__(self) -> str:
        parts = [self.end, f"status {self.status}", f"body {self.body[:40]!r}"]
        parts += [f"{self.surplus} bytes behind it"] * bool(self.surplus) + [self.why] * bool(self.why)
        return ", ".join(parts)


def _unfinished(eof: bool) -> str:
    return CUT if eof else WAITS


def _interim(status: int) -> bool:
    return 100 <= status < 200 and status != 101


# --- http.client ---------------------------------------------------------------------------------------------------


class _Stream(io.BytesIO):
    """A file that says how far it was read even after its reader has closed it, and stands for the socket, too."""

    def makefile(self, _mode: str) -> _Stream:
        return self

    def close(self) -> None:
        """The position is asked for afterwards."""


def by_http_client(data: bytes, method: str, eof: bool) -> Answer:
    stream, status = _Stream(data), 0
    try:
        while True:
            if b"\n\r\n" not in data[stream.tell() :] and b"\n\n" not in data[stream.tell() :]:
                return Answer(_unfinished(eof))
            response = http.client.HTTPResponse(cast("socket.socket", stream), method=method)
            response.begin()
            status = response.status
            if not _interim(status):
                break
        until_end = response.length is None and not response.chunked and not response.isclosed()
        body = response.read()
    except http.client.IncompleteRead as error:
        return Answer(_unfinished(eof), status, error.partial)
    except (http.client.HTTPException, ValueError, OverflowError) as error:
        return Answer(REFUSED, status, why=f"{type(error).__name__}: {error}")
    if until_end and not eof:
        return Answer(WAITS, status, body)
    return Answer(WHOLE, status, body, len(data) - stream.tell())


# --- h11 -----------------------------------------------------------------------------------------------------------


def by_h11(data: bytes, method: str, eof: bool) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGE)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a.test")]))
    connection.send(h11.EndOfMessage())
    status, body, told = 0, bytearray(), False
    try:
        if data:  # to h11 no data is the end
            connection.receive_data(data)
        while True:
            event: Any = connection.next_event()
            if event is h11.NEED_DATA and eof and not told:
                told = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Answer(WHOLE, status, bytes(body), len(connection.trailing_data[0]))
            elif not isinstance(event, h11.InformationalResponse):
                return Answer(_unfinished(eof), status, bytes(body))
    except h11.RemoteProtocolError as error:
        return Answer(CUT if told else REFUSED, status, bytes(body), why=str(error))


# --- llhttp --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Callbacks:
    """Collects what llhttp reports of one response."""

    body: bytes = b""
    framed: bool = False
    head_done: bool = False
    done: bool = False

    def on_header(self, name: bytes, _value: bytes) -> None:
        self.framed = self.framed or (not self.head_done and name.lower() in (b"content-length", b"transfer-encoding"))

    def on_headers_complete(self) -> None:
        self.head_done = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True


def by_llhttp(data: bytes, method: str, eof: bool) -> Answer:
    """httptools can't tell llhttp of HEAD or of the end, so a HEAD's answer ends with its head."""
    at = 0
    while True:
        calls = _Callbacks()
        parser = httptools.HttpResponseParser(calls)
        status = 0
        try:
            while at < len(data) and not calls.done:
                parser.feed_data(data[at : at + 1])
                at += 1
                status = parser.get_status_code()
                if calls.head_done and method == "HEAD" and not _interim(status):
                    calls.done = True
        except httptools.HttpParserUpgrade:
            return Answer(WHOLE, parser.get_status_code(), b"", len(data) - at - 1)
        except httptools.HttpParserError as error:
            return Answer(REFUSED, status, calls.body, why=str(error))
        if calls.done and _interim(status):
            continue
        if calls.done or (calls.head_done and not calls.framed and eof):
            return Answer(WHOLE, status, calls.body, len(data) - at)
        return Answer(_unfinished(eof), status, calls.body)


# --- aiohttp -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Heard:
    """Messages that aiohttp's parser has given out, and where the data stood when the last was whole."""

    messages: list[Any] = field(default_factory=list)

    def final(self) -> Any:
        return next((pair for pair in self.messages if not _interim(pair[0].code)), None)


def by_aiohttp(data: bytes, method: str, eof: bool) -> Answer:
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        parser = HttpResponseParserPy(
            BaseProtocol(loop),
            loop,
            limit=_LARGE,
            max_line_size=_LARGE,
            max_headers=_LARGE,
            max_field_size=_LARGE,
            method=method,
            response_with_body=method != "HEAD",
            read_until_eof=True,
            auto_decompress=False,
        )
        heard, at, failure = _Heard(), 0, ""
        try:
            while at < len(data):
                messages, upgraded, _ = parser.feed_data(data[at : at + 1])
                at += 1
                heard.messages += messages
                final = heard.final()
                if final is not None and (upgraded or final[1].is_eof()):
                    return Answer(WHOLE, final[0].code, _read(final[1]), len(data) - at)
            if eof:
                parser.feed_eof()
        except (HttpProcessingError, ValueError) as error:
            failure = f"{type(error).__name__}: {error}"
        final = heard.final()
        status, body = (final[0].code, _read(final[1])) if final is not None else (0, b"")
        if failure:
            return Answer(REFUSED if at < len(data) else CUT, status, body, why=failure)
        if final is not None and final[1].is_eof():
            return Answer(WHOLE, status, body)
        return Answer(_unfinished(eof), status, body)


def _read(payload: Any) -> bytes:
    if payload.exception() is not None or not payload.total_bytes:
        return b""
    return cast("bytes", payload.read_nowait(-1))


CLIENTS: Final[Mapping[str, Callable[[bytes, str, bool], Answer]]] = {
    "http.client": by_http_client,
    "h11": by_h11,
    "llhttp": by_llhttp,
    "aiohttp": by_aiohttp,
}
