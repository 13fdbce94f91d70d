"""What two independent parsers, h11 and llhttp (by httptools), read from the bytes of a message.

Both answer with the same kind of `Message`, None while the message is not whole, or raise `Refused`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import h11
import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE: Final = 1 << 20


class Refused(Exception):  # noqa: N818 - a verdict, not a fault
    """The parser does not accept the bytes."""


@dataclass(frozen=True, slots=True)
class Message:
    """`start` is (method, target) or (status,). Names are in lower case, values without white space around them.

    `end`: how many bytes belong to the message. `interim`: the statuses of the 1xx responses before it.
    """

    start: tuple[bytes, ...]
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    end: int
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    interim: tuple[bytes, ...] = ()


# --- h11 -----------------------------------------------------------------------------------------------------------


def h11_request(data: bytes) -> Message | None:
    return _h11(h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGE), data, eof=False)


def h11_response(data: bytes, method: bytes, *, eof: bool, upgrade: bytes = b"") -> Message | None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGE)
    fields = [(b"Host", b"a")]
    if upgrade:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    connection.send(h11.Request(method=method, target=b"/", headers=fields))
    connection.send(h11.EndOfMessage())
    return _h11(connection, data, eof=eof)


def _h11(connection: h11.Connection, data: bytes, *, eof: bool) -> Message | None:
    start: tuple[bytes, ...] = ()
    fields: tuple[tuple[bytes, bytes], ...] = ()
    interim: tuple[bytes, ...] = ()
    body = bytearray()
    closed = False
    try:
        connection.receive_data(data)
        while True:
            event: Any = connection.next_event()
            if event is h11.NEED_DATA:
                if closed or not eof:
                    return None
                closed = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Request):
                start, fields = (event.method, event.target), tuple(event.headers)
            elif isinstance(event, h11.InformationalResponse):
                interim += (b"%d" % event.status_code,)
                if event.status_code == 101:
                    return Message((b"101",), tuple(event.headers), b"", len(data) - len(connection.trailing_data[0]))
            elif isinstance(event, h11.Response):
                start, fields = (b"%d" % event.status_code,), tuple(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                end = len(data) - len(connection.trailing_data[0])
                return Message(start, fields, bytes(body), end, tuple(event.headers), interim)
            else:
                return None
    except h11.RemoteProtocolError as error:
        raise Refused(str(error)) from error


# --- llhttp --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """llhttp's callbacks."""

    url: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    head_done: bool = False
    done: bool = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        (self.trailers if self.head_done else self.fields).append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.head_done = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True


def llhttp_request(data: bytes) -> Message | None:
    """Reads `data` byte by byte, and once more in one piece, which must give the same."""
    message = _llhttp(httptools.HttpRequestParser, data, _one_by_one(data))
    if message is not None:
        whole = _llhttp(httptools.HttpRequestParser, data, [data[: message.end]])
        assert whole is not None
        assert (whole.start, whole.fields, whole.body) == (message.start, message.fields, message.body)
    return message


def llhttp_response(data: bytes) -> Message | None:
    """It can't be told of HEAD, nor of the connection's end: without a length the body is what came."""
    interim: tuple[bytes, ...] = ()
    position = 0
    while True:
        message = _llhttp(httptools.HttpResponseParser, data[position:], _one_by_one(data[position:]))
        if message is None:
            return None
        position += message.end
        if not message.start[0].startswith(b"1") or message.start[0] == b"101":
            return Message(message.start, message.fields, message.body, position, message.trailers, interim)
        interim += message.start


def _one_by_one(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def _llhttp(make: Callable[[_Seen], Any], data: bytes, pieces: list[bytes]) -> Message | None:
    seen = _Seen()
    parser = make(seen)
    end = 0
    try:
        for piece in pieces:
            end += len(piece)
            parser.feed_data(piece)
            if seen.done:
                break
    except httptools.HttpParserUpgrade as upgrade:
        end -= len(piece) - upgrade.args[0]
    except httptools.HttpParserError as error:
        raise Refused(str(error)) from error
    is_request = isinstance(parser, httptools.HttpRequestParser)
    if not seen.done and (is_request or not seen.head_done or _has_length(seen.fields)):
        return None
    start = (parser.get_method(), seen.url) if is_request else (b"%d" % parser.get_status_code(),)
    return Message(start, tuple(seen.fields), seen.body, end, tuple(seen.trailers))


def _has_length(fields: list[tuple[bytes, bytes]]) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in fields)
