"""Ambiguous and hostile bodies in chunked coding, and the valid ones nearest to them (RFC 9112 section 7.1)."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.corpus.cases import H11, LLHTTP, ChunkedCase

_BOTH: Final = (H11, LLHTTP)
_END: Final = b"0\r\n\r\n"


def _refused(name: str, data: bytes, why: str, lax: tuple[str, ...] = (), case: str = "8") -> ChunkedCase:
    return ChunkedCase(case=case, name=name, data=data, refused=True, why=why, lax=lax)


def _accepted(name: str, data: bytes, case: str = "8", **reading: Any) -> ChunkedCase:
    return ChunkedCase(case=case, name=name, data=data, **reading)


_SIZES: Final = tuple(
    _refused(name, size + b"\r\nabc\r\n" + _END, why, lax)
    for name, size, why, lax in (
        ("not-hex", b"g", "not a digit", ()),
        ("empty", b"", "no digit", ()),
        ("0x", b"0x3", "not a digit", ()),
        ("plus", b"+3", "not a digit", ()),
        ("minus", b"-3", "not a digit", ()),
        ("underscore", b"0_3", "a digit to Python's int()", ()),
        ("space-before", b" 3", "white space", ()),
        ("space-behind", b"3 ", "white space", (H11,)),
        ("tab-behind", b"3\t", "white space", (H11,)),
        ("nul-behind", b"3\x00", "the end to some", ()),
        ("comma", b"3,3", "not a digit", ()),
        ("17-digits", b"00000000000000003", "more than 64 bits", _BOTH),
        ("17-digits-wrapped", b"10000000000000003", "3 in 64 bits", ()),
        ("16-digits", b"ffffffffffffffff", "-1 in 64 bits", ()),
        ("over-2**60", b"1000000000000001", "more than some count", ()),
        ("full-width-digit", b"\xef\xbc\x93", "a digit to Python's int()", ()),
        ("lone-cr", b"3\r", "bare CR", ()),
    )
)

_ENDS: Final = (
    _refused("lf-behind-size", b"3\nabc\r\n" + _END, "bare LF"),
    _refused("cr-behind-size", b"3\rabc\r\n" + _END, "bare CR"),
    _refused("lf-behind-data", b"3\r\nabc\n" + _END, "bare LF"),
    _refused("cr-behind-data", b"3\r\nabc\r" + _END, "bare CR"),
    _refused("lf-cr-behind-data", b"3\r\nabc\n\r" + _END, "bare LF"),
    _refused("nothing-behind-data", b"3\r\nabc" + _END, "no CRLF"),
    _refused("data-longer", b"3\r\nabcd\r\n" + _END, "more than the size"),
    _refused("data-shorter", b"3\r\nab\r\n" + _END, "less than the size"),
    _refused("empty-line-between", b"3\r\nabc\r\n\r\n" + _END, "no size"),
    _refused("lf-at-last", b"0\n\r\n", "bare LF"),
    _refused("lf-at-end", b"0\r\n\n", "bare LF", (H11,)),
    _refused("lf-lf", b"0\n\n", "bare LF"),
    _refused("long-line", b"3;" + b"a" * 2000 + b"\r\nabc\r\n" + _END, "over 1,024 bytes", _BOTH),
    _refused("endless-line", b"3;" + b"a" * 2000, "over 1,024 bytes"),
)

_EXTENSIONS: Final = tuple(
    _refused("extension-" + name, b"3" + extension + b"\r\nabc\r\n" + _END, why, lax)
    for name, extension, why, lax in (
        ("no-name", b";", "no name", (H11,)),
        ("two-semicolons", b";;a", "no name", _BOTH),
        ("no-value", b";a=", "no value", _BOTH),
        ("open-quote", b';a="b', "no end of the text", (H11,)),
        ("text-behind-quote", b';a="b"c', "two values", (H11,)),
        ("lf", b";a\nb", "bare LF", ()),
        ("lf-quoted", b';a="\n"', "bare LF", ()),
        ("crlf-quoted", b';a="\r\n"', "a line end inside a text", ()),
        ("cr", b";a\rb", "bare CR", (H11,)),
        ("nul", b";a\x00", "NUL", (H11,)),
        ("control", b";a\x01", "a control byte", (H11,)),
        *(
            (f"quoted-{byte:02x}", b';a="%c"' % byte, "a control byte in a text", (H11,))
            for byte in (0x00, 0x01, 0x08, 0x0B, 0x0D, 0x1F, 0x7F)
        ),
        ("quoted-pair-nul", b';a="\\\x00"', "a control byte, though it is escaped", (H11,)),
        ("space-at-end", b";a ", "white space before the line's end", (H11,)),
        ("no-semicolon", b" a", "no semicolon", ()),
    )
)

_VALID: Final = (
    _accepted("one", b"3\r\nabc\r\n" + _END, payload=b"abc"),
    _accepted("upper-and-lower-case", b"0A\r\n0123456789\r\n0a\r\n0123456789\r\n" + _END, payload=b"0123456789" * 2),
    _accepted("16-digits-small", b"0000000000000003\r\nabc\r\n" + _END, payload=b"abc"),
    _accepted("zeros-last", b"3\r\nabc\r\n0000\r\n\r\n", payload=b"abc", forwarded=b"3\r\nabc\r\n" + _END),
    _accepted("line-ends-inside", b"4\r\n\r\n\r\n\r\n5\r\n0\r\n\r\n\r\n" + _END, payload=b"\r\n\r\n0\r\n\r\n"),
    _accepted("rest", b"1\r\na\r\n" + _END + b"GET / HTTP/1.1\r\n", payload=b"a", rest=b"GET / HTTP/1.1\r\n"),
    _accepted("100-trailers", b"0\r\n" + b"X: a\r\n" * 100 + b"\r\n", payload=b"",
              forwarded=b"0\r\n" + b"X: a\r\n" * 100 + b"\r\n", case="9"),
    _refused("101-trailers", b"0\r\n" + b"X: a\r\n" * 101 + b"\r\n", "over 100 fields", _BOTH, case="9"),
    _refused("extension-flood", b"1;abcdef\r\nx\r\n" * 1500 + _END, "seven times the payload", _BOTH),
    _refused("zeros-flood", b"00000001\r\nx\r\n" * 1500 + _END, "seven times the payload", _BOTH),
    _accepted("eight-digits", (b"00000100\r\n" + b"x" * 256 + b"\r\n") * 100 + _END, payload=b"x" * 25600),
    _accepted("extension-signatures", (b"10;chunk-signature=%b\r\n" % (b"a" * 64) + b"x" * 16 + b"\r\n") * 100 + _END,
              payload=b"x" * 1600, forwarded=(b"10\r\n" + b"x" * 16 + b"\r\n") * 100 + _END),
    _accepted("extension", b"3;a\r\nabc\r\n0;b=c\r\n\r\n", payload=b"abc", forwarded=b"3\r\nabc\r\n" + _END),
    _accepted("extension-quoted", b'3;a="\\";\xe9 "\r\nabc\r\n' + _END, payload=b"abc",
              forwarded=b"3\r\nabc\r\n" + _END),
    _accepted("extension-spaces", b"3 ; a\t=\tb ;c\r\nabc\r\n" + _END, payload=b"abc",
              forwarded=b"3\r\nabc\r\n" + _END),
    _accepted("line-1024", b"3;" + b"a" * 1020 + b"\r\nabc\r\n" + _END, payload=b"abc",
              forwarded=b"3\r\nabc\r\n" + _END),
    _accepted("nothing-yet", b"", done=False, case="18"),
    _accepted("size-cut", b"3", done=False, forwarded=b"", case="18"),
    _accepted("cr-cut", b"3\r", done=False, forwarded=b"", case="18"),
    _accepted("data-cut", b"3\r\nab", done=False, payload=b"ab", case="18"),
    _accepted("data-end-cut", b"3\r\nabc\r", done=False, payload=b"abc", forwarded=b"3\r\nabc", case="18"),
    _accepted("no-last", b"3\r\nabc\r\n", done=False, payload=b"abc", case="18"),
    _accepted("last-cut", b"3\r\nabc\r\n0\r\n", done=False, payload=b"abc", forwarded=b"3\r\nabc\r\n", case="18"),
    _accepted("end-cut", b"0\r\n\r", done=False, forwarded=b"", case="18"),
)  # fmt: skip

_TRAILERS: Final = (
    _accepted("trailer", b"0\r\nX-A: b\r\nX-C:\r\n\r\n", case="9"),
    *(
        _accepted("trailer-" + name.decode().lower(), b"0\r\n" + name + b": x\r\nX-A: b\r\n\r\n", case="9",
                  forwarded=_END)
        for name in (
            b"Transfer-Encoding", b"transfer_encoding", b"Content-Length", b"Host", b"Connection", b"TE", b"Trailer",
            b"Authorization", b"Cookie", b"Set-Cookie", b"X-Forwarded-For", b"X_FORWARDED_PROTO", b"Forwarded",
            b"Content-Type", b"Expect", b"Via", b"X-Request-Id", b"Upgrade", b"Proxy-Authorization", b"X-Real-IP",
        )
    ),
    *(
        _refused("trailer-" + name, b"0\r\n" + line + b"\r\n\r\n", why, lax, case="9")
        for name, line, why, lax in (
            ("space-before-colon", b"X : y", "no field", ()),
            ("no-colon", b"X", "no field", ()),
            ("fold", b"X: y\r\n z", "obs-fold", (H11,)),
            ("control", b"X: \x01", "a control byte", (H11,)),
            ("lf", b"X: a\nY: b", "bare LF", (H11,)),
            ("cr", b"X: a\rb", "bare CR", ()),
        )
    ),
    _refused("trailers-over", b"0\r\n" + b"X: " + b"a" * 9000 + b"\r\n\r\n", "over 8,192 bytes", _BOTH, case="9"),
    _refused("trailers-endless", b"0\r\n" + b"X: y\r\n" * 1500, "over 8,192 bytes", case="9"),
)  # fmt: skip

CHUNKED: Final = (*_SIZES, *_ENDS, *_EXTENSIONS, *_VALID, *_TRAILERS)
