"""What the proxy reads from the bytes of a message, in one piece or in any pieces."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from proxy.http1.body import BodyError, ChunkedBody
from proxy.http1.head import (
    HeadBuffer,
    HeadError,
    RequestHead,
    ResponseError,
    ResponseHead,
    parse_request,
    parse_response,
    request_begins,
    response_begins,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_REQUEST_HEAD: Final = 32768
MAX_RESPONSE_HEAD: Final = 65536

Chunked: TypeAlias = tuple[ChunkedBody, bytes, bytes] | BodyError
NO_BODY: Final = frozenset((204, 304))


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request.

    `sent`: the body's bytes as they go on; `rest`: what comes behind it; `behind`: what comes behind the head.
    """

    head: RequestHead
    body: bytes
    sent: bytes
    rest: bytes
    behind: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response, or one that ends with the connection. `interims` are the 1xx heads before it.

    `sent`: the body's bytes as they came, but for chunk extensions and trailers that stay here; `behind`: what comes
    behind the head.
    """

    interims: tuple[ResponseHead, ...]
    head: ResponseHead
    has_body: bool
    body: bytes
    sent: bytes
    rest: bytes
    until_close: bool
    behind: bytes


def one_by_one(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def read_head(pieces: Iterable[bytes]) -> RequestHead | HeadError | None:
    """The first request's head in `pieces`, as a connection reads it: at once if it can be, or else collected."""
    try:
        head, _ = _request_head(iter(pieces))
    except HeadError as error:
        return error
    return head


def read_response_head(pieces: Iterable[bytes]) -> ResponseHead | ResponseError | None:
    """The first head in `pieces`, interim or final."""
    try:
        head, _ = _response_head(iter(pieces))
    except ResponseError as error:
        return error
    return head


def _request_head(pieces: Iterator[bytes]) -> tuple[RequestHead | None, bytes]:
    """A head, None when there is no whole one, and what came behind it with its last piece."""
    buffer = HeadBuffer(request_begins)
    for piece in pieces:
        data = buffer.add(piece, MAX_REQUEST_HEAD) if buffer else piece
        if data is not None:
            head = parse_request(data, max_bytes=MAX_REQUEST_HEAD)
            if head is not None:
                return head, data[head.end :]
            buffer.add(data, MAX_REQUEST_HEAD)
    return None, b""


def _response_head(pieces: Iterator[bytes]) -> tuple[ResponseHead | None, bytes]:
    """As `_request_head`."""
    buffer = HeadBuffer(response_begins)
    for piece in pieces:
        data = buffer.add(piece, MAX_RESPONSE_HEAD) if buffer else piece
        if data is not None:
            head = parse_response(data, max_bytes=MAX_RESPONSE_HEAD)
            if head is not None:
                return head, data[head.end :]
            buffer.add(data, MAX_RESPONSE_HEAD)
    return None, b""


def read_chunked(pieces: Iterable[bytes], *, decode: bool = False) -> Chunked:
    """(the body, what it sends on, what is behind it); pieces after its end are behind it too."""
    body = ChunkedBody(decode=decode)
    sent, rest = bytearray(), bytearray()
    for piece in pieces:
        if body.done:
            rest += piece
            continue
        try:
            out, behind = body.feed(piece)
        except BodyError as error:
            return error
        sent += out
        rest += behind
    return body, bytes(sent), bytes(rest)


def _read_body(pieces: list[bytes], *, chunked: bool, length: int) -> tuple[bytes, bytes, bytes] | None:
    """(payload, what is sent on, what is behind it), None while it is not whole. Raises BodyError."""
    if not chunked:
        data = b"".join(pieces)
        return (data[:length], data[:length], data[length:]) if len(data) >= length else None
    coded, decoded = read_chunked(pieces), read_chunked(pieces, decode=True)
    for reading in (coded, decoded):
        if isinstance(reading, BodyError):
            raise reading
    assert not isinstance(coded, BodyError)
    assert not isinstance(decoded, BodyError)
    return (decoded[1], coded[1], coded[2]) if coded[0].done else None


def read_request(pieces: Iterable[bytes]) -> Request | None:
    """None while it is not whole. Raises HeadError and BodyError."""
    coming = iter(pieces)
    head, behind = _request_head(coming)
    if head is None:
        return None
    pieces = [piece for piece in (behind, *coming) if piece]
    body = _read_body(pieces, chunked=head.fields.chunked, length=max(head.fields.length, 0))
    return body and Request(head, *body, b"".join(pieces))


def read_response(pieces: Iterable[bytes], method: bytes) -> Response | None:
    """None while it is not whole. Raises ResponseError and BodyError."""
    interims: list[ResponseHead] = []
    coming = iter(pieces)
    while True:
        head, behind = _response_head(coming)
        if head is None:
            return None
        coming = chain((behind,) if behind else (), coming)
        if head.status >= 200 or head.status == 101:
            break
        interims.append(head)
    pieces = list(coming)
    data = b"".join(pieces)
    before = tuple(interims)
    if method == b"HEAD" or head.status in NO_BODY or head.length == 0 or head.status == 101:
        return Response(before, head, False, b"", b"", data, False, data)
    if not head.chunked and head.length < 0:
        return Response(before, head, True, data, data, b"", True, data)
    body = _read_body(pieces, chunked=head.chunked, length=head.length)
    return body and Response(before, head, True, *body, False, data)
