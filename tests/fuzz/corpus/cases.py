"""What the corpus is made of: the cases that new proxies get wrong, and the shape of an entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CASES: Final = {
    "1": "Content-Length and Transfer-Encoding together (RFC 9112 sections 6.1, 6.3)",
    "2": "several Content-Length, or a list in one (RFC 9112 section 6.3)",
    "3": "Content-Length that is not 1*DIGIT (RFC 9110 section 8.6)",
    "4": "Transfer-Encoding other than exactly chunked (RFC 9112 section 6.1)",
    "5": "Transfer-Encoding in HTTP/1.0 (RFC 9112 section 6.1)",
    "6": "field names: white space, empty, no token; obs-fold (RFC 9112 sections 5.1, 5.2)",
    "7": "bare LF, bare CR, NUL and control bytes (RFC 9112 section 2.2, RFC 9110 section 5.5)",
    "8": "chunk sizes, chunk ends, chunk extensions (RFC 9112 section 7.1)",
    "9": "trailers with framing or routing fields (RFC 9110 section 6.5.1)",
    "10": "Connection that names what must pass or what the proxy sets (RFC 9110 section 7.6.1)",
    "11": "hop-by-hop fields (RFC 9110 section 7.6.1)",
    "12": "Host: none, two, bad, differing from an absolute target (RFC 9112 section 3.2)",
    "13": "a request's body ends where it ends, whatever follows (RFC 9112 section 9.3)",
    "15": "HEAD, 204, 304 and 1xx (RFC 9112 section 6.3)",
    "16": "100-continue, 103 and several 1xx (RFC 9110 section 15.2)",
    "17": "Upgrade: h2c, in 1.0, with a body (RFC 9110 section 7.8)",
    "17a": "101 that names no protocol (RFC 9110 section 7.8)",
    "18": "truncated messages (RFC 9112 section 8)",
    "19": "responses that end with the connection (RFC 9112 section 6.3)",
    "20": "request targets (RFC 9112 section 3.2, RFC 3986 section 6)",
    "21": "X-Forwarded-*, Forwarded, X-Real-IP and their twins with _ (RFC 7239)",
    "22": "TRACE, CONNECT, GET *, unknown methods (RFC 9110 section 9, RFC 9112 section 3.2.4)",
    "23": "Max-Forwards (RFC 9110 section 7.6.2)",
    "24": "pipelined requests, and an error in the second (RFC 9112 section 9.3.2)",
    "25": "head, line or number of fields over the limit (RFC 6585 section 5)",
    "26": "bytes one by one (RFC 9112 section 2)",
    "27": "empty lines, garbage, TLS, HTTP/2, other versions (RFC 9112 sections 2.2, 2.3)",
    "28": "malformed responses (RFC 9112 sections 4, 5)",
    "30": "Date and loops by Via (RFC 9110 sections 6.6.1, 7.6.3)",
}
"""The number of a case -> what it is about."""

H11: Final = "h11"
LLHTTP: Final = "llhttp"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCase:
    """Bytes of a client, and the only acceptable outcome.

    `status`: it is refused with it; 0: it is accepted; None: it is not whole yet. `lax`: parsers that accept what is
    refused here. For an accepted one: `target`, `authority` and `body` as the backend must read them, `rest` the bytes
    that are not part of it, `sent` field lines that must go out, `withheld` texts that must not go out.
    """

    case: str
    name: str
    data: bytes
    status: int | None = 0
    why: str = ""
    lax: tuple[str, ...] = ()
    target: bytes = b"/"
    authority: bytes = b"a"
    body: bytes = b""
    rest: bytes = b""
    sent: tuple[bytes, ...] = ()
    withheld: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        return f"{self.case}-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseCase:
    """Bytes of a backend that answers `method`; `refused`, or read with this `body` and this `rest`.

    `cut`: at the connection's end the response is not whole.
    """

    case: str
    name: str
    data: bytes
    refused: bool = False
    method: bytes = b"GET"
    why: str = ""
    lax: tuple[str, ...] = ()
    body: bytes = b""
    rest: bytes = b""
    cut: bool = False
    sent: tuple[bytes, ...] = ()
    withheld: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        return f"{self.case}-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkedCase:
    """A body in chunked coding: refused, not whole (`done` False), or read as `payload` with `rest` behind it.

    `forwarded`: the bytes that go on; None when they are those that came, without `rest`.
    """

    case: str
    name: str
    data: bytes
    refused: bool = False
    why: str = ""
    lax: tuple[str, ...] = ()
    done: bool = True
    payload: bytes = b""
    rest: bytes = b""
    forwarded: bytes | None = None

    def __str__(self) -> str:
        return f"{self.case}-{self.name}"
