"""What must hold for any bytes: each check reads them as the proxy does and as independent parsers do.

A check returns what the proxy made of the bytes; it raises AssertionError when they have more than one meaning.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.http1.body import BodyError, ChunkedBody
from proxy.http1.head import HeadError, RequestHead, ResponseError
from proxy.http1.rewrite import Peer, forwarded_fields, interim_head, request_head, response_head, switching_head
from tests.fuzz import oracle, ours, readers
from tests.fuzz.readers import Message, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Reading = ours.Request | ours.Response | Exception | None

STATUSES: Final = frozenset((400, 405, 414, 417, 431, 501, 505))
REQUEST_ID: Final = b"0123456789abcdef"
DATE: Final = b"Sun, 06 Nov 1994 08:49:37 GMT"

LLHTTP_METHODS: Final = frozenset(
    b"DELETE GET HEAD POST PUT OPTIONS COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND ACL"
    b" REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK"
    b" QUERY".split()
)
_QUOTED: Final = re.compile(rb'"(?:\\.|[^"\\])*"')
_SPACE_IN_EXTENSION: Final = re.compile(rb"[ \t][;=]|[;=][ \t]")
CLIENTS: Final = (oracle.Client(b"192.0.2.7", b"8080", False), oracle.Client(b"192.0.2.7", b"8080", True))


def check_request(data: bytes) -> ours.Request | HeadError | BodyError | None:
    """One request at the start of `data`."""
    same_head(ours.read_head([data]), ours.read_head(ours.one_by_one(data)))
    request = read_request([data])
    same_message(request, read_request(ours.one_by_one(data)))
    if isinstance(request, (HeadError, BodyError)):
        assert request.status in STATUSES, request
        return request
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
            justify(refused, request.behind)
        else:
            _same_request(request, message, end - skipped)
    for client in CLIENTS:
        _forwarded_in_one_meaning(request, client)
    return request


def read_request(pieces: Iterable[bytes]) -> ours.Request | HeadError | BodyError | None:
    try:
        return ours.read_request(pieces)
    except (HeadError, BodyError) as error:
        return error


def _is_for_llhttp(head: RequestHead) -> bool:
    """It knows methods by name, where RFC 9110 section 9.1 has any token; and httptools takes a request that asks for
    an upgrade to end with its head, where RFC 9110 section 7.8 has the body first."""
    return head.method in LLHTTP_METHODS and not (head.fields.has_body and b"upgrade" in head.fields.block.lower())


def justify(refused: Refused, behind: bytes) -> None:
    """Passes where a parser is stricter than RFC 9112, in what the proxy does not forward as it came.

    `behind`: what comes behind the head, whose coding the proxy has accepted.
    """
    reason = str(refused)
    lines, trailers = oracle.chunk_lines(behind)
    if (
        "chunk header" in reason or "in chunk" in reason
    ):  # section 7.1.1 has white space around ";" and "=" parsed and removed; they don't
        assert any(_SPACE_IN_EXTENSION.search(_QUOTED.sub(b'""', line)) for line in lines), reason
    else:  # section 7.1.2 has framing among the trailers ignored; they take it for the head's
        assert "Content-Length" in reason or "Transfer-Encoding" in reason, reason
        assert {b"content-length", b"transfer-encoding"} & {name for name, _ in trailers}, reason


def same_head(whole: object, single: object) -> None:
    """What is refused whole is refused in pieces with the same answer, and no later; never is another head read."""
    if isinstance(whole, Exception):
        assert isinstance(single, Exception), (whole, single)
        assert getattr(whole, "status", None) == getattr(single, "status", None), (whole, single)
    else:
        assert _facts(whole) == _facts(single), (whole, single)


def _facts(head: object) -> object:
    return head and [getattr(head, name) for name in head.__slots__]  # type: ignore[attr-defined]


def same_message(whole: Reading, single: Reading) -> None:
    """Two readings of a message in other pieces: as refused, as open, or the same with nothing left over."""
    if whole is None or isinstance(whole, Exception):
        assert type(whole) is type(single), (whole, single)
        assert getattr(whole, "status", None) == getattr(single, "status", None), (whole, single)
        return
    assert single is not None
    assert not isinstance(single, Exception), single
    for name in whole.__dataclass_fields__:
        if name == "interims":
            assert list(map(_facts, whole.interims)) == list(map(_facts, single.interims))  # type: ignore[union-attr]
        elif name == "head":
            assert _facts(whole.head) == _facts(single.head)
        else:
            assert getattr(whole, name) == getattr(single, name), name


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
    fields = _fields_of(head.fields.block)
    assert _normal(other.fields) == _normal(fields)
    _same_persistence(head.fields.keep_alive, other, fields, head.minor)


def _same_persistence(keep_alive: bool, other: Message, fields: oracle.Fields, minor: int) -> None:
    """Whether the connection is kept (RFC 9112 section 9.3), worked out plainly, and as the parser says."""
    assert keep_alive == oracle.keeps_alive(fields, minor)
    if other.keep_alive is not None and keep_alive != other.keep_alive:
        # llhttp takes Proxy-Connection, which RFC 9110 does not have, for Connection, and in 1.0 looks at keep-alive
        # alone. The proxy reads neither so, and does not send on what it is read from.
        options = oracle.options(fields) + oracle.options(fields, b"proxy-connection")
        assert other.keep_alive == (b"close" not in options if minor else b"keep-alive" in options)


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
    response = read_response([data], method)
    same_message(response, read_response(ours.one_by_one(data), method))
    if response is None or isinstance(response, (ResponseError, BodyError)):
        return response
    head = response.head
    if head.status == 101 and not head.upgrade:
        return ResponseError("the response switches to no protocol")
    received = received_heads(data, response)
    _compare(response, received, lambda: readers.h11_response(data, method, eof=True, upgrade=head.upgrade), data)
    if method != b"HEAD" and not any(_claims_a_body(fields) for _, fields in received[:-1]):
        _compare(response, received, lambda: readers.llhttp_response(data), data)
    delivered_in_one_meaning(response, [fields for _, fields in received], method)
    return response


def _claims_a_body(fields: oracle.Fields) -> bool:
    """llhttp believes it of a 1xx, which has none whatever it says (RFC 9112 section 6.3). It goes out without."""
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in fields)


def read_response(pieces: Iterable[bytes], method: bytes) -> ours.Response | ResponseError | BodyError | None:
    try:
        return ours.read_response(pieces, method)
    except (ResponseError, BodyError) as error:
        return error


def received_heads(data: bytes, response: ours.Response) -> list[tuple[bytes, oracle.Fields]]:
    """Minor version and fields of the 1xx responses and of the final one, split in the plainest way."""
    heads = []
    for _ in (*response.interims, response.head):
        head, _, data = data.partition(b"\r\n\r\n")
        line, _, fields = (head + b"\r\n").partition(b"\r\n")
        heads.append((line[7:8], _fields_of(fields + b"\r\n")))
    return heads


def _compare(
    response: ours.Response,
    received: list[tuple[bytes, oracle.Fields]],
    read: Callable[[], Message | None],
    data: bytes,
) -> None:
    try:
        message = read()
    except Refused as refused:
        justify(refused, response.behind)
        return
    assert message is not None, "not whole"
    assert message.start == (b"%d" % response.head.status,)
    assert message.body == response.body
    assert message.end == len(data) - len(response.rest)
    *interims, (minor, fields) = received
    assert _normal(message.fields) == _normal(fields)
    assert [status for status, _ in message.interim] == [b"%d" % head.status for head in response.interims]
    assert [_normal(fields) for _, fields in message.interim] == [_normal(fields) for _, fields in interims]
    if response.head.status != 101 and not response.until_close:
        _same_persistence(response.head.keep_alive, message, fields, int(minor))


def delivered_in_one_meaning(response: ours.Response, received: list[oracle.Fields], method: bytes) -> None:
    """What goes to a client in 1.1, and to one in 1.0; `received`: the fields of each head."""
    head = response.head
    own = ((b"x-request-id", REQUEST_ID),)
    interims = tuple(
        (b"%d" % interim.status, oracle.response_fields(fields, interim.status, trailers=True))
        for interim, fields in zip(response.interims, received, strict=False)
    )
    before = b"".join(map(interim_head, response.interims))
    if head.status == 101:
        sent = before + switching_head(head, REQUEST_ID)
        own += ((b"connection", b"Upgrade"), (b"upgrade", oracle.upgrade(received[-1])))
        expected = Message((b"101",), oracle.response_fields(received[-1], 101, trailers=True) + own, b"", len(sent))
        _delivered(sent, replace(expected, interim=interims), method, upgrade=head.upgrade)
        return
    if not any(name == b"date" for name, _ in received[-1]):
        own += ((b"date", DATE),)
    chunked = response.has_body and head.length < 0
    body = response.sent
    if response.until_close:
        body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    for minor, coded in ((1, chunked), (0, False)):
        sent = b"" if not minor else before
        close = b"" if minor else b"Connection: close\r\n"
        sent += response_head(head, chunked=coded, connection=close, request_id=REQUEST_ID, date=DATE)
        sent += body if minor else response.body
        fields = oracle.response_fields(received[-1], head.status, trailers=coded) + own
        fields += ((b"transfer-encoding", b"chunked"),) * coded + ((b"connection", b"close"),) * (not minor)
        expected = Message((b"%d" % head.status,), fields, response.body, len(sent), bool(minor))
        _delivered(sent, replace(expected, interim=interims if minor else ()), method)


def _delivered(sent: bytes, expected: Message, method: bytes, upgrade: bytes = b"") -> None:
    """Parsers of clients read what is expected from the bytes, with the fields of each head in any order."""
    messages = [readers.h11_response(sent, method, eof=expected.keep_alive is False, upgrade=upgrade)]
    if method != b"HEAD":
        messages.append(readers.llhttp_response(sent))
    for message in messages:
        assert message is not None
        assert (message.start, message.body, message.end) == (expected.start, expected.body, expected.end)
        assert sorted(message.fields) == sorted(expected.fields)
        assert message.interim == expected.interim
        if None not in (message.keep_alive, expected.keep_alive):
            assert message.keep_alive == expected.keep_alive


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
                justify(refused, data)
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
