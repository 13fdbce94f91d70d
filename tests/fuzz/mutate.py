"""Valid messages, and small changes to them that look for a difference between parsers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

_CONTROLS: Final = [bytes((byte,)) for byte in (*range(33), 0x7F, 0x80, 0x85, 0xA0, 0xFF)]
_TARGETS: Final = (
    b"/", b"/a?b=c", b"*", b"http://a/x", b"http://b:80?q", b"HTTPS://a", b"/%2e%2e/;x", b"//x", b"/[]^|",
)  # fmt: skip
_METHODS: Final = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"BREW", b"get", b"M-SEARCH")
_NAMES: Final = (
    b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"Upgrade", b"TE", b"Expect", b"Via", b"Cookie",
    b"X-Forwarded-For", b"X_Forwarded_For", b"Content_Length", b"Forwarded", b"Trailer", b"Keep-Alive", b"Proxy",
    b"Max-Forwards", b"X-A", b"x-a", b"Proxy-Connection", b"X-Request-Id", b"Date", b"User-Agent",
)  # fmt: skip
_VALUES: Final = (
    b"", b"0", b"3", b"5", b"+5", b"05", b"3, 3", b"chunked", b"Chunked", b"gzip, chunked", b"identity", b"close",
    b"keep-alive, X-A", b"Upgrade", b"upgrade, te", b"websocket", b"h2c", b"foo, h2c", b"trailers", b"100-continue",
    b"a", b"a:80", b"[::1]", b"a b", b"1.1 switchyard", b"content-length, host", b"\xe9", b'"q"', b"x=y; z", b"3 ",
    b"\t3",
)  # fmt: skip
_LENGTHS: Final = (
    *(b" %d",) * 12, b" +%d", b" %d ", b"\t%d", b" 0%d", b" %d,", b" -%d", b" %d\x0b", b"%d", b" %d;", b" \xa0%d",
)  # fmt: skip
_CODINGS: Final = (
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:chunked") * 5, b"Transfer-Encoding: CHUNKED",
    b"Transfer-Encoding: chunked ", b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: chunked, chunked",
)  # fmt: skip
_BODIES: Final = (
    b"", b"abc", b"hello", b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\n\r\n",
    b"1\r\na\r\n0\r\nX-T: 1\r\n\r\n", b"1\r\na\r\n0\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
)  # fmt: skip
_LINE_ENDS: Final = (b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n ", b"\r\n\t", b"\t\r\n")
_EXTENSIONS: Final = (b"", b"", b";a", b";a=b", b';a="b"', b' ; a = "\\""', b";;", b" ", b";a=", b"\t;x", b';a="\r\n"')
_SIZES: Final = (b"%x", b"%X", b"0%x", b"000000000000000%x", b"0x%x", b"+%x", b" %x", b"%x ", b"%xg")


def request(random: random.Random) -> bytes:
    """A request that is valid more often than not, before `mutated` has its way."""
    fields = [b"Host: a"] if random.random() < 0.9 else []
    body = random.choice(_BODIES)
    if random.random() < 0.4:
        fields.append(b"Content-Length:" + random.choice(_LENGTHS) % len(body))
    elif random.random() < 0.5:
        fields.append(random.choice(_CODINGS))
        body = chunked(random)
    fields += _more_fields(random)
    random.shuffle(fields)
    line = b"%b %b HTTP/1.%d" % (random.choice(_METHODS), random.choice(_TARGETS), random.random() < 0.85)
    return b"\r\n".join((line, *fields, b"", body + random.choice(_BODIES[:1] * 3 + _BODIES)))


def response(random: random.Random) -> bytes:
    body = random.choice(_BODIES)
    fields = []
    if random.random() < 0.4:
        fields.append(b"Content-Length: %d" % len(body))
    elif random.random() < 0.5:
        fields.append(b"Transfer-Encoding: chunked")
        body = chunked(random)
    fields += _more_fields(random)
    random.shuffle(fields)
    status = random.choice((b"200 OK", b"204 No Content", b"304 Not Modified", b"404", b"101 Up", b"500 ", b"206 \xe9"))
    if status == b"101 Up" and random.random() < 0.8:
        upgrade = b"Upgrade: " + random.choice((b"websocket", b"x/1, y"))
        fields = [b"Connection: upgrade", upgrade, *_more_fields(random)]
    line = b"HTTP/1.%d %b" % (random.random() < 0.85, status)
    return _interims(random) + b"\r\n".join((line, *fields, b"", body))


def _interims(random: random.Random) -> bytes:
    out = b""
    for _ in range(random.choice((0, 0, 0, 0, 1, 2))):
        line = random.choice((b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints", b"HTTP/1.0 199"))
        out += b"\r\n".join((line, b"Link: </a>", *_more_fields(random), b"", b""))
    return out


def chunked(random: random.Random) -> bytes:
    out = bytearray()
    odd = random.random() < 0.2
    for _ in range(random.randrange(4)):
        size = random.choice((1, 2, 3, 10, 17))
        form = random.choice(_SIZES if odd else _SIZES[:4])
        extension = random.choice(_EXTENSIONS if odd else _EXTENSIONS[:6])
        out += form % size + extension + b"\r\n" + bytes(random.choices(b"ab\r\n0;", k=size)) + b"\r\n"
    trailer = random.choice((b"", b"", b"X-T: 1\r\n", b"Content-Length: 5\r\n", b"Transfer_Encoding: x\r\nX-U:\r\n"))
    return bytes(out + random.choice((b"0", b"000")) + random.choice(_EXTENSIONS[:5]) + b"\r\n" + trailer + b"\r\n")


def mutated(random: random.Random, data: bytes) -> bytes:
    """`data` after none to three small changes."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        data = random.choice(_CHANGES)(random, data)
    return data


def _more_fields(random: random.Random) -> list[bytes]:
    return [
        random.choice(_NAMES) + random.choice((b": ", b": ", b": ", b":", b":  ", b":\t")) + random.choice(_VALUES)
        for _ in range(random.choice((0, 0, 1, 1, 2, 3)))
    ]


def _insert(random: random.Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice((*_CONTROLS, b"\r\n", b"\n", b" ", b":", b",", b";", b'"', b"_")) + data[at:]


def _insert_in_first_line(random: random.Random, data: bytes) -> bytes:
    """Where a parser decides most, and where random places seldom lie."""
    at = random.randrange(data.find(b"\n") + 2)
    return data[:at] + random.choice((*_CONTROLS, b" ", b" ", b"\t")) + data[at:]


def _remove(random: random.Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 1, 2, 5)) :]


def _replace(random: random.Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes((random.randrange(256),)) + data[at + 1 :]


def _repeat_line(random: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = random.randrange(len(lines))
    return b"\r\n".join((*lines[: at + 1], *lines[at:]))


def _swap_case(random: random.Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at : at + 8].swapcase() + data[at + 8 :]


def _bare_line_end(random: random.Random, data: bytes) -> bytes:
    ends = [at for at in range(len(data)) if data.startswith(b"\r\n", at)]
    if not ends:
        return data
    at = random.choice(ends)
    return data[:at] + random.choice(_LINE_ENDS) + data[at + 2 :]


def _cut(random: random.Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _around_colon(random: random.Random, data: bytes) -> bytes:
    colons = [at for at, byte in enumerate(data) if byte == 0x3A]
    if not colons:
        return data
    at = random.choice(colons)
    return data[:at] + random.choice((b" :", b"\t:", b":\t", b": \x0b", b"::", b":\x00")) + data[at + 1 :]


_CHANGES: Final = (
    _insert, _insert_in_first_line, _insert, _remove, _replace, _repeat_line, _swap_case, _bare_line_end, _cut,
    _around_colon,
)  # fmt: skip
