"""Malformed responses, made systematically; and valid ones, which a server must pass on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.conformance.smuggling import CHUNKED, LAST, chunk, filled, length, literal
from benchmarks.conformance.tricks import (
    CODINGS,
    DATA_ENDS,
    EXTENSIONS,
    LENGTH_FORMS,
    LINE_ENDS,
    ODD,
    SIZES,
    TRAILERS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

OK: Final = b"HTTP/1.1 200 OK\r\n"
BODY: Final = b"hello"
EVIL: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
STATUS_LINES: Final = (
    b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 200", b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK",
    b" HTTP/1.1 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 0200 OK", b"HTTP/1.1 099 OK",
    b"HTTP/1.1 000 OK", b"HTTP/1.1 600 OK", b"HTTP/1.1 999 OK", b"HTTP/1.1 -200 OK", b"HTTP/1.1 +200 OK",
    b"HTTP/1.1 2x0 OK", b"HTTP/1.1 0xc8 OK", b"HTTP/1.1 OK", b"HTTP/1.1 OK 200", b"HTTP/1.1 200 O\x00K",
    b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 200 O\x7fK", b"HTTP/1.1 200 \xff", b"HTTP/1.1 200 O\x01K",
    b"HTTP/1.2 200 OK", b"HTTP/1.9 200 OK", b"HTTP/1.10 200 OK", b"HTTP/2.0 200 OK", b"HTTP/2 200 OK",
    b"HTTP/0.9 200 OK", b"HTTP/3.0 200 OK", b"HTTP/1 200 OK", b"HTTP/1. 200 OK", b"HTTP/11.1 200 OK",
    b"http/1.1 200 OK", b"HTTPS/1.1 200 OK", b"ICY 200 OK", b"HTTP /1.1 200 OK", b"HTTP/1.1 200 OK HTTP/1.1 200 OK",
    b"HTTP/1.1/200 OK", b"GET / HTTP/1.1", b"200 OK", b"hello", b"\x00", b"HTTP/1.1 200 " + b"K" * 9000,
    b"HTTP/1.1\x0b200 OK",
    b"HTTP/1.1 \xb2\xb0\xb0 OK", b"HTTP/1.1 200.1 OK", b"HTTP/1.1 2 00 OK", b"HTTP/1,1 200 OK",

    b"\xef\xbb\xbfHTTP/1.1 200 OK",
)  # fmt: skip
FIELD_LINES: Final = (
    b"X", b":", b": y", b" : y", b"X : y", b"X\t: y", b" X: y", b"\tX: y", b"X: y\r\n z", b"X: y\r\n\tz", b"X:\r\n y",
    b"X Y: z", b"X\x00: y", b"X: \x00", b"X: a\x00b", b"\x00: y", b"\x00", b"X: a\rb", b"X: a\rSet-Cookie: evil=1",
    b"X: a\nSet-Cookie: evil=1", b"X: a\x0bb", b"X: a\x0cb", b"X: \x7f", b"X: \x1b", b"X: a\x85b", b"X\xff: y",
    b"X\x80Y: z", b"(X): y", b"X/Y: z", b'"X": y', b"X=y", b"X;y: z", b"\x0bX: y", b"X@Y: z", b"[X]: y", b"{X}: y",
    b"\r", b"\n", b"X: y\r", b"\rX: y", b"X: y\r\r", b"HTTP/1.1 200 OK", b"X: " + b"y" * 9000,
    b"X: " + b"y" * 100_000, b"\r\n".join([b"X: y"] * 2000), b"Content-Length : 3", b" Content-Length: 3",
    b"Content-Length\x00: 3", b"X: y\nContent-Length: 3", b"X: y\rContent-Length: 3", b"Content_Length: 3",
    b"Connection: close, Content-Length", b"Connection: Content-Length", b"Connection: keep-alive",
    b"Connection: \x00", b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked",
    b"Transfer-Encoding\x00: chunked", b"Upgrade: websocket", b"Connection: Upgrade\r\nUpgrade: websocket",
    b"Trailer: Content-Length", b"Content-Encoding: chunked", b"TE: chunked",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Response:
    """What the backend sends, and whether it ends the connection then.

    `valid` is the status and the body that a client of a GET must see; none for what is malformed.
    """

    family: str
    name: str
    data: bytes
    closes: bool = True
    valid: tuple[int, bytes] | None = None

    @property
    def control(self) -> bool:
        return self.valid is not None

    def to_head(self) -> Response:
        """The same as the answer to a HEAD: malformed ones keep their body, which is one more thing wrong."""
        if self.valid is None:
            return Response(self.family, f"{self.name}, to HEAD", self.data, self.closes)
        interim = self.data.startswith(b"HTTP/1.1 1")
        head = b"\r\n\r\n".join(self.data.split(b"\r\n\r\n")[: 1 + interim]) + b"\r\n\r\n"
        return Response(self.family, f"{self.name}, to HEAD", head, self.closes, (self.valid[0], b""))


def responses() -> list[Response]:
    """All responses to a GET, each name once."""
    made = [*_valid(), *_status_lines(), *_field_lines(), *_lengths(), *_codings(), *_chunks(), *_line_ends()]
    return [*made, *_truncated(), *_surplus(), *_interim(), *_bodiless()]


def plain(line: bytes = b"") -> bytes:
    """A good response of five bytes with one more line in its head."""
    return OK + (line + b"\r\n" if line else b"") + length(BODY) + b"\r\n" + BODY


def _valid() -> Iterator[Response]:
    for name, data, closes, status, body in (
        ("a length", plain(), False, 200, BODY),
        ("a length, then closed", plain(b"Connection: close"), True, 200, BODY),
        ("chunks", OK + CHUNKED + b"\r\n" + chunk(BODY) * 2 + LAST, False, 200, BODY * 2),
        ("chunks with an extension", OK + CHUNKED + b"\r\n5;a=b\r\nhello\r\n" + LAST, False, 200, BODY),
        ("chunks with a trailer", OK + CHUNKED + b"\r\n" + chunk(BODY) + b"0\r\nX: y\r\n\r\n", False, 200, BODY),
        ("until closed", OK + b"\r\n" + BODY, True, 200, BODY),
        ("1.0 until closed", OK.replace(b"1.1", b"1.0") + b"\r\n" + BODY, True, 200, BODY),
        ("1.0 with a length", plain().replace(b"1.1", b"1.0"), True, 200, BODY),
        ("no body", OK + length(b"") + b"\r\n", False, 200, b""),
        ("404", plain().replace(b"200 OK", b"404 Not Found"), False, 404, BODY),
        ("503", plain().replace(b"200 OK", b"503 No"), False, 503, BODY),
        ("an unknown status", plain().replace(b"200 OK", b"299 What"), False, 299, BODY),
        ("no reason", plain().replace(b"200 OK", b"200 "), False, 200, BODY),
        ("204", b"HTTP/1.1 204 No Content\r\n\r\n", False, 204, b""),
        ("304", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", False, 304, b""),
        ("103 before", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + plain(), False, 200, BODY),
        ("many fields", plain(b"\r\n".join(b"X-%d: y" % n for n in range(60))), False, 200, BODY),
        ("a long field", plain(b"X: " + b"y" * 3000), False, 200, BODY),
        ("obs-text", plain(b"X: caf\xc3\xa9 \xff"), False, 200, BODY),
        ("a large body", OK + length(b"x" * 100_000) + b"\r\n" + b"x" * 100_000, False, 200, b"x" * 100_000),
    ):
        yield Response("valid", name, data, closes, (status, body))


def _status_lines() -> Iterator[Response]:
    for line in STATUS_LINES:
        yield Response("status line", literal(line), line + b"\r\n" + length(BODY) + b"\r\n" + BODY)
    for data in (
        b"",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP",
        b"HTTP/1.1 200",
        b"\x00" * 100,
        BODY,
    ):
        yield Response("no response", literal(data), data)
    yield Response("no response", "an endless line", b"HTTP/1.1 200 " + b"x" * 300_000)
    for before in (b"\r\n", b"\n", b"\r\n\r\n", b"\r", b" ", b"\x00", b"x"):
        yield Response("before the response", literal(before), before + plain())


def _field_lines() -> Iterator[Response]:
    for line in FIELD_LINES:
        yield Response("field line", f"{literal(line)}, first", plain(line))
        yield Response("field line", f"{literal(line)}, last", OK + length(BODY) + line + b"\r\n\r\n" + BODY)
    for number in ODD:
        odd = bytes((number,))
        yield Response("odd byte", f"0x{number:02x} after a name", plain(b"X%b: y" % odd))
        yield Response("odd byte", f"0x{number:02x} in a value", plain(b"X: a%bb" % odd))
        coding = b"Transfer-Encoding:%bchunked\r\n" % odd
        yield Response("odd byte", f"0x{number:02x} before chunked", OK + coding + b"\r\n" + chunk(BODY) + LAST)


def _lengths() -> Iterator[Response]:
    for form in LENGTH_FORMS:
        field = b"Content-Length: %b\r\n" % filled(form, len(BODY))
        yield Response("length", literal(form), OK + field + b"\r\n" + BODY)
        yield Response("length, more behind", literal(form), OK + field + b"\r\n" + BODY + EVIL)
    for one, two in ((5, 5), (5, 3), (3, 5), (0, 5), (5, 0), (5, 500)):
        fields = b"Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % (one, two)
        yield Response("two lengths", f"{one} and {two}", OK + fields + BODY)
        yield Response(
            "two lengths", f"{one}, {two} in one", OK + b"Content-Length: %d, %d\r\n\r\n" % (one, two) + BODY
        )


def _codings() -> Iterator[Response]:
    for value in CODINGS:
        field = b"Transfer-Encoding: %b\r\n" % value
        yield Response("coding", literal(value), OK + field + b"\r\n" + chunk(BODY) + LAST)
        both = OK + field + length(BODY) + b"\r\n" + chunk(BODY) + LAST
        yield Response("coding and length", literal(value), both)
    yield Response("coding", "in 1.0", OK.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + chunk(BODY) + LAST)
    yield Response("coding", "twice", OK + CHUNKED * 2 + b"\r\n" + chunk(BODY) + LAST)


def _chunks() -> Iterator[Response]:
    head = OK + CHUNKED + b"\r\n"
    for form in SIZES:
        yield Response("chunk size", literal(form), head + filled(form, 5) + b"\r\nhello\r\n" + LAST)
    for extension in EXTENSIONS:
        yield Response("extension", literal(extension), head + b"5%b\r\nhello\r\n" % extension + LAST)
    for end in DATA_ENDS:
        yield Response("chunk data's end", literal(end), head + b"5\r\nhello" + end + LAST)
    for trailer in TRAILERS:
        yield Response("trailer", literal(trailer), head + chunk(BODY) + b"0\r\n" + trailer + b"\r\n")


def _line_ends() -> Iterator[Response]:
    for end in LINE_ENDS:
        for place, data in (
            ("status line", b"HTTP/1.1 200 OK%bContent-Length: 5\r\n\r\nhello"),
            ("head", b"HTTP/1.1 200 OK\r\nContent-Length: 5%b\r\nhello"),
            ("empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n%bhello"),
            ("chunk size", OK + CHUNKED + b"\r\n5%bhello\r\n" + LAST),
            ("last chunk", OK + CHUNKED + b"\r\n5\r\nhello\r\n0%b\r\n"),
        ):
            yield Response("line end", f"{literal(end)} after {place}", data % end)


def _truncated() -> Iterator[Response]:
    for name, whole in (
        ("length", OK + length(BODY) + b"\r\n" + BODY),
        ("chunks", OK + CHUNKED + b"\r\n" + chunk(BODY) + chunk(BODY) + LAST),
    ):
        for count in range(len(whole) - 24, len(whole)):
            yield Response("truncated", f"{name}, {count} of {len(whole)} bytes", whole[:count])


def _surplus() -> Iterator[Response]:
    for surplus in (EVIL, b"\r\n", b"\r\n" + EVIL, b"x", b"\x00", EVIL[:9], EVIL[:30], b"0\r\n\r\n", EVIL * 3):
        for name, whole in (
            ("length", plain()),
            ("chunks", OK + CHUNKED + b"\r\n" + chunk(BODY) + LAST),
            ("no body", OK + length(b"") + b"\r\n"),
            ("204", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ):
            for closes in (False, True):
                how = "closed" if closes else "kept"
                yield Response("surplus", f"{literal(surplus)} behind {name}, {how}", whole + surplus, closes)


def _interim() -> Iterator[Response]:
    for status in (b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 What"):
        interim = b"HTTP/1.1 " + status + b"\r\n"
        for name, data in (
            ("once", interim + b"\r\n" + plain()),
            ("with a length", interim + length(BODY) + b"\r\n" + plain()),
            ("with a body", interim + length(BODY) + b"\r\n" + BODY + plain()),
            ("with chunks", interim + CHUNKED + b"\r\n" + chunk(BODY) + LAST + plain()),
            ("a thousand times", (interim + b"\r\n") * 1000 + plain()),
            ("alone", interim + b"\r\n"),
            ("with a bad field", interim + b"X\x00: y\r\n\r\n" + plain()),
        ):
            yield Response("interim", f"{status.decode()}, {name}", data)
    switching = b"HTTP/1.1 101 Switching Protocols\r\n"
    for fields in (b"", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Upgrade: h2c\r\n", length(BODY)):
        yield Response("101 unasked", literal(fields), switching + fields + b"\r\n" + BODY)
        yield Response("101 unasked", f"{literal(fields)}, then 200", switching + fields + b"\r\n" + plain())


def _bodiless() -> Iterator[Response]:
    for status in (b"204 No Content", b"304 Not Modified", b"205 Reset Content"):
        line = b"HTTP/1.1 " + status + b"\r\n"
        for name, rest in (
            ("length", length(BODY) + b"\r\n"),
            ("length and body", length(BODY) + b"\r\n" + BODY),
            ("chunks", CHUNKED + b"\r\n" + chunk(BODY) + LAST),
            ("body", b"\r\n" + BODY),
            ("length of 0 and body", length(b"") + b"\r\n" + BODY),
            ("two lengths", length(BODY) + length(b"") + b"\r\n"),
        ):
            yield Response("no body", f"{status.decode()}, {name}", line + rest)
