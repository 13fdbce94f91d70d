"""Ambiguous and hostile responses, and the valid ones nearest to them."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.corpus.cases import H11, LLHTTP, ResponseCase

_BOTH: Final = (H11, LLHTTP)


def _head(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"".join(part + b"\r\n" for part in (line, *fields)) + b"\r\n"


def _refused(case: str, name: str, data: bytes, why: str, lax: tuple[str, ...] = ()) -> ResponseCase:
    return ResponseCase(case=case, name=name, data=data, refused=True, why=why, lax=lax)


def _accepted(case: str, name: str, data: bytes, **reading: Any) -> ResponseCase:
    return ResponseCase(case=case, name=name, data=data, **reading)


_FRAMING: Final = (
    _refused("1", "cl-te", _head(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", "two lengths",
             (H11,)),
    _refused("1", "te-cl", _head(b"Transfer-Encoding: chunked", b"Content-Length: 3") + b"0\r\n\r\n", "two lengths",
             (H11,)),
    _refused("2", "cl-differing", _head(b"Content-Length: 3", b"Content-Length: 4") + b"abcd", "which?"),
    _refused("2", "cl-equal", _head(b"Content-Length: 3", b"Content-Length: 3") + b"abc", "twice", (H11,)),
    _refused("2", "cl-list", _head(b"Content-Length: 3, 3") + b"abc", "a list", (H11,)),
    *(
        _refused("3", name, _head(b"Content-Length: " + value) + b"abc", "not a length", lax)
        for name, value, lax in (
            ("plus", b"+3", ()), ("minus", b"-3", ()), ("hex", b"0x3", ()), ("letters", b"abc", ()),
            ("empty", b"", ()), ("20-digits", b"18446744073709551619", ()), ("space-behind", b"3 ", _BOTH),
            ("point", b"3.0", ()),
        )
    ),
    _accepted("3", "tab-before", _head(b"Content-Length:\t3") + b"abc", body=b"abc", sent=(b"Content-Length: 3",)),
    _accepted("3", "twin", _head(b"Content_Length: 1") + b"abc", body=b"abc", withheld=(b"Content_Length",)),
    *(
        _refused("4", name, _head(b"Transfer-Encoding: " + value) + b"0\r\n\r\n", "not chunked", lax)
        for name, value, lax in (
            ("xchunked", b"xchunked", ()), ("identity", b"identity", ()), ("gzip", b"gzip", ()),
            ("gzip-chunked", b"gzip, chunked", (LLHTTP,)), ("chunked-identity", b"chunked, identity", ()),
            ("space-behind", b"chunked ", _BOTH), ("quotes", b'"chunked"', ()),
            ("vertical-tab", b"\x0bchunked", ()),
        )
    ),
    _refused("4", "two-lines", _head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
             "twice", (LLHTTP,)),
    _refused("5", "te-in-1.0", _head(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK") + b"0\r\n\r\n",
             "1.0 has no codings", _BOTH),
    _accepted("4", "other-case", _head(b"transfer-encoding:CHUNKED") + b"3\r\nabc\r\n0\r\n\r\n", body=b"abc",
              sent=(b"Transfer-Encoding: chunked",)),
    _accepted("8", "extension", _head(b"Transfer-Encoding: chunked") + b"3;x\r\nabc\r\n0\r\n\r\n", body=b"abc"),
    _accepted("9", "trailers", _head(b"Transfer-Encoding: chunked", b"Trailer: X-Sum") + b"0\r\nX-Sum: 1\r\n\r\n",
              sent=(b"Trailer: X-Sum",)),
    _accepted("9", "trailers-to-head", _head(b"Transfer-Encoding: chunked", b"Trailer: X-Sum"), method=b"HEAD",
              withheld=(b"Trailer",)),
    _refused("8", "bad-size", _head(b"Transfer-Encoding: chunked") + b"xyz\r\n", "not a size"),
    _refused("8", "no-crlf", _head(b"Transfer-Encoding: chunked") + b"3\r\nabcd\r\n0\r\n\r\n", "a longer chunk"),
)  # fmt: skip

_FIELDS: Final = (
    *(
        _refused("6", name, _head(line, b"Content-Length: 0"), "no field", lax)
        for name, line, lax in (
            ("space-before-colon", b"X : y", ()), ("empty-name", b": y", ()), ("no-colon", b"X", ()),
            ("inner-space", b"X Y: z", ()), ("fold", b"X: y\r\n z", (H11,)), ("non-ascii", b"X\xe9: y", ()),
        )
    ),
    *(
        _refused("7", name, data, "a control byte", lax)
        for name, data, lax in (
            ("nul", _head(b"X: a\x00b", b"Content-Length: 0"), ()),
            ("bell", _head(b"X: a\x07b", b"Content-Length: 0"), (H11,)),
            ("cr", _head(b"X: a\rb", b"Content-Length: 0"), ()),
            ("lf", _head(b"X: a\nSet-Cookie: b", b"Content-Length: 0"), (H11,)),
            ("lf-status", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", (H11,)),
            ("lf-end", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", (H11,)),
            ("nul-reason", _head(b"Content-Length: 0", line=b"HTTP/1.1 200 O\x00K"), (LLHTTP,)),
            ("cr-reason", _head(b"Content-Length: 0", line=b"HTTP/1.1 200 O\rK"), ()),
        )
    ),
    _accepted("10", "names-framing", _head(b"Connection: Content-Length, Set-Cookie", b"Content-Length: 3",
              b"Set-Cookie: a=b") + b"abc", body=b"abc", sent=(b"Content-Length: 3", b"Set-Cookie: a=b")),
    _accepted("10", "names-own", _head(b"Connection: X-Hop", b"X-Hop: 1", b"Content-Length: 0"), withheld=(b"X-Hop",)),
    _accepted("11", "hop-by-hop", _head(b"Connection: keep-alive", b"Keep-Alive: timeout=5", b"Upgrade: h2c",
              b"Proxy-Authenticate: Basic", b"Proxy-Connection: x", b"TE: x", b"Keep_Alive: x", b"Content-Length: 0"),
              withheld=(b"eep-", b"eep_", b"h2c", b"Basic", b"Proxy", b"TE:")),
    _accepted("11", "close", _head(b"Connection: X-Hop, Close", b"Content-Length: 0"), withheld=(b"lose",)),
    _accepted("11", "close-and-keep-alive", _head(b"Connection: keep-alive", b"Connection: close",
              b"Content-Length: 0"), withheld=(b"lose", b"live")),
    _accepted("11", "1.0", _head(b"Content-Length: 0", line=b"HTTP/1.0 200 OK")),
    _accepted("11", "1.0-keep-alive", _head(b"Connection: Keep-Alive", b"Content-Length: 0", line=b"HTTP/1.0 200 OK"),
              withheld=(b"live",)),
    _accepted("30", "no-date", _head(b"Content-Length: 0"), sent=(b"Date: Sun, 06 Nov 1994 08:49:37 GMT",)),
    _accepted("30", "date", _head(b"Date: x", b"Content-Length: 0"), sent=(b"Date: x",), withheld=(b"Sun",)),
    _accepted("21", "request-id", _head(b"X-Request-Id: other", b"X_Request_Id: other", b"Content-Length: 0"),
              sent=(b"X-Request-Id: 0123456789abcdef",), withheld=(b"other",)),
)  # fmt: skip

_BODIES: Final = (
    _accepted("15", "head", _head(b"Content-Length: 3"), method=b"HEAD", sent=(b"Content-Length: 3",)),
    _accepted("15", "head-with-body", _head(b"Content-Length: 3") + b"abc", method=b"HEAD", rest=b"abc"),
    _accepted("15", "head-chunked", _head(b"Transfer-Encoding: chunked"), method=b"HEAD",
              withheld=(b"Transfer-Encoding",)),
    _accepted("15", "204", _head(line=b"HTTP/1.1 204 No Content")),
    _accepted("15", "304-length", _head(b"Content-Length: 3", line=b"HTTP/1.1 304 Not Modified"),
              sent=(b"Content-Length: 3",)),
    _accepted("15", "204-body", _head(line=b"HTTP/1.1 204 No Content") + b"abc", rest=b"abc"),
    _accepted("16", "100", _head(line=b"HTTP/1.1 100 Continue") + _head(b"Content-Length: 3") + b"abc", body=b"abc",
              sent=(b"HTTP/1.1 100 Continue",)),
    _accepted("16", "103-twice", _head(b"Link: </a>", line=b"HTTP/1.1 103 Early Hints") * 2
              + _head(b"Content-Length: 0"), sent=(b"Link: </a>",)),
    _accepted("16", "1xx-with-a-body-s-length", _head(b"Content-Length: 3", line=b"HTTP/1.1 103 Early Hints")
              + _head(b"Content-Length: 5") + b"hello", body=b"hello", withheld=(b"Length: 3",)),
    _accepted("16", "1xx-chunked", _head(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 103 Early Hints")
              + _head(b"Content-Length: 5") + b"hello", body=b"hello", withheld=(b"chunked",)),
    _accepted("16", "1xx-hop-by-hop", _head(b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: x", b"Link: </a>",
              line=b"HTTP/1.1 103 Early Hints") + _head(b"Content-Length: 0"), sent=(b"Link: </a>",),
              withheld=(b"Hop", b"Keep")),
    _accepted("16", "1xx-length", _head(b"Content-Length: 0", line=b"HTTP/1.1 102 Processing")
              + _head(b"Content-Length: 3") + b"abc", body=b"abc"),
    _accepted("17", "101", _head(b"Connection: Upgrade", b"Upgrade: websocket", line=b"HTTP/1.1 101 Up") + b"\x81\x00",
              rest=b"\x81\x00", sent=(b"Connection: Upgrade", b"Upgrade: websocket")),
    _accepted("17", "101-in-two-lines", _head(b"Connection: Upgrade", b"Upgrade: a/1", b"Upgrade: b",
              line=b"HTTP/1.1 101 Up"), sent=(b"Upgrade: a/1, b",)),
    _refused("17a", "101-without-upgrade", _head(line=b"HTTP/1.1 101 Up"), "it names no protocol"),
    _refused("17a", "101-without-connection", _head(b"Upgrade: websocket", line=b"HTTP/1.1 101 Up"),
             "it does not say that it switches"),
    _refused("17a", "101-to-an-empty-list", _head(b"Connection: Upgrade", b"Upgrade: ,", line=b"HTTP/1.1 101 Up"),
             "it names no protocol", (LLHTTP,)),
    _accepted("18", "length-short", _head(b"Content-Length: 9") + b"abc", cut=True),
    _accepted("18", "no-last-chunk", _head(b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n", cut=True),
    _accepted("18", "no-last-crlf", _head(b"Transfer-Encoding: chunked") + b"0\r\n", cut=True),
    _accepted("18", "head-cut", b"HTTP/1.1 200 OK\r\nContent-Le", cut=True),
    _accepted("18", "nothing", b"", cut=True),
    _accepted("19", "until-close", _head() + b"abc", body=b"abc", sent=(b"Transfer-Encoding: chunked",)),
    _accepted("19", "until-close-1.0", _head(line=b"HTTP/1.0 200 OK") + b"abc", body=b"abc",
              sent=(b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked")),
    _accepted("19", "empty", _head(), sent=(b"Transfer-Encoding: chunked",)),
    _accepted("28", "surplus", _head(b"Content-Length: 3") + b"abcHTTP/1.1 200 OK\r\n\r\n", body=b"abc",
              rest=b"HTTP/1.1 200 OK\r\n\r\n"),
    _accepted("28", "surplus-chunked", _head(b"Transfer-Encoding: chunked") + b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
              rest=b"HTTP/1.1 200 OK\r\n\r\n"),
    _accepted("28", "no-reason", _head(b"Content-Length: 0", line=b"HTTP/1.1 200 ")),
    _accepted("28", "no-space", _head(b"Content-Length: 0", line=b"HTTP/1.1 200"), sent=(b"HTTP/1.1 200 ",)),
    _accepted("28", "obs-text-reason", _head(b"Content-Length: 0", line=b"HTTP/1.1 200 \xe9")),
    *(
        _refused("28", name, _head(b"Content-Length: 0", line=line), "no status line", lax)
        for name, line, lax in (
            ("version-1.2", b"HTTP/1.2 200 OK", (H11,)), ("version-2", b"HTTP/2.0 200 OK", _BOTH),
            ("version-0.9", b"HTTP/0.9 200 OK", _BOTH), ("lower-case", b"http/1.1 200 OK", ()),
            ("status-2", b"HTTP/1.1 20 OK", ()), ("status-4", b"HTTP/1.1 2000 OK", ()),
            ("status-letters", b"HTTP/1.1 2x0 OK", ()), ("status-0", b"HTTP/1.1 000 OK", (LLHTTP,)),
            ("status-600", b"HTTP/1.1 600 OK", _BOTH), ("two-spaces", b"HTTP/1.1  200 OK", ()),
            ("tab", b"HTTP/1.1\t200 OK", ()), ("no-gap", b"HTTP/1.1 200OK", ()),
            ("space-before", b" HTTP/1.1 200 OK", ()),
            ("request", b"GET / HTTP/1.1", ()), ("icy", b"ICY 200 OK", ()), ("rtsp", b"RTSP/1.0 200 OK", (LLHTTP,)),
        )
    ),
    _refused("28", "empty-line-first", b"\r\n" + _head(b"Content-Length: 0"), "RFC 9112 section 2.2 skips none here",
             (LLHTTP,)),
    _refused("28", "garbage", b"\x00\x01\x02", "no response"),
    _refused("28", "http-0.9", b"<html>hello</html>", "no response"),
    _refused("25", "head-over", _head(*(b"X: " + b"a" * 8000 for _ in range(9)), b"Content-Length: 0"),
             "over 65,536 bytes", _BOTH),
    _accepted("25", "100-fields", _head(*(b"X: a",) * 99, b"Content-Length: 0")),
    _refused("25", "101-fields", _head(*(b"X: a",) * 100, b"Content-Length: 0"), "over 100 fields", _BOTH),
    _refused("25", "head-endless", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000, "over 65,536 bytes"),
)  # fmt: skip

RESPONSES: Final = (*_FRAMING, *_FIELDS, *_BODIES)
