"""The load's requests: what each one sends, and the only answer that is right. Pure."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

KIB: Final = 1024
MAX_BODY: Final = 64 * KIB
_POOL: Final = random.Random(7).randbytes(4 * MAX_BODY)
_SPREAD: Final = 2654435761  # Knuth's multiplicative hash: neighbouring ids get bodies that differ
SESSION_COOKIE: Final = "JSESSIONID"
PREFIX: Final = "/r/"


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of request. Sizes are bytes.

    `pieces`: in how many parts the upload is sent, `gap` seconds apart; `wait_ms`: how long the backend thinks.
    """

    name: str
    weight: int
    method: str = "GET"
    answer: int = KIB
    upload: int = 0
    pieces: int = 1
    gap: float = 0.0
    chunked_upload: bool = False
    wait_ms: int = 0
    chunked_answer: bool = False


KINDS: Final = (
    Kind("get-1k", 54),
    Kind("get-64k", 8, answer=MAX_BODY),
    Kind("get-chunked", 6, answer=8 * KIB, chunked_answer=True),
    Kind("get-slow", 4, answer=2 * KIB, wait_ms=20),
    Kind("post-512", 14, method="POST", upload=512),
    Kind("post-20k", 6, method="POST", upload=20 * KIB, pieces=2),
    Kind("post-chunked", 6, method="POST", upload=6 * KIB, pieces=3, chunked_upload=True),
    Kind("post-slow", 2, method="POST", upload=4 * KIB, pieces=4, gap=0.005, chunked_upload=True),
)
WEIGHTS: Final = tuple(kind.weight for kind in KINDS)


def payload(number: int, size: int) -> bytes:
    """The bytes that belong to this request id: its upload, and its answer. At most MAX_BODY."""
    start = number * _SPREAD % (len(_POOL) - MAX_BODY)
    return _POOL[start : start + size]


def checksum(data: bytes) -> bytes:
    return b"%08x" % zlib.crc32(data)


def request(number: int, kind: Kind, session: int) -> tuple[bytes, list[bytes]]:
    """The head, and the body in pieces as they go over the wire. `session` below 0: none."""
    upload = payload(number, kind.upload)
    head = (
        f"{kind.method} {PREFIX}{number:x}?n={kind.answer}&w={kind.wait_ms}&c={kind.chunked_answer:d}"
        f"&s={session} HTTP/1.1\r\nHost: shop\r\n"
    )
    if session >= 0:
        head += f"Cookie: {SESSION_COOKIE}=s{session}\r\n"
    if not kind.upload:
        return f"{head}\r\n".encode(), []
    head += f"X-Sum: {checksum(upload).decode()}\r\n"
    size = -(-kind.upload // kind.pieces)
    pieces = [upload[start : start + size] for start in range(0, kind.upload, size)]
    if kind.chunked_upload:
        pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
        pieces[-1] += b"0\r\n\r\n"
        return f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), pieces
    return f"{head}Content-Length: {kind.upload}\r\n\r\n".encode(), pieces


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request's target asks the backend for."""

    number: int
    answer: int
    wait_ms: int
    chunked: bool
    session: int


def wanted(target: str) -> Wanted | None:
    """None for a target that is not one of the load's. Raises ValueError for one that is damaged."""
    path, _, query = target.partition("?")
    if not path.startswith(PREFIX):
        return None
    values = dict(parse_qsl(query, strict_parsing=True))
    return Wanted(
        number=int(path.removeprefix(PREFIX), 16),
        answer=int(values["n"]),
        wait_ms=int(values["w"]),
        chunked=values["c"] == "1",
        session=int(values["s"]),
    )


def response(asked: Wanted, slot: str, upload_sum: bytes) -> bytes:
    """The backend's answer: it names the slot, the request, and the checksum of the upload as it came."""
    body = payload(asked.number, asked.answer)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nX-Slot: %b\r\nX-Id: %x\r\nX-Sum: %b\r\n" % (
        slot.encode(),
        asked.number,
        upload_sum,
    )
    if not asked.chunked:
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    half = len(body) // 2
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
    return b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, chunks)
