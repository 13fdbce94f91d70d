"""What a head says; tests/fuzz/corpus has what it must not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.head import (
    MAX_KNOWN,
    MAX_KNOWN_SIZE,
    HeadBuffer,
    HeadError,
    KnownHeads,
    RequestFields,
    RequestHead,
    ResponseError,
    ResponseHead,
    parse_response,
    request_begins,
    response_begins,
    valid_host,
)
from proxy.http1.head import parse_request as parse
from tests.fuzz import mutate

if TYPE_CHECKING:
    import random


def request(*fields: str, line: str = "GET / HTTP/1.1", host: str = "Host: a") -> RequestHead:
    head = parse("\r\n".join((line, *filter(None, (host, *fields)), "", "")).encode("latin-1"))
    assert head is not None
    return head


def fields_of(*fields: str, line: str = "GET / HTTP/1.1") -> RequestFields:
    return request(*fields, line=line).fields


def response(*fields: str, line: str = "HTTP/1.1 200 OK") -> ResponseHead:
    head = parse_response("\r\n".join((line, *fields, "", "")).encode("latin-1"))
    assert head is not None
    return head


# --- requests ------------------------------------------------------------------------------------------------------


def test_a_request_says_what_it_is() -> None:
    data = b"POST /a?b HTTP/1.1\r\nHost: shop:80\r\nContent-Length: 3\r\n\r\nabc"
    head = parse(data)
    assert head is not None
    assert (head.method, head.target, head.minor, head.authority) == (b"POST", b"/a?b", 1, b"shop:80")
    assert data[head.end :] == b"abc"
    assert (head.fields.length, head.fields.chunked, head.fields.has_body) == (3, False, True)
    assert repr(head) == "<RequestHead POST /a?b HTTP/1.1>"


def test_what_is_kept_is_byte_for_byte_what_came() -> None:
    fields = fields_of("aCCept:  x ", "Connection: close", "X-B:\ty", "Cookie: a=b")
    assert fields.kept == b"Host: a\r\naCCept:  x \r\nX-B:\ty\r\nCookie: a=b\r\n"
    assert fields.block == b"Host: a\r\naCCept:  x \r\nConnection: close\r\nX-B:\ty\r\nCookie: a=b\r\n\r\n"


def test_the_log_and_the_barrier_get_their_fields() -> None:
    fields = fields_of("User-Agent: curl/8 ", "REFERER: http://x/", "Cookie: a=1", "cookie: b=2")
    assert (fields.user_agent, fields.referer, fields.cookies) == (b"curl/8", b"http://x/", b"a=1; b=2")
    nothing = fields_of()
    assert (nothing.user_agent, nothing.referer, nothing.cookies) == (b"", b"", b"")


@pytest.mark.parametrize(
    ("line", "connection", "keeps"),
    [
        ("GET / HTTP/1.1", None, True),
        ("GET / HTTP/1.1", "close", False),
        ("GET / HTTP/1.1", "Keep-Alive, CLOSE", False),
        ("GET / HTTP/1.1", "x,close\t", False),
        ("GET / HTTP/1.1", "closed", True),
        ("GET / HTTP/1.0", None, False),
        ("GET / HTTP/1.0", "Keep-Alive", True),
        ("GET / HTTP/1.0", "keep-alive, close", False),
    ],
)
def test_keep_alive(line: str, connection: str | None, keeps: bool) -> None:
    fields = [] if connection is None else [f"Connection: {connection}"]
    assert fields_of(*fields, line=line).keep_alive is keeps
    status_line = line.removeprefix("GET / ") + " 200 OK"
    assert response(*fields, line=status_line).keep_alive is keeps


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        (("Connection: Upgrade", "Upgrade: websocket"), b"websocket"),
        (("Connection: keep-alive, upgrade", "Upgrade: a/1, b"), b"a/1, b"),
        (("Connection: Upgrade", "Upgrade: x-h2c"), b"x-h2c"),
        (("Connection: Upgrade", "Upgrade: a", "Upgrade: ,", "X: y", "upgrade:b/2, c "), b"a, b/2, c"),
        (("Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket"), b""),
        (("Connection: Upgrade",), b""),
        (("Connection: Upgrade", "Upgrade:"), b""),
        (("Upgrade: websocket",), b""),
        (("Connection: Upgrade", "Upgrade: h2c"), b""),
        (("Connection: Upgrade", "Upgrade: a ,\tH2C-14"), b""),
        (("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 1"), b""),
        (("Connection: Upgrade", "Upgrade: websocket", "Content-Length: 0"), b"websocket"),
        (("Connection: Upgrade", "Upgrade: websocket", "Transfer-Encoding: chunked"), b""),
    ],
)
def test_upgrade(fields: tuple[str, ...], upgrade: bytes) -> None:
    assert fields_of(*fields).upgrade == upgrade


def test_expectations() -> None:
    assert fields_of("Expect: 100-Continue").expect_continue
    assert not fields_of("Expect: 100-continue", line="GET / HTTP/1.0").expect_continue
    assert not fields_of().expect_continue


@pytest.mark.parametrize(
    ("values", "found"),
    [(("3",), 3), (("0",), 0), (("x",), -1), (("-1",), -1), (("1", "2"), 2), (("9" * 10,), -1), ((), -1)],
)
def test_max_forwards(values: tuple[str, ...], found: int) -> None:
    assert fields_of(*(f"Max-Forwards: {value}" for value in values)).max_forwards == found


def test_passes_are_counted_over_all_via_fields() -> None:
    assert fields_of("Via: 1.1 switchyard, 1.0 other", "VIA: 1.1 Switchyard (x)").passes == 2


def test_te_trailers() -> None:
    assert fields_of("TE: gzip;q=0.5 , Trailers").te_trailers
    assert not fields_of("TE: trailers", line="GET / HTTP/1.0").te_trailers
    assert not fields_of("TE: gzip").te_trailers


def test_what_proxies_before_said_is_known_apart() -> None:
    fields = fields_of("X-Forwarded-For: 1.2.3.4 ", "X-Forwarded-Other: y", "Forwarded: for=x")
    assert fields.forwarded == ((b"x-forwarded-for", b"1.2.3.4"), (b"forwarded", b"for=x"))
    assert fields.kept == b"Host: a\r\n"


def test_the_limits_are_the_callers() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
    assert parse(data, max_bytes=len(data), max_fields=2) is not None
    for limits in ({"max_bytes": len(data) - 1}, {"max_fields": 1}):
        with pytest.raises(HeadError) as refused:
            parse(data, **limits)  # type: ignore[arg-type]
        assert refused.value.status == 431


def test_the_body_does_not_count_as_head() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
    assert parse(head + b"a" * 100, max_bytes=len(head)) is not None


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(HeadError) as refused:
        parse(b"GET / HTTP/1.1\r\n\r\n")
    assert repr(refused.value) == "HeadError(400, 'the request has no Host')"
    assert refused.value.part == "the request"


# --- fields that are the same as before --------------------------------------------------------------------------


def test_equal_fields_are_not_read_again() -> None:
    first = request("X: y")
    data = b"POST /b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nrest"
    again = parse(data, last=first.fields)
    assert again is not None
    assert again.fields is first.fields
    assert (again.target, again.authority, data[again.end :]) == (b"/b", b"a", b"rest")


def test_other_fields_are_read() -> None:
    first = request("X: y")
    for data in (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nZ: 1\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\nX: y\r\n\r\n",
    ):
        again = parse(data, last=first.fields)
        assert again is not None
        assert again.fields is not first.fields


def test_equal_fields_do_not_hide_another_authority() -> None:
    first = request()
    again = parse(b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", last=first.fields)
    assert again is not None
    assert (again.authority, again.fields.host) == (b"b", b"a")


def outcome(data: bytes, last: RequestFields | None) -> Any:
    try:
        head = parse(data, last=last)
    except HeadError as error:
        return error.status
    return head and [getattr(head, name) for name in head.__slots__]


@given(st.randoms(use_true_random=False), st.booleans())
def test_the_request_before_changes_nothing(source: random.Random, same: bool) -> None:
    before = mutate.request(source)
    after = before if same else mutate.mutated(source, before)
    try:
        head = parse(before)
    except HeadError:
        head = None
    assert outcome(after, None if head is None else head.fields) == outcome(after, None)


# --- responses -----------------------------------------------------------------------------------------------------


def test_a_response_says_what_it_is() -> None:
    data = b"HTTP/1.0 404 Not Here\r\nServer: x\r\nContent-Length: 2\r\nDate: y\r\n\r\nab"
    head = parse_response(data)
    assert head is not None
    assert (head.status, head.status_line, head.length, head.chunked) == (404, b"HTTP/1.1 404 Not Here\r\n", 2, False)
    assert head.kept == b"Server: x\r\nContent-Length: 2\r\nDate: y\r\n"
    assert (head.has_date, head.keep_alive, data[head.end :]) == (True, False, b"ab")
    assert repr(head) == "<ResponseHead 404 length=2 chunked=False>"


def test_the_coding_is_not_kept_as_the_proxy_may_choose_another() -> None:
    head = response("Transfer-Encoding: chunked", "X: y")
    assert (head.chunked, head.length, head.kept) == (True, -1, b"X: y\r\n")


@pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints", "204 No Content"])
def test_a_length_is_not_kept_where_there_can_be_no_body(status: str) -> None:
    assert response("Content-Length: 0", "X: y", line=f"HTTP/1.1 {status}").kept == b"X: y\r\n"


def test_a_switch_of_protocols_names_its_protocol() -> None:
    line = "HTTP/1.1 101 Switching Protocols"
    assert response("Connection: upgrade", "Upgrade: websocket", line=line).upgrade == b"websocket"
    assert response("Connection: upgrade", "Upgrade: a", "Upgrade: b", line=line).upgrade == b"a, b"
    assert response("Upgrade: websocket", line=line).upgrade == b""
    assert response("Connection: upgrade", line=line).upgrade == b""


def test_response_limit() -> None:
    data = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"
    assert parse_response(data, max_bytes=len(data)) is not None
    with pytest.raises(ResponseError):
        parse_response(data, max_bytes=len(data) - 1)
    with pytest.raises(ResponseError):
        parse_response(data[:-3], max_bytes=len(data) - 4)


@pytest.mark.parametrize("data", [b"", b"H", b"HTTP/1.1", b"HTTP/1.1 200 OK\r\nX"])
def test_a_response_may_be_incomplete(data: bytes) -> None:
    assert parse_response(data) is None


@pytest.mark.parametrize("data", [b"X", b"HTTQ", b"HTTP/2", b"\r", b"HTTP/1.1 200\n"])
def test_what_can_be_no_response_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ResponseError):
        parse_response(data)


def response_outcome(data: bytes, known: KnownHeads | None) -> Any:
    try:
        head = parse_response(data, known=known)
    except ResponseError:
        return "refused"
    return head and [getattr(head, name) for name in head.__slots__]


@given(st.randoms(use_true_random=False))
def test_the_responses_before_change_nothing(source: random.Random) -> None:
    known = KnownHeads()
    before = mutate.response(source)
    for data in (
        before,
        before,
        mutate.mutated(source, before),
        before[: source.randrange(len(before))],
        before + b"x",
    ):
        assert response_outcome(data, known) == response_outcome(data, None)


def test_known_responses_are_bounded() -> None:
    known = KnownHeads()
    for number in range(MAX_KNOWN + 10):
        parse_response(b"HTTP/1.1 200 OK\r\nX: %d\r\n\r\n" % number, known=known)
        assert len(known) <= MAX_KNOWN
    before = len(known)
    parse_response(b"HTTP/1.1 200 OK\r\nX: " + b"a" * MAX_KNOWN_SIZE + b"\r\n\r\n", known=known)
    assert len(known) == before


# --- hosts and buffers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [b"a", b"a.b-c_d~e", b"A:0", b"a:65535", b"a:", b"127.0.0.1:80", b"[::1]", b"[::1]:8"])
def test_hosts(host: bytes) -> None:
    assert valid_host(host)


@pytest.mark.parametrize("host", [b"", b":80", b"a:65536", b"a:123456", b"a:-1", b"a:8:8", b"[a", b"[]", b"a/", b"a\n"])
def test_no_hosts(host: bytes) -> None:
    assert not valid_host(host)


def test_a_buffer_waits_for_the_end_of_a_head() -> None:
    buffer = HeadBuffer()
    assert buffer.add(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 100) is None
    assert (len(buffer), repr(buffer)) == (26, "<HeadBuffer 26 bytes>")
    assert buffer.add(b"\nrest", 100) == b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"
    assert len(buffer) == 0


@pytest.mark.parametrize("last", [b"\n", b"\rX", b"\x00", b"\x7f", b"a" * 200])
def test_a_buffer_gives_up_what_can_be_no_head(last: bytes) -> None:
    buffer = HeadBuffer()
    assert buffer.add(b"GET", 100) is None
    assert buffer.add(last, 100) == b"GET" + last


def test_a_buffer_holds_its_limit_and_no_more() -> None:
    buffer = HeadBuffer()
    assert buffer.add(b"a" * 100, 100) is None
    assert buffer.add(b"a", 100) == b"a" * 101


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"hello\r\n", 400), (b"\r\nhello\r\n", 400), (b"GET / HTTP/1.1 \r\n", 400), (b"GET / HTTP/2.0\r\n", 505),
     (b"GET /" + b"a" * 8188, 414), (b"\r\nGET /" + b"a" * 8188, 414)],
)  # fmt: skip
def test_a_first_line_that_is_no_request_s_is_refused_at_its_last_byte(line: bytes, status: int) -> None:
    buffer = HeadBuffer(request_begins)
    for index in range(len(line) - 1):
        assert buffer.add(line[index : index + 1], 32768) is None
        assert parse(line[: index + 1]) is None
    whole = buffer.add(line[-1:], 32768)
    assert whole == line
    with pytest.raises(HeadError) as refused:
        parse(whole)
    assert refused.value.status == status


@pytest.mark.parametrize("line", [b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 200OK\r\n", b"HTTP/2", b"HTTP/1,"])
def test_a_first_line_that_is_no_response_s_is_refused_at_its_last_byte(line: bytes) -> None:
    buffer = HeadBuffer(response_begins)
    for index in range(len(line) - 1):
        assert buffer.add(line[index : index + 1], 32768) is None
        assert parse_response(line[: index + 1]) is None
    assert buffer.add(line[-1:], 32768) == line
    with pytest.raises(ResponseError):
        parse_response(line)


def test_a_first_line_that_may_be_is_looked_at_once() -> None:
    looks = []

    def begins(data: bytes | bytearray, seen: int) -> bool | None:
        looks.append((len(data), seen))
        return request_begins(data, seen)

    buffer = HeadBuffer(begins)
    for index in range(40):
        assert buffer.add(b"GET / HTTP/1.1\r\nHost: abcdefghijklmnopqrstuvwxyz"[index : index + 1], 100) is None
    assert looks == [(size, size - 1) for size in range(1, 17)]
    buffer.clear()
    assert buffer.add(b"GET\r\n", 100) == b"GET\r\n"


def test_an_empty_line_before_it_does_not_shorten_the_request_line() -> None:
    assert parse(b"\r\n" + b"G" * 8192) is None
    with pytest.raises(HeadError):
        parse(b"\r\n" + b"G" * 8193)


def test_a_cleared_buffer_begins_anew() -> None:
    buffer = HeadBuffer()
    buffer.add(b"a" * 50, 100)
    buffer.clear()
    assert buffer.add(b"\n", 100) == b"\n"
