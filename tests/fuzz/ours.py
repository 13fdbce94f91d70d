"""What the proxy reads from the bytes of a message, in one piece or in any pieces."""

from __future__ import annotations

from dataclasses import dataclass
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
    """A whole request. `sent`: the body's bytes as they go on; `rest`: what comes behind it."""

    head: RequestHead
    body: bytes
    sent: bytes
    rest: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response, or one that ends with the connection. `interims` are the 1xx heads before it."""

    interims: tuple[ResponseHead, ...]
    head: ResponseHead
    has_body: bool
    body: bytes
    rest: bytes
    until_close: bool


def one_by_one(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def read_head(pieces: Iterable[bytes]) -> RequestHead | HeadError | None:
    """The first request's head in `pieces`, as a connection reads it: at once if it can be, or else collected."""
    buffer = HeadBuffer(request_begins)
    for piece in pieces:
        data = piece
        if buffer:
            whole = buffer.add(piece, MAX_REQUEST_HEAD)
            if whole is None:
                continue
            data = whole
        try:
            head = parse_request(data, max_bytes=MAX_REQUEST_HEAD)
        except HeadError as error:
            return error
        if head is not None:
            return head
        buffer.add(data, MAX_REQUEST_HEAD)
    return None


def read_response_head(pieces: Iterable[bytes]) -> ResponseHead | ResponseError | None:
    """The first head in `pieces`, interim or final."""
    buffer = HeadBuffer(response_begins)
    for piece in pieces:
        data = piece
        if buffer:
            whole = buffer.add(piece, MAX_RESPONSE_HEAD)
            if whole is None:
                continue
            data = whole
        try:
            head = parse_response(data, max_bytes=MAX_RESPONSE_HEAD)
        except ResponseError as error:
            return error
        if head is not None:
            return head
        buffer.add(data, MAX_RESPONSE_HEAD)
    return None


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


def read_request(data: bytes) -> Request | None:
    """None while it is not whole. Raises HeadError and BodyError."""
    head = parse_request(data, max_bytes=MAX_REQUEST_HEAD)
    if head is None:
        return None
    behind = data[head.end :]
    if head.fields.chunked:
        chunks, payload = ChunkedBody(), ChunkedBody(decode=True)
        sent, rest = chunks.feed(behind)
        body, _ = payload.feed(behind)
        return Request(head, body, sent, rest) if chunks.done else None
    length = max(head.fields.length, 0)
    if len(behind) < length:
        return None
    return Request(head, behind[:length], behind[:length], behind[length:])


def read_response(data: bytes, method: bytes) -> Response | None:
    """None while it is not whole. Raises ResponseError and BodyError."""
    interims: list[ResponseHead] = []
    while True:
        head = parse_response(data, max_bytes=MAX_RESPONSE_HEAD)
        if head is None:
            return None
        data = data[head.end :]
        if head.status >= 200 or head.status == 101:
            break
        interims.append(head)
    before = tuple(interims)
    if method == b"HEAD" or head.status in NO_BODY or head.length == 0 or head.status == 101:
        return Response(before, head, False, b"", data, False)
    if head.chunked:
        chunks = ChunkedBody(decode=True)
        body, rest = chunks.feed(data)
        return Response(before, head, True, body, rest, False) if chunks.done else None
    if head.length < 0:
        return Response(before, head, True, data, b"", True)
    if len(data) < head.length:
        return None
    return Response(before, head, True, data[: head.length], data[head.length :], False)
