"""Ambiguous and hostile requests, and the valid ones nearest to them."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz.corpus.cases import H11, LLHTTP, RequestCase

_BOTH: Final = (H11, LLHTTP)
_NEXT: Final = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


def _head(*fields: bytes, line: bytes = b"POST / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"".join(part + b"\r\n" for part in (line, host, *fields) if part) + b"\r\n"


def _refused(
    case: str, name: str, data: bytes, why: str, status: int | None = 400, lax: tuple[str, ...] = ()
) -> RequestCase:
    return RequestCase(case=case, name=name, data=data, status=status, why=why, lax=lax)


def _accepted(case: str, name: str, data: bytes, **reading: Any) -> RequestCase:
    return RequestCase(case=case, name=name, data=data, **reading)


def _framing(case: str, name: str, fields: tuple[bytes, ...], why: str, lax: tuple[str, ...] = ()) -> RequestCase:
    """Refused for its framing fields, with a body and a second request that a lax reader would find."""
    return _refused(case, name, _head(*fields) + b"0\r\n\r\n" + _NEXT, why, lax=lax)


_BOTH_LENGTHS: Final = (
    _framing("1", "cl-te", (b"Content-Length: 5", b"Transfer-Encoding: chunked"), "two lengths", lax=(H11,)),
    _framing("1", "te-cl", (b"Transfer-Encoding: chunked", b"Content-Length: 5"), "two lengths", lax=(H11,)),
    _framing("1", "cl-zero-te", (b"Content-Length: 0", b"Transfer-Encoding: chunked"), "two lengths", lax=(H11,)),
    _framing("1", "cl-te-other-case", (b"content-LENGTH: 5", b"TRANSFER-encoding: CHUNKED"), "two lengths", lax=(H11,)),
    _framing("2", "cl-differing", (b"Content-Length: 5", b"Content-Length: 6"), "which is it?"),
    _framing("2", "cl-equal", (b"Content-Length: 5", b"Content-Length: 5"), "one of them is one too many", lax=(H11,)),
    _framing("2", "cl-list-equal", (b"Content-Length: 5, 5",), "a list", lax=(H11,)),
    _framing("2", "cl-list-differing", (b"Content-Length: 5, 6",), "a list"),
    _framing("2", "cl-apart", (b"Content-Length: 5", b"X: y", b"content-length: 5"), "twice", lax=(H11,)),
)

_LENGTHS: Final = tuple(
    _framing("3", name, (b"Content-Length:" + value,), why, lax)
    for name, value, why, lax in (
        ("plus", b" +5", "not a digit", ()),
        ("minus", b" -5", "not a digit", ()),
        ("minus-zero", b" -0", "not a digit", ()),
        ("hex", b" 0x5", "not a digit", ()),
        ("letter", b" 5a", "not a digit", ()),
        ("point", b" 5.0", "not a digit", ()),
        ("exponent", b" 1e1", "not a digit", ()),
        ("underscore", b" 1_0", "a digit to Python's int()", ()),
        ("empty", b"", "no digit", ()),
        ("blank", b" ", "no digit", ()),
        ("comma", b" 5,", "not a digit", ()),
        ("quotes", b' "5"', "not a digit", ()),
        ("two", b" 5 5", "which is it?", ()),
        ("space-behind", b" 5 ", "valid, but strip() is not the same everywhere", _BOTH),
        ("tab-behind", b" 5\t", "valid, but strip() is not the same everywhere", _BOTH),
        ("tab-before", b"\t5", "valid, but strip() is not the same everywhere", _BOTH),
        ("two-spaces-before", b"  5", "valid, but strip() is not the same everywhere", _BOTH),
        ("no-break-space", b" \xa05", "white space to some", ()),
        ("arabic-digit", b" \xd9\xa5", "a digit to Python's str.isdigit()", ()),
        ("20-digits", b" 18446744073709551621", "5 in 64 bits", ()),
        ("19-digits", b" 9223372036854775813", "negative in 64 bits with sign", ()),
        ("40-digits", b" " + b"0" * 39 + b"5", "more than some buffers hold", (LLHTTP,)),
    )
)

_CODINGS: Final = tuple(
    _framing("4", name, (b"Transfer-Encoding:" + value,), why, lax)
    for name, value, why, lax in (
        ("xchunked", b" xchunked", "unknown", ()),
        ("chunkedx", b" chunkedx", "unknown", ()),
        ("identity", b" identity", "not in RFC 9112 any more", ()),
        ("gzip", b" gzip", "no end to its body", ()),
        ("chunked-identity", b" chunked, identity", "chunked is not the last", ()),
        ("identity-chunked", b" identity, chunked", "a list", (LLHTTP,)),
        ("gzip-chunked", b" gzip, chunked", "a coding that nobody undoes", (LLHTTP,)),
        ("chunked-twice", b" chunked, chunked", "coded twice", ()),
        ("comma-before", b" , chunked", "an empty coding", (LLHTTP,)),
        ("comma-behind", b" chunked,", "an empty coding", ()),
        ("quotes", b' "chunked"', "no token", ()),
        ("parameter", b" chunked;q=1", "chunked has no parameters", ()),
        ("empty", b"", "no coding", ()),
        ("tab-before", b"\tchunked", "valid, but strip() is not the same everywhere", _BOTH),
        ("two-spaces-before", b"  chunked", "valid, but strip() is not the same everywhere", _BOTH),
        ("space-behind", b" chunked ", "valid, but strip() is not the same everywhere", _BOTH),
        ("tab-behind", b" chunked\t", "valid, but strip() is not the same everywhere", (H11,)),
        ("vertical-tab", b" \x0bchunked", "white space to some", ()),
        ("no-break-space", b" \xa0chunked", "white space to some", ()),
        ("nul", b" chunked\x00", "the end to some", ()),
    )
)
_CODING_LINES: Final = (
    _framing("4", "two-lines", (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "twice"),
    _framing("4", "second-unknown", (b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"), "which?"),
    _framing("4", "first-unknown", (b"Transfer-Encoding: x", b"Transfer-Encoding: chunked"), "which?", (LLHTTP,)),
    _refused("5", "te-in-1.0", _head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0") + b"0\r\n\r\n",
             "1.0 has no codings: a 1.0 hop took the body for the next request", lax=_BOTH),
)  # fmt: skip

_NAMES: Final = tuple(
    _refused("6", name, _head(line_, line=b"GET / HTTP/1.1"), why, lax=lax)
    for name, line_, why, lax in (
        ("space-before-colon", b"X : y", "removed by some, part of the name to others", ()),
        ("tab-before-colon", b"X\t: y", "removed by some", ()),
        ("te-space-before-colon", b"Transfer-Encoding : chunked", "hidden from those who don't remove it", ()),
        ("cl-space-before-colon", b"Content-Length : 5", "hidden from those who don't remove it", ()),
        ("empty-name", b": y", "no name", ()),
        ("no-colon", b"X", "no field", ()),
        ("inner-space", b"X Y: z", "no token", ()),
        ("bracket", b"X(Y): z", "no token", ()),
        ("slash", b"X/Y: z", "no token", ()),
        ("quote", b'"X": z', "no token", ()),
        ("at", b"X@Y: z", "no token", ()),
        ("non-ascii", b"X\xe9: z", "no token", ()),
        ("utf-8-bom", b"\xef\xbb\xbfX: z", "no token", ()),
        ("delete", b"X\x7f: z", "no token", ()),
        ("fold", b"X: y\r\n z", "obs-fold: two lines to some, one to others", (H11,)),
        ("fold-tab", b"X: y\r\n\tz", "obs-fold", (H11,)),
        ("fold-framing", b"Transfer-Encoding:\r\n chunked", "obs-fold", ()),
        ("fold-field", b"X: y\r\n Content-Length: 5", "a field inside a fold", (H11,)),
    )
)
_FIRST_LINES: Final = (
    _refused("6", "fold-first", b"GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", "white space before the first field"),
    _refused("6", "space-line", b"GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", "a line of white space", lax=(H11,)),
)  # fmt: skip

_CONTROLS: Final = (
    *(
        _refused("7", f"value-{byte:02x}", _head(b"X: a%cb" % byte, line=b"GET / HTTP/1.1"), "a control byte", lax=lax)
        for byte, lax in (
            (0x00, ()), (0x01, (H11,)), (0x07, (H11,)), (0x08, (H11,)), (0x0B, ()), (0x0C, ()),
            (0x0E, (H11,)), (0x1B, (H11,)), (0x1F, (H11,)), (0x7F, (H11,)), (0x0D, ()),
        )
    ),
    _refused("7", "lf-in-value", _head(b"X: a\nContent-Length: 5", line=b"GET / HTTP/1.1"), "a line end to some"),
    _refused("7", "lf-request-line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", "a line end to some", lax=(H11,)),
    _refused("7", "lf-field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", "a line end to some", lax=(H11,)),
    _refused("7", "lf-end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", "an empty line to some", lax=(H11,)),
    _refused("7", "lf-all", b"GET / HTTP/1.1\nHost: a\n\n", "bare LF", lax=(H11,)),
    _refused("7", "cr-request-line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", "a line end to some"),
    _refused("7", "cr-in-name", _head(b"X\rY: z", line=b"GET / HTTP/1.1"), "bare CR"),
    _refused("7", "cr-cr-lf", b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "bare CR"),
    _refused("7", "cr-before-end", b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", "bare CR"),
    _refused("7", "nul-in-target", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "NUL"),
    _refused("7", "nul-in-method", b"GET\x00 / HTTP/1.1\r\nHost: a\r\n\r\n", "NUL"),
    _refused("7", "nul-in-name", _head(b"X\x00: z", line=b"GET / HTTP/1.1"), "NUL"),
    _accepted("7", "obs-text", _head(b"X: \xe9\xff", line=b"GET / HTTP/1.1"), sent=(b"X: \xe9\xff",)),
    _accepted("7", "inner-tab", _head(b"X: a\tb", line=b"GET / HTTP/1.1"), sent=(b"X: a\tb",)),
)  # fmt: skip

_BODIES: Final = (
    _refused("8", "size-not-hex", _head(b"Transfer-Encoding: chunked") + b"g\r\n", "not a digit"),
    _refused("8", "size-0x", _head(b"Transfer-Encoding: chunked") + b"0x3\r\nabc\r\n0\r\n\r\n", "not a digit"),
    _accepted("8", "chunked", _head(b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n" + _NEXT, body=b"abc",
              rest=_NEXT, sent=(b"Transfer-Encoding: chunked",)),
    _accepted("8", "extension", _head(b"Transfer-Encoding: chunked") + b"3;x=\"0\"\r\nabc\r\n0;y\r\n\r\n", body=b"abc",
              withheld=(b";x", b";y")),
    _accepted("9", "trailer-framing", _head(b"Transfer-Encoding: chunked") + b"0\r\nContent-Length: 9\r\n\r\n" + _NEXT,
              rest=_NEXT, withheld=(b"Content-Length",)),
    _accepted("9", "trailer-host", _head(b"Transfer-Encoding: chunked") + b"0\r\nHost: evil\r\nX: y\r\n\r\n",
              withheld=(b"evil", b"X: y")),
    _accepted("9", "trailer-forwarded", _head(b"Transfer-Encoding: chunked") + b"0\r\nX_Forwarded_For: evil\r\n\r\n",
              withheld=(b"evil",)),
    _accepted("9", "trailer", _head(b"Transfer-Encoding: chunked") + b"0\r\nX-Sum: 1\r\n\r\n", sent=(b"X-Sum: 1",)),
    _accepted("4", "coding-in-other-case", _head(b"Transfer-Encoding: Chunked") + b"0\r\n\r\n",
              sent=(b"Transfer-Encoding: chunked",), withheld=(b"Chunked",)),
    _accepted("4", "twin", _head(b"Transfer_Encoding: chunked") + _NEXT, rest=_NEXT, withheld=(b"chunked",)),
    _accepted("3", "twin", _head(b"Content_Length: 5") + _NEXT, rest=_NEXT, withheld=(b"Content_Length",)),
    _accepted("3", "zeros-before", _head(b"Content-Length: 0005") + b"hello", body=b"hello"),
    _accepted("3", "no-space", _head(b"Content-Length:5") + b"hello", body=b"hello"),
    _accepted("3", "zero", _head(b"Content-Length: 0") + _NEXT, rest=_NEXT),
    _accepted("13", "request-as-body", _head(b"Content-Length: %d" % len(_NEXT)) + _NEXT, body=_NEXT),
    _accepted("13", "get-with-body", _head(b"Content-Length: 5", line=b"GET / HTTP/1.1") + b"hello" + _NEXT,
              body=b"hello", rest=_NEXT),
    _accepted("13", "post-without-length", _head() + b"hello", rest=b"hello"),
    _refused("18", "body-cut", _head(b"Content-Length: 9") + b"hello", "more is to come", status=None),
    _refused("18", "chunked-cut", _head(b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n", "no last chunk", status=None),
    _refused("18", "head-cut", b"GET / HTTP/1.1\r\nHost: a\r\n", "no empty line", status=None),
)  # fmt: skip

_HOP: Final = (
    _accepted("10", "names-forwarded", _head(b"Connection: close, X-Forwarded-For", b"X-Forwarded-For: evil",
              line=b"GET / HTTP/1.1"), sent=(b"X-Forwarded-For: 192.0.2.7",), withheld=(b"evil", b"close")),
    _accepted("10", "names-host", _head(b"Connection: host", line=b"GET / HTTP/1.1"), sent=(b"Host: a",)),
    _accepted("10", "names-length", _head(b"Connection: Content-Length", b"Content-Length: 5") + b"hello",
              body=b"hello", sent=(b"Content-Length: 5",)),
    _accepted("10", "names-coding", _head(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked")
              + b"0\r\n\r\n", sent=(b"Transfer-Encoding: chunked",)),
    _accepted("10", "names-identity", _head(b"Connection: cookie, AUTHORIZATION", b"Cookie: c=1", b"Authorization: d",
              line=b"GET / HTTP/1.1"), sent=(b"Cookie: c=1", b"Authorization: d")),
    _accepted("10", "names-via", _head(b"Connection: via", b"Via: 1.1 other", line=b"GET / HTTP/1.1"),
              sent=(b"Via: 1.1 other", b"Via: 1.1 switchyard")),
    _accepted("10", "names-request-id", _head(b"Connection: x-request-id", b"X-Request-Id: evil",
              line=b"GET / HTTP/1.1"), sent=(b"X-Request-Id: 0123456789abcdef",), withheld=(b"evil",)),
    _accepted("10", "names-own", _head(b"Connection: X-Hop, keep-alive", b"X-Hop: 1", b"X-End: 2",
              line=b"GET / HTTP/1.1"), sent=(b"X-End: 2",), withheld=(b"X-Hop",)),
    _accepted("10", "names-in-two-lines", _head(b"Connection: X-Hop", b"connection:\tx-other ", b"X-Hop: 1",
              b"X-Other: 1", line=b"GET / HTTP/1.1"), withheld=(b"X-Hop", b"X-Other")),
    _accepted("11", "hop-by-hop", _head(b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"TE: gzip",
              b"Upgrade: websocket", b"Proxy-Authorization: Basic x", b"Proxy-Authenticate: Basic", b"Proxy: evil",
              line=b"GET / HTTP/1.1"),
              withheld=(b"Keep-Alive", b"Proxy-", b"TE:", b"Upgrade", b"Proxy:")),
    _accepted("11", "te-trailers", _head(b"Connection: TE", b"TE: gzip, trailers", line=b"GET / HTTP/1.1"),
              sent=(b"TE: trailers", b"Connection: TE"), withheld=(b"gzip",)),
    _accepted("11", "twins", _head(b"Keep_Alive: 1", b"Proxy_Authorization: x", b"Proxy_Connection: x",
              line=b"GET / HTTP/1.1"), withheld=(b"_",)),
    _accepted("17", "websocket", _head(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket",
              line=b"GET / HTTP/1.1"), sent=(b"Connection: Upgrade", b"Upgrade: websocket")),
    _accepted("17", "h2c", _head(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk",
              line=b"GET / HTTP/1.1"), withheld=(b"h2c", b"HTTP2-Settings", b"Connection")),
    _accepted("17", "h2c-second", _head(b"Connection: Upgrade", b"Upgrade: websocket, h2c", line=b"GET / HTTP/1.1"),
              withheld=(b"h2c", b"Connection")),
    _accepted("17", "h2c-other-case", _head(b"Connection: upgrade", b"Upgrade:H2C", line=b"GET / HTTP/1.1"),
              withheld=(b"H2C", b"Connection")),
    _accepted("17", "in-1.0", _head(b"Connection: Upgrade", b"Upgrade: websocket", line=b"GET / HTTP/1.0"),
              withheld=(b"websocket", b"Connection")),
    _accepted("17", "two-lines", _head(b"Connection: Upgrade", b"Upgrade: a/1", b"Upgrade: ,", b"Upgrade: b",
              line=b"GET / HTTP/1.1"), sent=(b"Upgrade: a/1, b",)),
    _accepted("17", "h2c-first-of-two-lines", _head(b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade: b",
              line=b"GET / HTTP/1.1"), withheld=(b"Upgrade",)),
    _accepted("17", "not-in-connection", _head(b"Upgrade: websocket", line=b"GET / HTTP/1.1"),
              withheld=(b"websocket",)),
    _accepted("17", "with-body", _head(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 5")
              + b"hello", body=b"hello", withheld=(b"websocket",)),
    _accepted("17", "bytes-behind", _head(b"Connection: Upgrade", b"Upgrade: x", line=b"GET / HTTP/1.1") + b"\x81\x00",
              rest=b"\x81\x00", sent=(b"Upgrade: x",)),
    _accepted("16", "expect", _head(b"Expect: 100-continue", b"Content-Length: 5") + b"hello", body=b"hello",
              sent=(b"Expect: 100-continue",)),
    _accepted("16", "expect-in-1.0", _head(b"Expect: 100-Continue", b"Content-Length: 5", line=b"POST / HTTP/1.0")
              + b"hello", body=b"hello", withheld=(b"Expect",)),
    _refused("16", "expect-other", _head(b"Expect: 200-ok"), "RFC 9110 section 10.1.1", status=417, lax=_BOTH),
)  # fmt: skip

_HOSTS: Final = (
    _refused("12", "none", _head(host=b"", line=b"GET / HTTP/1.1"), "Host is required in 1.1", lax=(LLHTTP,)),
    _accepted("12", "none-in-1.0", _head(host=b"", line=b"GET / HTTP/1.0"), authority=b"",
              sent=(b"Host: localhost:8080",)),
    _refused("12", "two", _head(b"Host: b", line=b"GET / HTTP/1.1"), "the first, or the last?", lax=(LLHTTP,)),
    _refused("12", "two-equal", _head(b"Host: a", line=b"GET / HTTP/1.1"), "the first, or the last?", lax=(LLHTTP,)),
    _refused("12", "two-in-1.0", _head(b"HOST: b", line=b"GET / HTTP/1.0"), "the first, or the last?", lax=(LLHTTP,)),
    *(
        _refused("12", name, _head(host=b"Host:" + value, line=b"GET / HTTP/1.1"), "not a host", lax=lax)
        for name, value, lax in (
            ("empty", b"", _BOTH), ("blank", b" \t ", _BOTH), ("inner-space", b" a b", _BOTH),
            ("list", b" a, b", _BOTH),
            ("user", b" user@a", _BOTH), ("path", b" a/b", _BOTH), ("query", b" a?b", _BOTH),
            ("fragment", b" a#b", _BOTH), ("scheme", b" http://a", _BOTH), ("port-letters", b" a:b", _BOTH),
            ("port-65536", b" a:65536", _BOTH), ("two-ports", b" a:80:81", _BOTH), ("percent", b" a%2fb", _BOTH),
            ("ipv6-open", b" [::1", _BOTH), ("ipv6-bare", b" ::1", _BOTH), ("non-ascii", b" \xe9", _BOTH),
            ("backslash", b" a\\b", _BOTH), ("brackets", b" []", _BOTH), ("256", b" " + b"a" * 256, _BOTH),
        )
    ),
    _accepted("12", "port", _head(host=b"Host: a:65535", line=b"GET / HTTP/1.1"), authority=b"a:65535"),
    _accepted("12", "ipv6", _head(host=b"Host: [::1]:80", line=b"GET / HTTP/1.1"), authority=b"[::1]:80"),
    _accepted("12", "absolute-differs", _head(line=b"GET http://b/x HTTP/1.1"), target=b"/x", authority=b"b",
              sent=(b"Host: b", b"X-Forwarded-Host: b"), withheld=(b"Host: a\r",)),
    _accepted("12", "absolute-same", _head(line=b"GET http://a/x HTTP/1.1"), target=b"/x", sent=(b"Host: a",)),
    _accepted("12", "absolute-in-1.0", _head(host=b"", line=b"GET http://b/x HTTP/1.0"), target=b"/x", authority=b"b",
              sent=(b"Host: b",)),
    _refused("12", "absolute-without-host", _head(host=b"", line=b"GET http://b/x HTTP/1.1"), "Host is required",
             lax=(LLHTTP,)),
    _refused("12", "absolute-bad-host", _head(host=b"Host: a b", line=b"GET http://b/ HTTP/1.1"), "not a host",
             lax=_BOTH),
)  # fmt: skip


def _target(name: str, target: bytes, why: str, lax: tuple[str, ...] = (), method: bytes = b"GET") -> RequestCase:
    return _refused("20", name, _head(line=method + b" " + target + b" HTTP/1.1"), why, lax=lax)


_TARGETS: Final = (
    _target("absolute-user", b"http://user@a/", "user information", _BOTH),
    _target("absolute-user-port", b"http://a:80@b/", "two hosts to two readers", _BOTH),
    _target("absolute-no-host", b"http:///x", "no host", _BOTH),
    _target("absolute-fragment", b"http://a/#x", "a fragment", _BOTH),
    _target("absolute-backslash", b"http://a\\@b/", "two hosts to two readers", (H11,)),
    _target("absolute-port", b"http://a:99999/", "no port", _BOTH),
    _target("absolute-other-scheme", b"ftp://a/", "not http", _BOTH),
    _target("authority", b"a:80", "for CONNECT alone", (H11,)),
    _target("no-slash", b"x", "not a path", (H11,)),
    _target("query-only", b"?x", "not a path", (H11,)),
    _target("fragment", b"/x#y", "a fragment", _BOTH),
    _target("quote", b'/"', "to be encoded", _BOTH),
    _target("angle", b"/<script>", "to be encoded", _BOTH),
    _target("backslash", b"/a\\..\\b", "a slash to some", _BOTH),
    _target("non-ascii", b"/\xe9", "to be encoded"),
    _target("utf-8", "/é".encode(), "to be encoded"),
    _target("tab", b"/a\tb", "a separator to some"),
    _target("space", b"/a b", "a separator"),
    _target("delete", b"/\x7f", "a control byte"),
    _accepted("20", "absolute-bare", _head(line=b"GET http://a HTTP/1.1")),
    _accepted("20", "absolute-query", _head(line=b"GET HTTP://a?x=y HTTP/1.1"), target=b"/?x=y"),
    _accepted("20", "browser-characters", _head(line=b"GET /[]^|?{}`\\ HTTP/1.1"), target=b"/[]^|?{}`\\"),
    *(
        _accepted("20", name, _head(line=b"GET " + target + b" HTTP/1.1"), target=target)
        for name, target in (
            ("double-slash", b"//evil/x"), ("dot-segments", b"/a/./../b"), ("encoded-dots", b"/%2e%2e/x"),
            ("encoded-slash", b"/a%2fb"), ("encoded-nul", b"/a%00"), ("bad-escape", b"/a%zz"),
            ("query-url", b"/?u=http://b/"),
        )
    ),
    _accepted("22", "options-asterisk", _head(line=b"OPTIONS * HTTP/1.1"), target=b"*"),
    _accepted("22", "options-absolute", _head(line=b"OPTIONS http://a HTTP/1.1"), target=b"*"),
    _accepted("22", "unknown-method", _head(line=b"BREW / HTTP/1.1")),
    _accepted("22", "other-case", _head(line=b"get / HTTP/1.1")),
    _refused("22", "get-asterisk", _head(line=b"GET * HTTP/1.1"), "RFC 9112 section 3.2.4", lax=_BOTH),
    _refused("22", "trace", _head(line=b"TRACE / HTTP/1.1"), "it would show what the proxy adds", 405, lax=_BOTH),
    _refused("22", "connect", _head(line=b"CONNECT a:443 HTTP/1.1"), "no tunnels to anywhere", 501, lax=_BOTH),
    _refused("22", "connect-path", _head(line=b"CONNECT / HTTP/1.1"), "no tunnels to anywhere", 501, lax=_BOTH),
    _refused("22", "bad-method", _head(line=b"G(ET / HTTP/1.1"), "no token"),
    _refused("22", "no-method", _head(line=b" / HTTP/1.1"), "no token"),
    _accepted("23", "options", _head(b"Max-Forwards: 3", line=b"OPTIONS / HTTP/1.1"), sent=(b"Max-Forwards: 3",)),
    _accepted("23", "not-a-number", _head(b"Max-Forwards: x", line=b"OPTIONS / HTTP/1.1"), sent=(b"Max-Forwards: x",)),
)  # fmt: skip

_IDENTITY: Final = (
    _accepted("21", "all", _head(b"X-Forwarded-For: evil", b"X-Forwarded-Proto: evil", b"X-Forwarded-Host: evil",
              b"X-Forwarded-Port: evil", b"Forwarded: for=evil", b"X-Real-IP: evil", b"X-Forwarded-Prefix: /evil",
              line=b"GET / HTTP/1.1"), withheld=(b"evil",), sent=(b"X-Forwarded-For: 192.0.2.7",
              b"X-Forwarded-Proto: http", b"X-Forwarded-Host: a", b"X-Forwarded-Port: 8080")),
    _accepted("21", "twins", _head(b"X_Forwarded_For: evil", b"X-Forwarded_For: evil", b"x_real_ip: evil",
              b"X_Request_Id: evil", line=b"GET / HTTP/1.1"), withheld=(b"evil",)),
    _accepted("21", "empty", _head(b"X-Forwarded-For:", line=b"GET / HTTP/1.1"), sent=(b"X-Forwarded-For: 192.0.2.7",)),
    _accepted("30", "via", _head(b"Via: 1.0 other, 1.1 switchyard", line=b"GET / HTTP/1.0"),
              sent=(b"Via: 1.0 other, 1.1 switchyard", b"Via: 1.0 switchyard")),
)  # fmt: skip

_SEQUENCES: Final = (
    _accepted("24", "second-bad", _head(line=b"GET / HTTP/1.1") + b"BAD\r\n\r\n", rest=b"BAD\r\n\r\n"),
    _accepted("24", "second-whole", _head(line=b"GET / HTTP/1.1") + _NEXT, rest=_NEXT),
    _refused("25", "line-8193", _head(line=b"GET /" + b"a" * 8178 + b" HTTP/1.1"), "over 8,192 bytes", 414, lax=_BOTH),
    _accepted("25", "line-8192", _head(line=b"GET /" + b"a" * 8176 + b" HTTP/1.1"), target=b"/" + b"a" * 8176),
    _refused("25", "line-endless", b"GET /" + b"a" * 9000, "over 8,192 bytes", 414),
    _refused("25", "method-endless", b"G" * 9000, "over 8,192 bytes", 414),
    _refused("25", "head-over", _head(*(b"X: " + b"a" * 7997 for _ in range(5)), line=b"GET / HTTP/1.1"),
             "over 32,768 bytes", 431, lax=_BOTH),
    _refused("25", "head-endless", b"GET / HTTP/1.1\r\nX: " + b"a" * 33000, "over 32,768 bytes", 431),
    _refused("25", "101-fields", _head(*(b"X: y" for _ in range(100)), line=b"GET / HTTP/1.1"), "over 100", 431,
             lax=_BOTH),
    _accepted("25", "100-fields", _head(*(b"X: y" for _ in range(99)), line=b"GET / HTTP/1.1")),
    _refused("26", "first-byte", b"G", "more is to come", status=None),
    _refused("26", "first-cr", b"\r", "more is to come", status=None),
    _accepted("27", "one-empty-line", b"\r\n" + _head(line=b"GET / HTTP/1.1")),
    _refused("27", "two-empty-lines", b"\r\n\r\n" + _head(line=b"GET / HTTP/1.1"), "one is skipped", lax=(LLHTTP,)),
    _refused("27", "lf-first", b"\n" + _head(line=b"GET / HTTP/1.1"), "bare LF", lax=(LLHTTP,)),
    _refused("27", "tls-hello", bytes.fromhex("16030100f8010000f40303"), "TLS"),
    _refused("27", "http2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2", 505, lax=(H11,)),
    _refused("27", "http-1.2", _head(line=b"GET / HTTP/1.2"), "unknown version", 505, lax=(H11,)),
    _refused("27", "http-2.0", _head(line=b"GET / HTTP/2.0"), "unknown version", 505, lax=_BOTH),
    _refused("27", "http-0.9", _head(line=b"GET / HTTP/0.9"), "unknown version", 505, lax=_BOTH),
    _refused("27", "http-0.9-plain", b"GET /\r\n", "no version", lax=()),
    _refused("27", "lower-case", _head(line=b"GET / http/1.1"), "no version"),
    _refused("27", "version-11", _head(line=b"GET / HTTP/11"), "no version"),
    _refused("27", "version-1.10", _head(line=b"GET / HTTP/1.10"), "no version"),
    _refused("27", "version-plus", _head(line=b"GET / HTTP/1.+1"), "no version"),
    _refused("27", "two-spaces", _head(line=b"GET  / HTTP/1.1"), "one SP stands between the parts", lax=(LLHTTP,)),
    _refused("27", "two-spaces-version", _head(line=b"GET /  HTTP/1.1"), "one SP stands between the parts",
             lax=(LLHTTP,)),
    _refused("27", "tab", _head(line=b"GET\t/ HTTP/1.1"), "one SP stands between the parts"),
    _refused("27", "space-behind", _head(line=b"GET / HTTP/1.1 "), "nothing behind the version", lax=()),
    _refused("27", "space-before", _head(line=b" GET / HTTP/1.1"), "nothing before the method"),
    _refused("27", "four-parts", _head(line=b"GET / x HTTP/1.1"), "three parts"),
    _refused("27", "garbage", b"\x00\xff\xfe garbage", "no request"),
    _refused("27", "response", b"HTTP/1.1 200 OK\r\n\r\n", "no request"),
    _refused("27", "no-fields", b"GET / HTTP/1.1\r\n\r\n", "no Host", lax=(LLHTTP,)),
)  # fmt: skip

REQUESTS: Final = (
    *_BOTH_LENGTHS, *_LENGTHS, *_CODINGS, *_CODING_LINES, *_NAMES, *_FIRST_LINES, *_CONTROLS,
    *_BODIES, *_HOP, *_HOSTS, *_TARGETS, *_IDENTITY,
    *_SEQUENCES,
)  # fmt: skip
