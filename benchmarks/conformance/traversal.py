"""Targets that try to leave the static files' root, or to make a server fail; and some valid ones."""

from __future__ import annotations

import re
import time
from itertools import product
from typing import TYPE_CHECKING, Final

from benchmarks.conformance.groups import PAUSE, in_lanes, send
from benchmarks.conformance.model import Attempt, Miss, Score, shown
from benchmarks.conformance.smuggling import literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.conformance.wire import Recorder
    from benchmarks.servers import Server

TRAVERSAL: Final = "traversal"
SECRET: Final = b"the-secret-beside-the-root"
SERVED: Final = b"a file that is served\n"
MARKS: Final = (SECRET, b"root:x:0:0:")
STATUS: Final = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})")
LANES: Final = 48
PATIENCE: Final = 1.0
SLOW_PATIENCE: Final = 4.0

UPS: Final = (
    b"..", b"%2e%2e", b"%2E%2E", b".%2e", b"%2e.", b"%252e%252e", b"%25%32%65%25%32%65", b"%c0%ae%c0%ae",
    b"%c0%2e%c0%2e",
    b"%e0%80%ae%e0%80%ae", b"%f0%80%80%ae%f0%80%80%ae", b"%u002e%u002e", b"%uff0e%uff0e", b"%ef%bc%8e%ef%bc%8e",
    b"\xc0\xae\xc0\xae", b"%%32%65%%32%65", b"%2e%2e%00", b"..%00", b"%00..", b"...", b"....", b". .", b".. ", b"%20..",
    b"..%20", b"..%09", b"..;", b"..;a=b", b";..", b"..%3b", b".%00.", b"..%0d%0a", b"..%5c..", b"..\\..", b"..%01",
    b"~",
    b"..~", b"%2e%2e%2e", b".%252e", b"..%ff", b"%9c..", b"*", b"?..", b"#..", b"..:", b"%zz..", b"%..",
)  # fmt: skip
SLASHES: Final = (
    b"/", b"%2f", b"%2F", b"\\", b"%5c", b"%5C", b"//", b"/./", b"/%2e/", b"%252f", b"%255c", b"%c0%af", b"%c1%9c",
    b"%u2215",
    b"%u2216", b"%ef%bc%8f", b"%e2%81%84", b"%e0%80%af", b"/;/", b"%2f/", b"/%5c", b"///", b"%%32%66", b"/%00/",
)  # fmt: skip
STARTS: Final = (b"/static", b"/static/sub", b"/static/hello.txt", b"/static/none")
LENGTHS: Final = (100, 254, 255, 256, 1000, 4000, 4095, 4096, 4097, 7900, 8190, 16_000, 33_000, 70_000)


def prepare(directory: Path, site: Path) -> None:
    """Writes the files that are served into the root, and the secrets beside it."""
    (site / "sub").mkdir()
    for path in (site / "hello.txt", site / "sub" / "hello.txt"):
        path.write_bytes(SERVED)
    (directory / "secret.txt").write_bytes(SECRET)
    beside = directory / f"{site.name}-beside"
    beside.mkdir()
    (beside / "secret.txt").write_bytes(SECRET)


def targets() -> list[Attempt]:
    """All targets, as whole requests, each once."""
    found: dict[bytes, Attempt] = {}
    for family, target in (*_valid(), *_upwards(), *_names()):
        data = b"GET " + target + b" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        found.setdefault(target, Attempt(family, f"{literal(target)} ({len(found)})", data, int(family == "valid")))
    return list(found.values())


def _valid() -> Iterator[tuple[str, bytes]]:
    for target in (b"hello.txt", b"sub/hello.txt", b"hello.txt?a=../secret.txt", b"%68ello.txt", b"hello%2etxt"):
        yield "valid", b"/static/" + target


def _upwards() -> Iterator[tuple[str, bytes]]:
    for up, slash in product(UPS, SLASHES):
        yield "one up", b"/static" + slash + up + slash + b"secret.txt"
        yield "one up, after the slash", b"/static/" + up + slash + b"secret.txt"
    for start, up, slash, count in product(STARTS, UPS[:16], SLASHES[:13], (1, 2, 3, 8)):
        if count > 1 or start != b"/static":
            name = b"etc%bpasswd" % slash if count >= 3 else b"secret.txt"
            yield f"{count} up", start + b"/" + (up + slash) * count + name
    for slash in SLASHES:
        for name in (b"etc/passwd", b"site-beside/secret.txt", b"secret.txt"):
            yield "from the top", b"/static" + slash + slash + name
            yield "glued to the prefix", b"/static.." + slash + name
            yield "glued to the prefix", b"/static" + b"%2e%2e" + slash + name
            yield "beside", b"/static-beside" + slash + name
            yield "beside", b"/static" + slash + b".." + slash + b"site-beside" + slash + b"secret.txt"


def _names() -> Iterator[tuple[str, bytes]]:
    for length in LENGTHS:
        for piece in (
            b"a",
            b"%61",
            b"a/",
            b"../",
            b"./",
            b"/",
            b"%2e%2e/",
            b"%00",
            b"%c3%a4",
            b".",
            b"%2f",
            b";",
            b"?",
        ):
            yield "long", b"/static/" + piece * (length // len(piece))
        yield "long", b"/static/" + b"a" * length + b"/../hello.txt"
    for number in range(256):
        yield "escaped byte", b"/static/hello.txt%%%02x" % number
        yield "escaped byte", b"/static/%%%02xsecret.txt" % number
        if number not in b"\r\n ":
            yield "raw byte", b"/static/hello.txt%c" % number
    for name in (
        b".git/config", b".env", b".htaccess", b".ssh/id_rsa", b".", b"..", b"...", b"./hello.txt", b"sub/..",
        b"sub/.", b"sub",
        b"sub/", b"sub//hello.txt", b"hello.txt/", b"hello.txt/.", b"hello.txt/..", b"hello.txt/../..",
        b"hello.txt%00.png",
        b"hello.txt%20", b"hello.txt.", b"hello.txt::$DATA", b"HELLO.TXT", b"hello.txt~", b"CON", b"nul", b"%",
        b"%1", b"%%", b"%g0",
        b"%u0041", b"hello.txt;a", b"hello.txt;/../../secret.txt", b"hello.txt%3f", b"hello.txt%23",
        b"file:///etc/passwd",
        b"http://127.0.0.1/", b"%68%65%6c%6c%6f.txt/..%2f..%2fsecret.txt", b"{", b"|", b"^", b"`", b'"', b"<x>",
        b"[", b"\xc3\xa4",
    ):  # fmt: skip
        yield "name", b"/static/" + name
        yield "name", b"/static//" + name


def judge(attempt: Attempt, received: bytes, *, ended: bool) -> str:
    """Why this is a miss, empty when it is none: a secret, a status of 5xx, no answer, or a valid file refused."""
    if any(mark in received for mark in MARKS):
        return "a file outside the root was served"
    status = STATUS.match(received)
    if status is None:
        return "" if ended and not attempt.control else "no answer"
    if status[1].startswith(b"5"):
        return f"answered {status[1].decode()}"
    if attempt.control and not (status[1] == b"200" and received.endswith(b"\r\n\r\n" + SERVED)):
        return f"valid, but answered {status[1].decode()}"
    return ""


async def traverse(server: Server, attempts: Sequence[Attempt], recorder: Recorder) -> Score:
    """All targets, many at a time; a miss is tried once more, with more patience."""
    begun = time.monotonic()
    recorder.pause = PAUSE / 10
    numbered = dict(enumerate(attempts))
    misses: dict[int, Miss] = {}

    async def one(number: int, patience: float) -> None:
        attempt = numbered[number]
        received, ended = await send(server.port, attempt.data, patience)
        misses.pop(number, None)
        if why := judge(attempt, received, ended=ended):
            misses[number] = Miss(attempt.family, attempt.name, why, shown(attempt.data), (shown(received),))

    await in_lanes(LANES, (one(number, PATIENCE) for number in numbered))
    await in_lanes(LANES, (one(number, SLOW_PATIENCE) for number in list(misses)))
    recorder.taken()
    controls = sum(attempt.control for attempt in attempts)
    passed, seconds = len(attempts) - len(misses), time.monotonic() - begun
    return Score(server.name, TRAVERSAL, len(attempts), passed, controls, seconds, tuple(misses.values()))
