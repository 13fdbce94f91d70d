"""What must hold for any bytes: each check reads them as the proxy does and as independent parsers do.

A check returns what the proxy made of the bytes; it raises AssertionError when they have more than one meaning.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.http1.body import BodyError, ChunkedBody
from proxy.http1.head import HeadError, RequestHead, ResponseError
from proxy.http1.rewrite import Peer, forwarded_fields, interim_head, request_head, response_head, switching_head
from tests.fuzz import oracle, ours, readers
from tests.fuzz.readers import Message, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

STATUSES: Final = frozenset((400, 405, 414, 417, 431, 501, 505))
REQUEST_ID: Final = b"0123456789abcdef"
DATE: Final = b"Sun, 06 Nov 1994 08:49:37 GMT"

LLHTTP_METHODS: Final = frozenset(
    b"DELETE GET HEAD POST PUT OPTIONS COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND ACL"
    b" REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK"
    b" QUERY".split()
)
_SPACE_IN_EXTENSION: Final = re.compile(rb"[ \t][;=]|[;=][ \t]")
CLIENTS: Final = (oracle.Client(b"192.0.2.7", b"8080", False), oracle.Client(b"192.0.2.7", b"8080", True))


def check_request(data: bytes) -> ours.Request | HeadError | BodyError | None:
    """One request at the start of `data`."""
    same_head(ours.read_head([data]), ours.read_head(ours.one_by_one(data)))
    try:
        request = ours.read_request(data)
    except (HeadError, BodyError) as error:
        return _documented(error)
    if request is None:
        return None
    end = len(data) - len(request.rest)
    start = 2 if data.startswith(b"\r\n") else 0  # the one empty line that is skipped; h11 skips none
    for read, skipped in ((readers.h11_request, start), (readers.llhttp_request, 0)):
        if read is readers.llhttp_request and not _is_for_llhttp(request.head):
            continue
        try:
            message = read(data[skipped:])
        except Refused as refused:
            _justify(refused, data)
        else:
            _same_request(request, message, end - skipped)
    for client in CLIENTS:
        _forwarded_in_one_meaning(request, client)
    return request


def _is_for_llhttp(head: RequestHead) -> bool:
    """It knows methods by name, where RFC 9110 section 9.1 has any token; and httptools takes a request that asks for
    an upgrade to end with its head, where RFC 9110 section 7.8 has the body first."""
    return head.method in LLHTTP_METHODS and not (head.fields.has_body and b"upgrade" in head.fields.block.lower())


def _documented(error: HeadError | BodyError) -> HeadError | BodyError:
    assert error.status in STATUSES, error
    return error


def _justify(refused: Refused, message: bytes) -> None:
    """Passes where a parser is stricter than RFC 9112, in what the proxy does not forward as it came."""
    reason, body = str(refused), message.partition(b"\r\n\r\n")[2]
    if (
        "chunk header" in reason or "in chunk" in reason
    ):  # section 7.1.1 has white space around ";" and "=" parsed and removed; they don't
        assert _SPACE_IN_EXTENSION.search(body), reason
    else:  # section 7.1.2 has framing among the trailers ignored; they take it for the head's
        assert "Content-Length" in reason or "Transfer-Encoding" in reason, reason
        assert b"content-length" in body.lower() or b"transfer-encoding" in body.lower(), reason


def same_head(whole: object, single: object) -> None:
    """What is refused whole is refused in pieces with the same answer, and no later; never is another head read."""
    if isinstance(whole, Exception):
        assert isinstance(single, Exception), (whole, single)
        assert getattr(whole, "status", None) == getattr(single, "status", None), (whole, single)
    else:
        assert _facts(whole) == _facts(single), (whole, single)


def _facts(head: object) -> object:
    return head and [getattr(head, name) for name in head.__slots__]  # type: ignore[attr-defined]


def _same_request(request: ours.Request, other: Message | None, end: int) -> None:
    assert other is not None, "not whole"
    head = request.head
    method, target = other.start
    assert method == head.method
    if target.startswith(b"/") or target == b"*":
        assert target == head.target
    else:
        scheme, _, rest = target.partition(b"://")
        assert scheme.lower() in (b"http", b"https")
        assert rest.startswith(head.authority)
        assert head.target.lstrip(b"/*") == rest[len(head.authority) :].lstrip(b"/")
    assert other.body == request.body
    assert other.end == end
    assert _normal(other.fields) == _normal(_fields_of(head.fields.block))


def _fields_of(block: bytes) -> oracle.Fields:
    lines = block.split(b"\r\n")[:-2]
    pairs = (line.partition(b":") for line in lines)
    return tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs)


def _normal(fields: oracle.Fields) -> oracle.Fields:
    """h11 tells a coding in lower case."""
    return tuple((name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields)


def _forwarded_in_one_meaning(request: ours.Request, client: oracle.Client) -> None:
    head = request.head
    peer = Peer(client.address, b"http", client.port, client.trusted)
    sent_head = request_head(head, forwarded_fields(head.fields, head.authority, peer), REQUEST_ID)
    sent = sent_head + request.sent
    fields = oracle.request_fields(_fields_of(head.fields.block), head.minor, head.authority, client)
    fields += ((b"x-request-id", REQUEST_ID),)
    by_parsers = [readers.h11_request(sent)]
    if head.method in LLHTTP_METHODS:
        by_parsers.append(readers.llhttp_request(sent))
    for message in by_parsers:
        assert message is not None
        assert message.start == (head.method, head.target)
        assert message.fields == fields
        assert message.body == request.body
        assert message.end == len(sent)
    names = [name for name, _ in fields]
    assert names.count(b"host") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1


def check_response(data: bytes, method: bytes = b"GET") -> ours.Response | ResponseError | BodyError | None:
    """The responses to one request at the start of `data`, behind which the connection ends."""
    same_head(ours.read_response_head([data]), ours.read_response_head(ours.one_by_one(data)))
    try:
        response = ours.read_response(data, method)
    except (ResponseError, BodyError) as error:
        return error
    if response is None:
        return None
    end = len(data) - len(response.rest)
    head = response.head
    if head.status == 101 and not head.upgrade:
        return ResponseError("the response switches to no protocol")
    _compare(response, lambda: readers.h11_response(data, method, eof=True, upgrade=head.upgrade), end, data)
    if method != b"HEAD":
        _compare(response, lambda: readers.llhttp_response(data), end, data)
    _delivered_in_one_meaning(response, _response_fields_of(data, response), method)
    return response


def _response_fields_of(data: bytes, response: ours.Response) -> oracle.Fields:
    """The final head's fields, split in the plainest way."""
    for _ in response.interims:
        data = data.partition(b"\r\n\r\n")[2]
    head = data.partition(b"\r\n\r\n")[0]
    return _fields_of((head + b"\r\n\r\n").partition(b"\r\n")[2]) if b"\r\n" in head else ()


def _compare(response: ours.Response, read: Callable[[], Message | None], end: int, data: bytes) -> None:
    try:
        message = read()
    except Refused as refused:
        _justify(refused, data)
        return
    assert message is not None, "not whole"
    assert message.start == (b"%d" % response.head.status,)
    assert message.body == response.body
    assert message.end == end
    assert len(message.interim) == len(response.interims)


def _delivered_in_one_meaning(response: ours.Response, received: oracle.Fields, method: bytes) -> None:
    head = response.head
    chunked = response.has_body and head.length < 0
    fields = oracle.response_fields(received, head.status, trailers=chunked)
    if head.status == 101:
        sent = switching_head(head, REQUEST_ID)
        by_h11 = readers.h11_response(sent, method, eof=False, upgrade=head.upgrade)
        assert by_h11 is not None
        assert by_h11.end == len(sent)
        return
    body = response.body
    if chunked:
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    sent = b"".join(map(interim_head, response.interims))
    sent += response_head(head, chunked=chunked, connection=b"", request_id=REQUEST_ID, date=DATE) + body
    messages = [readers.h11_response(sent, method, eof=False)]
    if method != b"HEAD":
        messages.append(readers.llhttp_response(sent))
    if not any(name == b"date" for name, _ in fields):
        fields += ((b"date", DATE),)
    if chunked:
        fields += ((b"transfer-encoding", b"chunked"),)
    fields += ((b"x-request-id", REQUEST_ID),)
    for message in messages:
        assert message is not None
        assert message.start == (b"%d" % head.status,)
        assert message.end == len(sent)
        assert message.body == response.body
        assert sorted(message.fields) == sorted(fields)


def check_chunked(data: bytes) -> ChunkedBody | BodyError:
    """One body in chunked coding at the start of `data`."""
    whole = ours.read_chunked([data])
    single = ours.read_chunked(ours.one_by_one(data))
    decoded = ours.read_chunked([data], decode=True)
    same_chunked(whole, single)
    if isinstance(whole, BodyError):
        assert isinstance(decoded, BodyError)
        return whole
    assert not isinstance(decoded, BodyError)
    body, sent, rest = whole
    assert (body.done, body.payload, rest) == (decoded[0].done, len(decoded[1]), decoded[2])
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for read in (readers.h11_request, readers.llhttp_request):
        forwarded = read(head + sent)
        try:
            received = read(head + data)
        except Refused as refused:
            # What is not whole may still be refused here, once its line is whole.
            if body.done or not isinstance(ours.read_chunked([data, b"\r\n\r\n"]), BodyError):
                _justify(refused, head + data)
            assert (forwarded is not None) == body.done
            assert forwarded is None or forwarded.body == decoded[1]
            continue
        if not body.done:
            assert received is None
            assert forwarded is None
            continue
        assert received is not None
        assert forwarded is not None
        assert received.end == len(head) + len(data) - len(rest)
        assert forwarded.end == len(head) + len(sent)
        assert received.body == forwarded.body == decoded[1]
        assert set(forwarded.trailers) <= set(received.trailers)
    return body


def same_chunked(whole: ours.Chunked, other: ours.Chunked) -> None:
    """Two readings of a body in other pieces."""
    if isinstance(whole, BodyError):
        assert isinstance(other, BodyError), other
    else:
        assert not isinstance(other, BodyError), other
        assert (whole[0].done, whole[0].payload, *whole[1:]) == (other[0].done, other[0].payload, *other[1:])


def refused_by(read: str, data: bytes, kind: str, method: bytes = b"GET") -> bool:
    """Whether the parser named `read` refuses `data`, or waits for more of it."""
    readings = {
        ("h11", "request"): lambda: readers.h11_request(data),
        ("llhttp", "request"): lambda: readers.llhttp_request(data),
        ("h11", "response"): lambda: readers.h11_response(data, method, eof=True),
        ("llhttp", "response"): lambda: readers.llhttp_response(data),
    }
    try:
        return readings[read, kind]() is None
    except Refused:
        return True
