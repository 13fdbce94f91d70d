"""Heads: bytes -> RequestHead or ResponseHead, None while incomplete, an error when refused.

A head is accepted by grammar, whole, and stays the bytes that came. Only the few fields that a proxy must understand
are looked at; the others are never split. A block of fields that is the same as the one before on its connection
(browsers and pools repeat theirs) is recognised by comparison and not looked at again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from proxy.errors import RequestError
from proxy.http1.grammar import (
    ABSOLUTE_FORM,
    CONTENT_LENGTH,
    FIELD_BLOCK,
    FIELD_LINE,
    HOST,
    PLAUSIBLE,
    REQUEST_LINE,
    RESPONSE_HEAD,
    STATUS_LINE,
    TOKEN,
    pick_fields,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_REQUEST_LINE: Final = 8192
"""RFC 9112 section 3 asks for at least 8,000."""

MAX_KNOWN: Final = 256
MAX_KNOWN_SIZE: Final = 2048
"""Bounds of the memory of response heads: entries, and bytes of each."""

VIA_PSEUDONYM: Final = b"switchyard"
MAX_PASSES: Final = 5
"""How often a request may have passed a Switchyard already; more is a loop (RFC 9110 section 7.6.3)."""

_REQUEST_FIELDS: Final = pick_fields(
    (
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade",
        "expect", "te", "proxy-authorization", "proxy-authenticate", "proxy", "x-forwarded-*", "forwarded", "x-real-ip",
        "via", "x-request-id", "max-forwards", "user-agent", "referer", "cookie",
    )
)  # fmt: skip
_RESPONSE_FIELDS: Final = pick_fields(
    (
        "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "te",
        "proxy-authenticate", "proxy-authorization", "x-request-id", "date",
    )
)  # fmt: skip

# RFC 9110 section 7.6.1 lets a sender name any field in Connection, to have the next hop drop it. These stay: they
# carry the framing or the identity of the request, or the proxy sets them itself.
_NOT_REMOVABLE: Final = frozenset(
    (
        b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"authorization",
        b"cookie", b"set-cookie", b"via", b"x-request-id", b"date", b"location", b"cache-control",
    )
)  # fmt: skip
_CONNECTION_OPTIONS: Final = frozenset((b"close", b"keep-alive", b"upgrade", b"te", b""))
_NOT_SERVED: Final = {b"CONNECT": 501, b"TRACE": 405}
_TOKEN: Final = re.compile(TOKEN)
_SOME_REQUEST_LINE: Final = re.compile(TOKEN + rb" [\x21-\x7e]++ (HTTP/[0-9]\.[0-9])\r?\n")


class HeadError(RequestError):
    """A request head that is refused: `status` is the answer, and the connection is closed after it."""

    part = "the request"

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status

    def __repr__(self) -> str:
        return f"HeadError({self.status}, {str(self)!r})"


class ResponseError(RequestError):
    """A backend's response that can't be understood in exactly one way."""

    status = 502
    part = "the application's response"


@dataclass(frozen=True, slots=True)
class RequestFields:
    """What the proxy must know of a request's fields.

    `kept` are the end-to-end field lines, ready to forward, without the empty line; Host and the framing fields are
    among them. `length` is -1 when there is no Content-Length. `block` is the bytes that all this was read from.
    `counts_hops`: whether `passes` or `max_forwards` says anything.
    """

    block: bytes
    minor: int
    kept: bytes
    host: bytes
    length: int
    chunked: bool
    keep_alive: bool
    upgrade: bytes
    expect_continue: bool
    te_trailers: bool
    passes: int
    max_forwards: int
    forwarded: tuple[tuple[bytes, bytes], ...]
    user_agent: bytes
    referer: bytes
    cookies: bytes
    has_body: bool
    counts_hops: bool


class RequestHead:
    """One request's head. `target` is what to forward: origin-form, or `*`. `end` is where the body begins."""

    __slots__ = ("authority", "end", "fields", "method", "minor", "target")

    def __init__(
        self, method: bytes, target: bytes, minor: int, fields: RequestFields, end: int, authority: bytes
    ) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.end = end
        self.authority = authority

    def __repr__(self) -> str:
        return f"<RequestHead {self.method.decode()} {self.target[:80].decode('latin-1')} HTTP/1.{self.minor}>"


class ResponseHead:
    """One response's head. `kept` are the end-to-end field lines; `length` is -1 without a Content-Length.

    `status_line` is ready to send, whatever minor version the backend speaks. `lines` are both. It is shared between
    responses that begin with the same bytes, so nothing changes it.

    `bodiless`: without a body, whatever the method (RFC 9112 section 6.3). `complete`: a client in HTTP/1.1 that may
    send another request can have it as it is.
    """

    __slots__ = (
        "bodiless",
        "chunked",
        "complete",
        "end",
        "has_date",
        "keep_alive",
        "kept",
        "length",
        "lines",
        "status",
        "status_line",
        "upgrade",
    )

    def __init__(
        self, status: int, status_line: bytes, kept: bytes, length: int, chunked: bool, keep_alive: bool,
        upgrade: bytes, has_date: bool, end: int,
    ) -> None:  # fmt: skip
        self.status = status
        self.status_line = status_line
        self.kept = kept
        self.lines = status_line + kept
        self.length = length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.has_date = has_date
        self.end = end
        self.bodiless = length == 0 or status == 204 or status == 304
        self.complete = has_date and (length >= 0 or self.bodiless)

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} length={self.length} chunked={self.chunked}>"


def parse_request(
    data: bytes, last: RequestFields | None = None, max_bytes: int = 32768, max_fields: int = 100
) -> RequestHead | None:
    """Reads one request head at the start of `data`, which may hold more; None while it is incomplete.

    `last` is the fields of the connection's previous request. Raises HeadError with the status to answer.
    """
    line = REQUEST_LINE.match(data)
    if line is None:
        if data.startswith(b"\r\n"):  # RFC 9112 section 2.2: at least one empty line before it is ignored
            line = REQUEST_LINE.match(data, 2)
        if line is None:
            _refuse_if_hopeless(data, max_bytes)
            return None
    start = line.end()
    if start > MAX_REQUEST_LINE and start - line.start() > MAX_REQUEST_LINE:
        raise HeadError(414, "the request line is too long")
    method, target, other, digit = line.groups()
    minor = 1 if digit == b"1" else 0
    if last is not None and last.minor == minor and data.startswith(last.block, start):
        fields = last
        end = start + len(last.block)
    else:
        block = FIELD_BLOCK.match(data, start)
        if block is None:
            _refuse_if_hopeless(data, max_bytes)
            return None
        end = block.end()
        fields = parse_request_fields(data[start - 1 : end], minor, max_fields)
    if end > max_bytes:
        raise HeadError(431, "the request's head is too large")
    if method != b"GET" and method in _NOT_SERVED:
        raise HeadError(_NOT_SERVED[method], f"{method.decode()} is not served here")
    authority = fields.host
    if target is None:
        target, authority = _other_target(method, other, authority)
    return RequestHead(method, target, minor, fields, end, authority)


def _other_target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """(target to forward, authority) for what is not origin-form (RFC 9112 section 3.2)."""
    if target == b"*" and method == b"OPTIONS":
        return target, host
    absolute = ABSOLUTE_FORM.fullmatch(target)
    if absolute is not None and valid_host(absolute[1]):
        path = absolute[2] or b""
        if path.startswith(b"/"):
            return path, absolute[1]
        return (b"*" if method == b"OPTIONS" and not path else b"/" + path), absolute[1]
    raise HeadError(400, "the request target is not valid")


def valid_host(value: bytes) -> bool:
    """Whether `value` is a host with an optional port from 0 to 65535."""
    match = HOST.fullmatch(value)
    return match is not None and int(match[1] or 0) <= 65535


def _refuse_if_hopeless(data: bytes, max_bytes: int) -> None:
    """Returns when more bytes may still make `data` a head; raises HeadError when none can."""
    start = 2 if data.startswith(b"\r\n") else 0
    line_end = data.find(b"\n", start)
    if (len(data) if line_end < 0 else line_end + 1) - start > MAX_REQUEST_LINE:
        raise HeadError(414, "the request line is too long")
    if line_end >= 0 and REQUEST_LINE.match(data, start) is None:
        some_line = _SOME_REQUEST_LINE.match(data, start)
        if some_line is not None and some_line[1] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise HeadError(505, "this version of HTTP is not served here")
        raise HeadError(400, "the request line is not valid")
    if data.find(b"\r\n\r\n", start) >= 0 or PLAUSIBLE.fullmatch(data, start) is None:
        raise HeadError(400, "a field of the request's head is not valid")
    if len(data) > max_bytes:
        raise HeadError(431, "the request's head is too large")


def _plainly_set(block: bytes, field: re.Match[bytes]) -> bool:
    """Whether at most one SP stands between the colon and the value.

    More is valid, but a parser that does not strip a tab reads another value: framing fields must not be open to that.
    """
    return block[field.end(1) + 1 : field.start(2)] in (b" ", b"")


def parse_request_fields(block: bytes, minor: int, max_fields: int = 100) -> RequestFields:
    """The fields of a block that FIELD_BLOCK has accepted, with the line feed before its first line.

    Raises HeadError for what is valid line by line and still not understood in one way by all
    (RFC 9112 sections 3.2, 6.1 and 6.3).
    """
    if block.count(b"\n") - 2 > max_fields:
        raise HeadError(431, "the request has too many fields")
    host: bytes | None = None
    length, chunked = -1, False
    expect = False
    passes, max_forwards = 0, -1
    options: list[bytes] = []
    upgrade = te = user_agent = referer = cookies = b""
    forwarded: list[tuple[bytes, bytes]] = []
    drop: list[tuple[int, int]] = []
    coding = b""
    for match in _REQUEST_FIELDS.finditer(block):
        name = match[1].lower()
        value = match[2].rstrip(b" \t")
        if name == b"user-agent":
            user_agent = value
            continue
        if name == b"referer":
            referer = value
            continue
        if name == b"cookie":
            cookies = b"%b; %b" % (cookies, value) if cookies else value
            continue
        if name == b"host":
            if host is not None:
                raise HeadError(400, "the request has more than one Host")
            if not valid_host(value):
                raise HeadError(400, "the request's Host is not valid")
            host = value
            continue
        if name == b"content-length":
            if length >= 0 or CONTENT_LENGTH.fullmatch(match[2]) is None or not _plainly_set(block, match):
                raise HeadError(400, "the request's Content-Length is not valid")
            length = int(value)
            continue
        if name == b"transfer-encoding":
            # Also when several fields say so: only one coding, once, is understood the same way everywhere.
            if chunked or minor == 0 or match[2].lower() != b"chunked" or not _plainly_set(block, match):
                raise HeadError(400, "the request's Transfer-Encoding is not valid")
            chunked = True
            if match[2] == b"chunked":
                continue
            # "Chunked" is valid, but a backend that compares it as it is would find no body, and then a second request.
            coding = b"Transfer-Encoding: chunked\r\n"
        if name == b"via":
            passes += value.lower().count(VIA_PSEUDONYM)
            continue
        if name == b"expect":
            if value.lower() != b"100-continue":
                raise HeadError(417, "the request expects what is not served here")
            expect = minor == 1  # RFC 9110 section 10.1.1: ignored in a 1.0 request
            if expect:
                continue
        elif name == b"max-forwards":
            if value.isdigit() and len(value) < 10:
                max_forwards = int(value)
            continue
        elif name == b"connection":
            options += [option.strip(b" \t") for option in value.lower().split(b",")]
        elif name == b"upgrade":
            upgrade = _joined(upgrade, value)
        elif name == b"te":
            te += b"," + value.lower()
        elif name in (
            b"x-forwarded-for",
            b"x-forwarded-proto",
            b"x-forwarded-host",
            b"x-forwarded-port",
            b"forwarded",
        ):
            forwarded.append((name, value))
        drop.append((match.start() + 1, match.end() + 2))
    if chunked and length >= 0:
        raise HeadError(400, "the request has both Content-Length and Transfer-Encoding")
    if host is None and minor == 1:
        raise HeadError(400, "the request has no Host")
    named = [option for option in options if option not in _CONNECTION_OPTIONS]
    if b"upgrade" not in options or minor == 0 or chunked or length > 0 or _offers_h2c(upgrade):
        upgrade = b""
    return RequestFields(
        block=block[1:],
        minor=minor,
        kept=_without(block, drop, named) + coding,
        host=host or b"",
        length=length,
        chunked=chunked,
        keep_alive=b"close" not in options and (minor == 1 or b"keep-alive" in options),
        upgrade=upgrade,
        expect_continue=expect,
        te_trailers=minor == 1 and b"trailers" in [coding.strip(b" \t") for coding in te.split(b",")],
        passes=passes,
        max_forwards=max_forwards,
        forwarded=tuple(forwarded),
        user_agent=user_agent,
        referer=referer,
        cookies=cookies,
        has_body=chunked or length > 0,
        counts_hops=passes > 0 or max_forwards >= 0,
    )


def _joined(protocols: bytes, line: bytes) -> bytes:
    """The protocols of Upgrade with those of one more line (RFC 9110 section 5.3); an empty list offers nothing."""
    if not line.strip(b", \t"):
        return protocols
    return b"%b, %b" % (protocols, line) if protocols else line


def _offers_h2c(upgrade: bytes) -> bool:
    """Whether HTTP/2 is among the protocols: requests in it would pass the proxy unseen."""
    return any(protocol.strip(b" \t").startswith(b"h2c") for protocol in upgrade.lower().split(b","))


def _without(block: bytes, drop: list[tuple[int, int]], named: list[bytes]) -> bytes:
    """The block's lines but for the spans in `drop` and the fields in `named`; no empty line at the end."""
    if drop:
        pieces = []
        position = 1
        for start, end in drop:
            pieces.append(block[position:start])
            position = end
        pieces.append(block[position:-2])
        kept = b"".join(pieces)
    else:
        kept = block[1:-2]
    removable = {name for name in named if name not in _NOT_REMOVABLE and _TOKEN.fullmatch(name)}
    if removable:
        kept = b"".join(line[0] for line in FIELD_LINE.finditer(kept) if line[1].lower() not in removable)
    return kept


class KnownHeads:
    """Response heads by their bytes. Under load many are the same for as long as their Date is.

    Then a head costs a look-up instead of a parse (measured: a fifth of the time), and one that is the same as the one
    before, which `last` is with its bytes, a comparison.
    """

    __slots__ = ("_heads", "last")

    def __init__(self) -> None:
        self._heads: dict[bytes, ResponseHead] = {}
        self.last: tuple[bytes, ResponseHead] | None = None

    def __len__(self) -> int:
        return len(self._heads)

    def __repr__(self) -> str:
        return f"<KnownHeads {len(self._heads)}>"

    def find(self, data: bytes) -> ResponseHead | None:
        """The head at the start of `data`, if it is known."""
        known = data[: data.find(b"\r\n\r\n") + 4]
        head = self._heads.get(known)
        if head is not None:
            self.last = (known, head)
        return head

    def remember(self, data: bytes, head: ResponseHead) -> None:
        """`head` was read from the start of `data`."""
        if head.end <= MAX_KNOWN_SIZE:
            if len(self._heads) >= MAX_KNOWN:
                self._heads.clear()
            known = data[: head.end]
            self._heads[known] = head
            self.last = (known, head)


def parse_response(
    data: bytes, known: KnownHeads | None = None, max_bytes: int = 65536, max_fields: int = 100
) -> ResponseHead | None:
    """Reads one response head at the start of `data`; None while it is incomplete; raises ResponseError."""
    if known is None:
        return _parse_response(data, max_bytes, max_fields)
    last = known.last
    if last is not None and data[: last[1].end] == last[0]:
        return last[1]
    head = known.find(data)
    if head is None:
        head = _parse_response(data, max_bytes, max_fields)
        if head is not None:
            known.remember(data, head)
    return head


def _parse_response(data: bytes, max_bytes: int, max_fields: int) -> ResponseHead | None:
    match = RESPONSE_HEAD.match(data)
    if match is None:
        if b"\r\n\r\n" in data or PLAUSIBLE.fullmatch(data) is None or response_begins(data) is False:
            raise ResponseError("the response's head is not valid")
        if len(data) > max_bytes:
            raise ResponseError("the response's head is too large")
        return None
    end = match.end()
    if end > max_bytes:
        raise ResponseError("the response's head is too large")
    minor, status, reason = match[1] == b"1", int(match[2]), match[3]
    length, chunked, has_date = -1, False, False
    plain_length = b""
    options: list[bytes] = []
    upgrade = b""
    drop: list[tuple[int, int]] = []
    first_line_end = match.start(4) - 1
    block = data[first_line_end:end]
    if block.count(b"\n") - 2 > max_fields:
        raise ResponseError("the response has too many fields")
    for field in _RESPONSE_FIELDS.finditer(block):
        name = field[1].lower()
        if name == b"date":
            has_date = True
            continue
        value = field[2].rstrip(b" \t")
        if name == b"content-length":
            if length >= 0 or CONTENT_LENGTH.fullmatch(field[2]) is None:
                raise ResponseError("the response's Content-Length is not valid")
            length = int(value)
            if status >= 200 and status != 204:
                if _plainly_set(block, field):
                    continue
                plain_length = b"Content-Length: %b\r\n" % value
        elif name == b"transfer-encoding":
            if chunked or not minor or field[2].lower() != b"chunked":
                raise ResponseError("the response's Transfer-Encoding is not valid")
            chunked = True
        elif name == b"connection":
            options += [option.strip(b" \t") for option in value.lower().split(b",")]
        elif name == b"upgrade":
            upgrade = _joined(upgrade, value)
        drop.append((field.start() + 1, field.end() + 2))
    if chunked and length >= 0:
        raise ResponseError("the response has both Content-Length and Transfer-Encoding")
    named = [option for option in options if option not in _CONNECTION_OPTIONS]
    return ResponseHead(
        status=status,
        status_line=b"HTTP/1.1 %d %b\r\n" % (status, reason or b""),
        kept=_without(block, drop, named) + plain_length,
        length=length,
        chunked=chunked,
        keep_alive=b"close" not in options and (minor or b"keep-alive" in options),
        upgrade=upgrade if b"upgrade" in options else b"",
        has_date=has_date,
        end=end,
    )


Beginning: TypeAlias = "Callable[[bytes | bytearray, int], bool | None]"
"""Whether bytes begin as a head must, told by its first line; None while that is open.

The second argument: how many bytes were looked at before, and it was open.
"""


def request_begins(data: bytes | bytearray, seen: int = 0) -> bool | None:
    """See Beginning. What begins in no other way than a request's head is for the parser to judge."""
    start = 2 if data.startswith(b"\r\n") else 0
    end = data.find(b"\n", max(start, seen)) + 1
    if (end or len(data)) - start > MAX_REQUEST_LINE:
        return False
    return REQUEST_LINE.match(data, start) is not None if end else None


def response_begins(data: bytes | bytearray, seen: int = 0) -> bool | None:
    """See Beginning."""
    if not b"HTTP/1.".startswith(bytes(data[:7])):
        return False
    return STATUS_LINE.match(data) is not None if data.find(b"\n", seen) >= 0 else None


class HeadBuffer:
    """Collects a head that comes in pieces, so that each byte is looked at once however small the pieces are.

    With `begins` a first line that is not valid is handed back as soon as it is whole, not at the deadline.
    """

    __slots__ = ("_begins", "_bytes", "_open", "_searched")

    def __init__(self, begins: Beginning | None = None) -> None:
        self._begins = begins
        self._bytes = bytearray()
        self._open = True  # whether the first line is to be looked at
        self._searched = 0

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def blank(self) -> bool:
        """Whether all that has come is a line's end, as some clients send after a request (RFC 9112 section 2.2)."""
        return bytes(self._bytes[:3]) in (b"\r", b"\r\n")

    def __repr__(self) -> str:
        return f"<HeadBuffer {len(self._bytes)} bytes>"

    def add(self, data: bytes, max_bytes: int) -> bytes | None:
        """All bytes so far when they hold an empty line, something no head contains or begins with, or too much.

        Else None. What it returns is to be parsed: the parser has the verdict.
        """
        self._bytes += data
        seen = self._searched
        start = max(0, seen - 3)
        self._searched = len(self._bytes)
        if (
            self._bytes.find(b"\r\n\r\n", start) < 0
            and PLAUSIBLE.fullmatch(self._bytes, start) is not None
            and self._searched <= max_bytes
            and self._may_begin(seen)
        ):
            return None
        whole = bytes(self._bytes)
        self.clear()
        return whole

    def _may_begin(self, seen: int) -> bool:
        if not self._open or self._begins is None:
            return True
        begins = self._begins(self._bytes, seen)
        self._open = begins is None
        return begins is not False

    def clear(self) -> None:
        self._bytes.clear()
        self._open = True
        self._searched = 0
