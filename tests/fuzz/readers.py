"""What two independent parsers, h11 and llhttp (by httptools), read from the bytes of a message.

Both answer with the same kind of `Message`, None while the message is not whole, or raise `Refused`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import h11
import httptools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]
_LARGE: Final = 1 << 20


class Refused(Exception):  # noqa: N818 - a verdict, not a fault
    """The parser does not accept the bytes."""


@dataclass(frozen=True, slots=True)
class Message:
    """`start` is (method, target) or (status,). Names are in lower case, values without white space around them.

    `end`: how many bytes belong to the message. `keep_alive`: whether another may follow, None when the parser does not
    tell. `interim`: status and fields of the 1xx responses before it.
    """

    start: tuple[bytes, ...]
    fields: Fields
    body: bytes
    end: int
    keep_alive: bool | None = None
    trailers: Fields = ()
    interim: tuple[tuple[bytes, Fields], ...] = ()


# --- h11 -----------------------------------------------------------------------------------------------------------


def h11_request(data: bytes) -> Message | None:
    return _whole_and_single(data, lambda pieces: _h11(_h11_connection(h11.SERVER), pieces, eof=False))


def h11_response(data: bytes, method: bytes, *, eof: bool, upgrade: bytes = b"") -> Message | None:
    fields = [(b"Host", b"a")]
    if upgrade:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]

    def read(pieces: Iterable[bytes]) -> Message | None:
        connection = _h11_connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target=b"/", headers=fields))
        connection.send(h11.EndOfMessage())
        return _h11(connection, pieces, eof=eof)

    return _whole_and_single(data, read)


def _h11_connection(role: Any) -> h11.Connection:
    return h11.Connection(role, max_incomplete_event_size=_LARGE)


def _whole_and_single(data: bytes, read: Callable[[Iterable[bytes]], Message | None]) -> Message | None:
    """What is read byte by byte, which must be the same in one piece."""
    message = read(_one_by_one(data))
    assert message == read([data])
    return message


def _h11(connection: h11.Connection, pieces: Iterable[bytes], *, eof: bool) -> Message | None:
    seen = _Events()
    try:
        for piece in (*pieces, *((b"",) if eof else ())):
            connection.receive_data(piece)
            seen.size += len(piece)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                message = seen.add(event, connection)
                if message is not None:
                    return message
                if event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    return None
    except h11.RemoteProtocolError as error:
        raise Refused(str(error)) from error
    return None


@dataclass(slots=True)
class _Events:
    """h11's events of one message; `size` is how many bytes it was fed."""

    start: tuple[bytes, ...] = ()
    fields: Fields = ()
    interim: tuple[tuple[bytes, Fields], ...] = ()
    version: bytes = b""
    body: bytearray = field(default_factory=bytearray)
    size: int = 0

    def add(self, event: Any, connection: h11.Connection) -> Message | None:
        """The message when `event` ends it."""
        if isinstance(event, h11.Request):
            self.start, self.fields, self.version = (event.method, event.target), _fields(event), event.http_version
        elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
            end = self.size - len(connection.trailing_data[0])
            return Message((b"101",), _fields(event), b"", end, None, (), self.interim)
        elif isinstance(event, h11.InformationalResponse):
            self.interim += ((b"%d" % event.status_code, _fields(event)),)
        elif isinstance(event, h11.Response):
            self.start, self.fields = (b"%d" % event.status_code,), _fields(event)
            self.version = event.http_version
        elif isinstance(event, h11.Data):
            self.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            end = self.size - len(connection.trailing_data[0])
            keep_alive = self._keep_alive(connection)
            return Message(self.start, self.fields, bytes(self.body), end, keep_alive, _fields(event), self.interim)
        return None

    def _keep_alive(self, connection: h11.Connection) -> bool | None:
        """It keeps no connection of 1.0, and of one that may be switched it does not tell."""
        if self.version != b"1.1" or connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
            return None
        return connection.their_state is h11.DONE


def _fields(event: Any) -> Fields:
    return tuple((bytes(name), bytes(value)) for name, value in event.headers)


# --- llhttp --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """llhttp's callbacks."""

    url: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    head_done: bool = False
    keep_alive: bool = False
    done: bool = False
    parser: Any = None

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        (self.trailers if self.head_done else self.fields).append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.head_done = True
        self.keep_alive = self.parser.should_keep_alive()

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
        assert whole == message
    return message


def llhttp_response(data: bytes) -> Message | None:
    """It can't be told of HEAD, nor of the connection's end: without a length the body is what came."""
    interim: tuple[tuple[bytes, Fields], ...] = ()
    position = 0
    while True:
        message = _llhttp(httptools.HttpResponseParser, data[position:], _one_by_one(data[position:]))
        if message is None:
            return None
        position += message.end
        if not message.start[0].startswith(b"1") or message.start[0] == b"101":
            return replace(message, end=position, interim=interim)
        interim += ((message.start[0], message.fields),)


def _one_by_one(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def _llhttp(make: Callable[[_Seen], Any], data: bytes, pieces: list[bytes]) -> Message | None:
    seen = _Seen()
    seen.parser = parser = make(seen)
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
    return Message(start, tuple(seen.fields), seen.body, end, seen.keep_alive, tuple(seen.trailers))


def _has_length(fields: list[tuple[bytes, bytes]]) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in fields)
