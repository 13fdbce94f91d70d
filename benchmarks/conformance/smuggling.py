"""Attempts at smuggling, made systematically: every list times every place. No chance, so each run has the same.

An attempt's body usually holds what could be taken for a request of its own (`hidden`). The place `@ID@` is four bytes
wide, as what stands there later, so that lengths are right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.conformance.model import Attempt
from benchmarks.conformance.tricks import (
    AUTHORITIES,
    CODING_NAMES,
    CODINGS,
    DATA_ENDS,
    EXTENSIONS,
    LENGTH_FORMS,
    LENGTH_NAMES,
    LINE_ENDS,
    LINES,
    METHODS,
    NOMINATED,
    ODD,
    SIZES,
    TRAILERS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST: Final = b"Host: a.test\r\n"
HIDDEN: Final = b"GET /id-@ID@-hidden HTTP/1.1\r\nHost: a.test\r\n\r\n"
LAST: Final = b"0\r\n\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"


def attempts() -> list[Attempt]:
    """All attempts, each name once."""
    made = [*_controls(), *_codings(), *_lengths(), *_names(), *_odd_bytes(), *_line_ends(), *_chunks(), *_trailers()]
    made += [*_request_lines(), *_hosts(), *_connection(), *_methods(), *_fields(), *_pairs()]
    return made


def post(fields: bytes, body: bytes, method: bytes = b"POST", version: bytes = b"1.1") -> bytes:
    return method + b" /id-@ID@-a HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n" + body


def length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n" % len(body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def literal(data: bytes) -> str:
    """A short name for these bytes."""
    return repr(data[:40])[1:] + (f" … {len(data)} B" if len(data) > 40 else "")


def filled(form: bytes, number: int) -> bytes:
    """The form with each `%d` or `%x` in it replaced by the number."""
    for place in (b"%d", b"%x", b"%X"):
        form = form.replace(place, place % number)
    return form.replace(b"%%", b"%")


def _controls() -> Iterator[Attempt]:
    get = b"GET /id-@ID@-a HTTP/1.1\r\n" + HOST
    for name, data, answers in (
        ("GET", get + b"\r\n", 1),
        ("GET of HTTP/1.0", get.replace(b"1.1", b"1.0") + b"\r\n", 1),
        ("HEAD", b"HEAD" + get[3:] + b"\r\n", 1),
        ("OPTIONS", b"OPTIONS" + get[3:] + b"\r\n", 1),
        ("an unknown method", b"SEARCH" + get[3:] + b"\r\n", 1),
        ("two GETs at once", (get + b"\r\n") * 2, 2),
        ("five GETs at once", (get + b"\r\n") * 5, 5),
        ("POST with a length", post(length(HIDDEN), HIDDEN), 1),
        ("POST of nothing", post(length(b""), b""), 1),
        ("POST with chunks", post(CHUNKED, chunk(HIDDEN) + LAST), 1),
        ("POST with two chunks", post(CHUNKED, chunk(b"one") + chunk(b"two") + LAST), 1),
        ("POST with chunks, upper case sizes", post(CHUNKED, b"1A\r\n" + b"x" * 26 + b"\r\n" + LAST), 1),
        ("POST with chunks, leading zeros", post(CHUNKED, b"003\r\nabc\r\n" + LAST), 1),
        ("POST with a chunk extension", post(CHUNKED, b"3;a=b\r\nabc\r\n" + LAST), 1),
        ("POST with a quoted chunk extension", post(CHUNKED, b'3;a="b c"\r\nabc\r\n' + LAST), 1),
        ("POST with a trailer", post(CHUNKED, chunk(b"abc") + b"0\r\nX-Sum: 1\r\n\r\n"), 1),
        ("POST, coding in upper case", post(CHUNKED.upper(), chunk(b"abc") + LAST), 1),
        ("POST, then GET", post(length(b"abc"), b"abc") + get + b"\r\n", 2),
        ("chunked POST, then GET", post(CHUNKED, chunk(b"abc") + LAST) + get + b"\r\n", 2),
        ("PUT and DELETE", post(length(b"abc"), b"abc", b"PUT") + b"DELETE" + get[3:] + b"\r\n", 2),
        ("white space around values", get + b"X-A: \t y \t\r\nX-B:z\r\nX-C:\r\n\r\n", 1),
        ("obs-text in a value", get + b"X-A: caf\xc3\xa9 \xff\r\n\r\n", 1),
        ("every token byte in a name", get + b"X!#$%&'*+-.^`|~: y\r\n\r\n", 1),
        ("absolute form", get.replace(b" /id", b" http://a.test/id") + b"\r\n", 1),
        ("a query", get.replace(b"-a HTTP", b"-a?b=c&d=%20/?:@ HTTP") + b"\r\n", 1),
        ("a port in Host", get.replace(b"a.test", b"a.test:8080") + b"\r\n", 1),
        ("Connection: close", get + b"Connection: close\r\n\r\n", 1),
        ("Connection with options", get + b"Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\n\r\n", 1),
        ("TE: trailers", get + b"TE: trailers\r\nConnection: TE\r\n\r\n", 1),
        ("many fields", get + b"".join(b"X-%d: y\r\n" % n for n in range(60)) + b"\r\n", 1),
        ("a long target", get.replace(b"-a HTTP", b"-a?" + b"q" * 4000 + b" HTTP") + b"\r\n", 1),
        ("a long field", get + b"X-Long: " + b"v" * 4000 + b"\r\n\r\n", 1),
        ("a large body", post(length(b"x" * 100_000), b"x" * 100_000), 1),
        ("an empty line before", b"\r\n" + get + b"\r\n", 0),
    ):
        yield Attempt("valid", name, data, answers)


def _framed(family: str, name: str, field: bytes) -> Iterator[Attempt]:
    """A field that may or may not mean chunks: alone, with a length for all, and with one for the first line."""
    inner = chunk(b"abc") + LAST + HIDDEN
    yield Attempt(family, f"{name}, alone", post(field, inner))
    yield Attempt(family, f"{name}, after a length of all", post(length(inner) + field, inner))
    first = chunk(HIDDEN) + LAST
    yield Attempt(family, f"{name}, before a length of 4", post(field + b"Content-Length: 4\r\n", first))


def _codings() -> Iterator[Attempt]:
    for value in CODINGS:
        if value.lower() != b"chunked":
            yield from _framed("coding", f"Transfer-Encoding: {literal(value)}", b"Transfer-Encoding: %b\r\n" % value)
        field = b"Transfer-Encoding: %b\r\n" % value
        yield Attempt("coding in 1.0", literal(value), post(field, chunk(b"abc") + LAST + HIDDEN, version=b"1.0"))
    for one in (b"chunked", b"identity", b"", b"x", b"gzip", b"CHUNKED"):
        for two in (b"chunked", b"identity", b"", b"x"):
            fields = b"Transfer-Encoding: %b\r\nTransfer-Encoding: %b\r\n" % (one, two)
            yield Attempt("two codings", f"{literal(one)}, {literal(two)}", post(fields, chunk(b"abc") + LAST + HIDDEN))
    for order in (length(HIDDEN) + CHUNKED, CHUNKED + length(HIDDEN)):
        for body in (HIDDEN, LAST + HIDDEN, chunk(HIDDEN) + LAST, b""):
            yield Attempt("length and coding", f"{literal(order)}, {literal(body)}", post(order, body))


def _lengths() -> Iterator[Attempt]:
    for form in LENGTH_FORMS:
        field = b"Content-Length: %b\r\n" % filled(form, len(HIDDEN))
        yield Attempt("length", literal(form), post(field, HIDDEN))
        yield Attempt("length of 0", literal(form), post(b"Content-Length: %b\r\n" % filled(form, 0), HIDDEN))
    for form in LENGTH_FORMS[::2]:
        fields = length(b"") + b"Content-Length: %b\r\n" % filled(form, len(HIDDEN))
        yield Attempt("second length", literal(form), post(fields, HIDDEN))


def _names() -> Iterator[Attempt]:
    for name in CODING_NAMES:
        if name.lower() != b"transfer-encoding":
            yield from _framed("coding's name", literal(name), name + b": chunked\r\n")
    for name in LENGTH_NAMES:
        yield Attempt("length's name", literal(name), post(b"%b: %d\r\n" % (name, len(HIDDEN)), HIDDEN))
        yield Attempt("length's name, second", literal(name), post(length(b"") + b"%b: 9\r\n" % name, HIDDEN))


def _odd_bytes() -> Iterator[Attempt]:
    for number in ODD:
        odd = bytes((number,))
        for place, form in (
            ("before the name", b"%bTransfer-Encoding: chunked\r\n"),
            ("in the name", b"Transfer%b-Encoding: chunked\r\n"),
            ("after the name", b"Transfer-Encoding%b: chunked\r\n"),
            ("before the value", b"Transfer-Encoding:%bchunked\r\n"),
            ("in the value", b"Transfer-Encoding: chu%bnked\r\n"),
            ("after the value", b"Transfer-Encoding: chunked%b\r\n"),
        ):
            if form % odd not in (b"Transfer-Encoding:\tchunked\r\n", b"Transfer-Encoding: chunked\r\n"):
                inner = chunk(b"abc") + LAST + HIDDEN
                yield Attempt("odd byte, coding", f"0x{number:02x} {place}", post(length(inner) + form % odd, inner))
        for place, form in (
            ("after the name", b"Content-Length%b: %d\r\n"),
            ("before the value", b"Content-Length:%b%d\r\n"),
        ):
            yield Attempt("odd byte, length", f"0x{number:02x} {place}", post(form % (odd, len(HIDDEN)), HIDDEN))
        yield Attempt("odd byte, value", f"0x{number:02x}", post(b"X: a%bb\r\n" % odd + length(HIDDEN), HIDDEN))
        yield Attempt("odd byte, name", f"0x{number:02x}", post(b"X%bY: b\r\n" % odd + length(HIDDEN), HIDDEN))


def _line_ends() -> Iterator[Attempt]:
    for end in LINE_ENDS:
        for place, form in (
            ("request line", b"POST /id-@ID@-a HTTP/1.1%bHost: a.test\r\nContent-Length: %d\r\n\r\n"),
            ("Host", b"POST /id-@ID@-a HTTP/1.1\r\nHost: a.test%bContent-Length: %d\r\n\r\n"),
            ("head", b"POST /id-@ID@-a HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d%b\r\n"),
            ("empty line", b"POST /id-@ID@-a HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n%b"),
        ):
            values = (len(HIDDEN), end) if place in ("head", "empty line") else (end, len(HIDDEN))
            yield Attempt("line end", f"{literal(end)} after {place}", form % values + HIDDEN)
        hide = (
            b"GET /id-@ID@-a HTTP/1.1\r\nHost: a.test\r\nX: y%b%bGET /id-@ID@-hidden HTTP/1.1\r\nHost: a.test\r\n\r\n"
        )
        yield Attempt("line end", f"{literal(end)} twice in a head", hide % (end, end))
        for place, body in (
            ("chunk size", b"3%babc\r\n" + LAST),
            ("chunk data", b"3\r\nabc%b" + LAST),
            ("last chunk", b"3\r\nabc\r\n0%b\r\n"),
            ("end", b"3\r\nabc\r\n0\r\n%b"),
            ("trailer", b"3\r\nabc\r\n0\r\nX: y%b\r\n"),
        ):
            yield Attempt("chunk's line end", f"{literal(end)} after {place}", post(CHUNKED, body % end + HIDDEN))


def _chunks() -> Iterator[Attempt]:
    for form in SIZES:
        yield Attempt("chunk size", literal(form), post(CHUNKED, filled(form, 3) + b"\r\nabc\r\n" + LAST + HIDDEN))
        last = b"3\r\nabc\r\n" + filled(form, 0) + b"\r\n\r\n" + HIDDEN
        yield Attempt("last chunk size", literal(form), post(CHUNKED, last))
    for extension in EXTENSIONS:
        body = b"3%b\r\nabc\r\n" % extension + LAST + HIDDEN
        yield Attempt("extension", literal(extension), post(CHUNKED, body))
        body = b"3\r\nabc\r\n0%b\r\n\r\n" % extension + HIDDEN
        yield Attempt("last chunk's extension", literal(extension), post(CHUNKED, body))
        hide = b"2%b\r\nxx\r\n%x\r\n%b\r\n0\r\n\r\n" % (extension, len(HIDDEN), HIDDEN)
        yield Attempt("extension, hidden in the next chunk", literal(extension), post(CHUNKED, hide))
    for end in DATA_ENDS:
        yield Attempt("chunk data's end", literal(end), post(CHUNKED, b"3\r\nabc%b" % end + LAST + HIDDEN))


def _trailers() -> Iterator[Attempt]:
    for trailer in TRAILERS:
        body = chunk(b"abc") + b"0\r\n" + trailer + b"\r\n"
        yield Attempt("trailer", literal(trailer), post(CHUNKED, body + HIDDEN))
        yield Attempt("trailer, announced", literal(trailer), post(b"Trailer: X\r\n" + CHUNKED, body))


def _request_lines() -> Iterator[Attempt]:
    for line in LINES:
        fields = HOST + b"X-Attempt: id-@ID@-a\r\n"
        yield Attempt("request line", literal(line), line + b"\r\n" + fields + b"\r\n")
        fields += length(HIDDEN)
        yield Attempt("request line, with a body", literal(line), line + b"\r\n" + fields + b"\r\n" + HIDDEN)


def _hosts() -> Iterator[Attempt]:
    for authority in AUTHORITIES:
        line = b"GET /id-@ID@-a HTTP/1.1\r\n"
        absolute = b"GET http://%b/id-@ID@-a HTTP/1.1\r\n" % authority
        yield Attempt("Host", literal(authority), line + b"Host: %b\r\n\r\n" % authority)
        yield Attempt("absolute form", literal(authority), absolute + HOST + b"\r\n")
        yield Attempt("two Hosts", literal(authority), line + HOST + b"Host: %b\r\n\r\n" % authority)
        yield Attempt("absolute form, no Host", literal(authority), absolute + b"\r\n")
    for name in (b"Host ", b" Host", b"HoSt", b"Host\x00", b"Host\t", b"Host\r", b"X: y\nHost", b"Ho\r\n st", b"_Host"):
        fields = HOST + name + b": b.test\r\n\r\n"
        yield Attempt("Host's name", literal(name), b"GET /id-@ID@-a HTTP/1.1\r\n" + fields)
    for scheme in (b"https", b"HTTP", b"ftp", b"file", b"ws", b"a", b"", b"http:http"):
        target = scheme + b"://b.test/id-@ID@-a"
        yield Attempt("absolute form's scheme", literal(scheme), b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")


def _connection() -> Iterator[Attempt]:
    for named in NOMINATED:
        for field in (b"Connection", b"Proxy-Connection", b"Keep-Alive"):
            for framing, body in ((length(HIDDEN), HIDDEN), (CHUNKED, chunk(HIDDEN) + LAST)):
                fields = b"%b: %b\r\n" % (field, named) + framing
                kind = "chunks" if framing == CHUNKED else "length"
                yield Attempt("nominated", f"{field.decode()}: {literal(named)}, {kind}", post(fields, body))
    for protocol in (b"websocket", b"h2c", b"HTTP/2.0", b"TLS/1.0", b"x", b"", b"websocket, h2c", b"h2c\x00"):
        fields = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % protocol
        for framing, body in ((length(HIDDEN), HIDDEN), (CHUNKED, chunk(HIDDEN) + LAST), (b"", HIDDEN)):
            yield Attempt("upgrade", f"{literal(protocol)}, {literal(framing)}", post(fields + framing, body))
    for expect in (b"100-continue", b"100-Continue", b"100-continue, x", b"x", b"", b"100-continue\x00", b"200-ok"):
        for framing, body in ((length(HIDDEN), HIDDEN), (CHUNKED, chunk(HIDDEN) + LAST), (b"", HIDDEN)):
            fields = b"Expect: %b\r\n" % expect + framing
            yield Attempt("expectation", f"{literal(expect)}, {literal(framing)}", post(fields, body))


def _methods() -> Iterator[Attempt]:
    for method in METHODS:
        for name, framing, body in (
            ("length", length(HIDDEN), HIDDEN),
            ("chunks", CHUNKED, chunk(HIDDEN) + LAST),
            ("neither", b"", HIDDEN),
            ("length of 0", length(b""), HIDDEN),
            ("length, 1.0", length(HIDDEN), HIDDEN),
        ):
            version = b"1.0" if name.endswith("1.0") else b"1.1"
            tail = b"GET /id-@ID@-tail HTTP/1.1\r\n" + HOST + b"\r\n"
            yield Attempt("method", f"{method.decode()}, {name}", post(framing, body + tail, method, version))


def _fields() -> Iterator[Attempt]:
    for line in (
        b"X", b":", b": y", b" : y", b"X Y: z", b" X: y", b"\tX: y", b"X: y\r\n z", b"X: y\r\n\tContent-Length: 0",
        b"\x00", b"X\x00: y", b"X: \x00", b"X: y\x00", b"\x0bX: y", b"X: y\r\n ", b"X:\r\n y", b"X : y", b"X\t: y",
        b"(X): y", b"X/Y: z", b'"X": y', b"X\xff: y", b"\xef\xbb\xbfX: y", b"GET /id-@ID@-hidden HTTP/1.1",
        b"X: y\rZ: a", b"X: y\nZ: a", b"X: \x7f", b"X: y\x1b", b"=: y", b"X=y", b"X;y", b"\r", b"\n",
        b"X: y\n\nGET /id-@ID@-hidden HTTP/1.1\nHost: a\n\n", b"\x85: y",
    ):  # fmt: skip
        yield Attempt("field line", literal(line) + ", first", b"POST /id-@ID@-a HTTP/1.1\r\n" + line + b"\r\n" + HOST
                      + length(HIDDEN) + b"\r\n" + HIDDEN)  # fmt: skip
        yield Attempt("field line", literal(line) + ", last", post(length(HIDDEN) + line + b"\r\n", HIDDEN))
        yield Attempt(
            "field line", literal(line) + ", before the length", post(line + b"\r\n" + length(HIDDEN), HIDDEN)
        )


def _pairs() -> Iterator[Attempt]:
    """A length that is too short or too long by a few bytes, and what stands behind a body."""
    for by in (-3, -2, -1, 1, 2, 3):
        body = b"x" * 20
        fields = b"Content-Length: %d\r\n" % (len(body) + by)
        yield Attempt("wrong length", f"by {by}", post(fields, body + HIDDEN))
        wrong = b"%x\r\n%b\r\n" % (len(body) + by, body)
        yield Attempt("wrong chunk size", f"by {by}", post(CHUNKED, wrong + LAST + HIDDEN))
    for behind in (
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\x00",
        b" ",
        b"X",
        b"0\r\n\r\n",
        b"\r\n" * 20,
        b"\t\r\n",
        b"\n\n\n",
    ):
        for framing, body in ((length(b"abc"), b"abc"), (CHUNKED, chunk(b"abc") + LAST), (length(b""), b"")):
            tail = behind + b"GET /id-@ID@-tail HTTP/1.1\r\n" + HOST + b"\r\n"
            yield Attempt("behind a body", f"{literal(behind)}, {literal(framing)}", post(framing, body + tail))
