"""The load's visits: what one client does on one connection, chosen by a seeded chance."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass, field, replace
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from benchmarks.soak.asked import ECHO, EVENTS, FAULTS, GOOD, KIB, SIZED, Asked, Behaviour, blocks, content
from benchmarks.soak.client import Answer, End, EndedError, Wire, read_answer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

FAULT_SHARE: Final = 0.08
LATE_HEAD: Final = 3_000_000_000
"""Nanoseconds: a head that takes longer is near the proxy's limit, as a busy machine may make it."""
NO_ANSWER: Final = Answer(End.NONE)
SMALL_FILE: Final = ("small.bin", 10 * KIB)
LARGE_FILE: Final = ("large.bin", 3 * 1024 * KIB)
EVENT_STREAM: Final = b"".join(b"data: %d\n\n" % number for number in range(10))


class Sent(enum.Enum):
    """What a client that went away had sent: a whole head at least, or a part of one.

    `RESET`: a head that the proxy may or may not have read before the connection was reset.
    """

    HEAD = "head"
    PART = "part"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as its client saw it. `visit`: the client's kind; times are monotonic nanoseconds.

    `right`: the answer's content is what it must be, as far as it came. `alone`: an earlier answer on the connection
    had announced its end, so this request is not to be answered. `opened`: when the connection was.
    """

    asked: Asked
    visit: str
    method: str
    began: int
    ended: int
    port: int
    answer: Answer
    right: bool = True
    alone: bool = False
    sent: Sent = Sent.HEAD
    opened: int = 0


@dataclass(slots=True)
class Visitor:
    """What a visit needs: a chance of its own, the next request's number, and where to note what came of it.

    `opened`: when its connection was, in monotonic nanoseconds.
    """

    port: int
    chance: random.Random
    number: Callable[[], int]
    done: list[Exchange] = field(repr=False)
    large: bool = True
    opened: int = 0

    def ask(self, behaviour: Behaviour, method: str = "GET", *, size: int | None = None) -> Asked:
        if size is None:
            size = self._size()
        if behaviour.bodiless:
            size = 0
        if behaviour.name == "surplus":
            size = min(size, 8 * KIB)  # so that what is too much comes with the answer, and not on the next one's time
        upload = 0
        if method in ("POST", "PUT"):
            upload = self._size()
        return Asked(self.number(), behaviour.name, size, upload)

    def _size(self) -> int:
        draw = self.chance.random()
        if draw < 0.01 and self.large:
            return self.chance.randrange(1_000_000, 4_000_000)
        return self.chance.randrange(100_000) if draw < 0.15 else self.chance.randrange(4 * KIB)

    def note(self, exchange: Exchange) -> None:
        """Keeps the exchange without its content, which has been looked at: a long run would not fit into memory."""
        answer = replace(exchange.answer, body=b"")
        self.done.append(replace(exchange, answer=answer, opened=self.opened))

    def head(self, what: Asked, method: str, *fields: str, minor: int = 1) -> bytes:
        lines = [f"{method} {what.target} HTTP/1.{minor}", "Host: soak", *fields]
        if self.chance.random() < 0.3:
            lines.append(f"Cookie: JSESSIONID=s{self.chance.randrange(50)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


def right(what: Asked, method: str, answer: Answer) -> bool:
    """Whether the content is right, as far as it came."""
    if answer.end is End.INVALID:
        return False
    if answer.status not in (200, 101):
        return True
    expected = EVENT_STREAM if what.behaviour == EVENTS.name else content(what.number, max(what.size, 0))
    if what.behaviour in _CUT and what.size < 100:
        expected = content(what.number, 100)
    if method == "HEAD" or what.behaviour == ECHO.name:
        expected = b""
    return answer.body == expected if answer.end is End.WHOLE else expected.startswith(answer.body)


_CUT: Final = frozenset(one.name for one in FAULTS if one.cut)


def chunked(data: bytes, chance: random.Random) -> bytes:
    """The data in chunked coding, in pieces of any size, now and then with an extension or a trailer."""
    parts = []
    start = 0
    while start < len(data):
        piece = data[start : start + chance.choice((1, 10, 1000, 16_000, 60_000))]
        extension = b";a=b" if chance.random() < 0.1 else b""
        parts.append(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece))
        start += len(piece)
    trailer = b"X-Trailer: a\r\n" if chance.random() < 0.2 else b""
    return b"".join(parts) + b"0\r\n" + trailer + b"\r\n"


# --- requests one after the other ----------------------------------------------------------------------------------


def choose(chance: random.Random) -> tuple[Behaviour, str]:
    group = FAULTS if chance.random() < FAULT_SHARE else GOOD
    behaviour = chance.choices(group, [one.weight for one in group])[0]
    method = chance.choices(("GET", "HEAD", "POST", "PUT"), (60, 4, 26, 10))[0]
    if behaviour.name == "early":
        method = "POST"
    if method == "HEAD" and behaviour.name not in ("sized", "chunked", "slow"):
        method = "GET"
    return behaviour, method


async def exchange(visitor: Visitor, wire: Wire, visit: str, *, minor: int = 1, more: tuple[str, ...] = ()) -> bool:
    """One request and its answer; whether the connection stays."""
    chance = visitor.chance
    behaviour, method = choose(chance)
    what = visitor.ask(behaviour, method)
    fields = [*more]
    body = content(what.number, what.upload)
    expects = False
    if method in ("POST", "PUT"):
        if minor and chance.random() < 0.4:
            fields.append("Transfer-Encoding: chunked")
            body = chunked(body, chance)
        else:
            fields.append(f"Content-Length: {len(body)}")
        expects = bool(minor and behaviour in GOOD and behaviour.name != "early" and chance.random() < 0.1)
        if expects:
            fields.append("Expect: 100-continue")
    began = monotonic_ns()
    wire.write(visitor.head(what, method, *fields, minor=minor))
    if expects:
        await asyncio.sleep(0.05)
    writer = asyncio.create_task(wire.write_all(body)) if body else None
    answer = await read_answer(wire, method)
    if writer is not None:
        if answer.end is End.WHOLE and not answer.close:
            await writer
        writer.cancel()
    visitor.note(Exchange(what, visit, method, began, monotonic_ns(), wire.port, answer, right(what, method, answer)))
    return answer.end is End.WHOLE and not answer.close


async def keep_alive(visitor: Visitor, wire: Wire) -> None:
    for _ in range(visitor.chance.randrange(1, 8)):
        if not await exchange(visitor, wire, "keep-alive"):
            return
        if visitor.chance.random() < 0.2:
            await asyncio.sleep(visitor.chance.random() * 0.5)
        if wire.ended:
            return


async def one_point_zero(visitor: Visitor, wire: Wire) -> None:
    more = ("Connection: keep-alive",) if visitor.chance.random() < 0.5 else ()
    for _ in range(3 if more else 1):
        if not await exchange(visitor, wire, "HTTP/1.0", minor=0, more=more) or wire.ended:
            return


async def pipeline(visitor: Visitor, wire: Wire) -> None:
    good = [one for one in GOOD if one.name not in ("early", "slow")]
    batch = [visitor.ask(visitor.chance.choice(good)) for _ in range(visitor.chance.randrange(2, 8))]
    began = monotonic_ns()
    wire.write(b"".join(visitor.head(what, "GET") for what in batch))
    closed = False
    for what in batch:
        answer = NO_ANSWER if closed else await read_answer(wire, "GET")
        ok = right(what, "GET", answer)
        visitor.note(Exchange(what, "pipelined", "GET", began, monotonic_ns(), wire.port, answer, ok, closed))
        closed = closed or answer.close


async def files(visitor: Visitor, wire: Wire) -> None:
    for _ in range(visitor.chance.randrange(1, 6)):
        name, size = LARGE_FILE if visitor.large and visitor.chance.random() < 0.03 else SMALL_FILE
        what = Asked(visitor.number(), "file", size)
        began = monotonic_ns()
        wire.write(f"GET /static/{name}?{what.target} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
        answer = await read_answer(wire, "GET")
        expected = content(0, size)
        ok = answer.body == expected if answer.end is End.WHOLE else expected.startswith(answer.body)
        visitor.note(Exchange(what, "static file", "GET", began, monotonic_ns(), wire.port, answer, ok))
        if answer.close or wire.ended:
            return


# --- long ones -------------------------------------------------------------------------------------------------------


async def events(visitor: Visitor, wire: Wire) -> None:
    await simple(visitor, wire, "events", visitor.ask(EVENTS, size=0))


async def simple(
    visitor: Visitor, wire: Wire, visit: str, what: Asked, *, pace: Callable[[], float] | None = None
) -> None:
    """One GET whose answer is to be right."""
    began = monotonic_ns()
    wire.write(visitor.head(what, "GET"))
    answer = await read_answer(wire, "GET", pace=pace)
    visitor.note(Exchange(what, visit, "GET", began, monotonic_ns(), wire.port, answer, right(what, "GET", answer)))


async def tunnel(visitor: Visitor, wire: Wire) -> None:
    what = visitor.ask(ECHO, size=0)
    began = monotonic_ns()
    wire.write(visitor.head(what, "GET", "Connection: Upgrade", "Upgrade: echo"))
    answer = await read_answer(wire, "GET")
    ok = answer.status == 101
    if ok:
        try:
            async with asyncio.timeout(20):
                ok = await _echoes(visitor, wire, what.number)
        except EndedError:
            ok, answer = True, Answer(End.CUT, 101)
        except TimeoutError:
            ok = False
    visitor.note(Exchange(what, "tunnel", "GET", began, monotonic_ns(), wire.port, answer, ok or answer.status != 101))


async def _echoes(visitor: Visitor, wire: Wire, number: int) -> bool:
    for turn in range(visitor.chance.randrange(1, 6)):
        data = content(number * 100 + turn, visitor.chance.randrange(1, 200_000 if visitor.large else 20_000))
        writer = asyncio.create_task(wire.write_all(data))
        back = bytearray()
        try:
            await wire.exactly(len(data), back)
            await writer
        finally:
            writer.cancel()
        if back != data:
            return False
        await asyncio.sleep(visitor.chance.random() * 0.4)
    wire.write_eof()
    rest = bytearray()
    await wire.rest(rest)
    return not rest


async def slow_reader(visitor: Visitor, wire: Wire) -> None:
    await simple(visitor, wire, "slow reader", visitor.ask(SIZED, size=500_000), pace=lambda: 0.1)


async def slow_head(visitor: Visitor, wire: Wire) -> None:
    what = visitor.ask(SIZED)
    head = visitor.head(what, "GET")
    began = monotonic_ns()
    for start in range(0, len(head), 12):
        wire.write(head[start : start + 12])
        await asyncio.sleep(0.05)
    name = "slow head" if monotonic_ns() - began < LATE_HEAD else "late head"
    answer = await read_answer(wire, "GET")
    ok = right(what, "GET", answer)
    visitor.note(Exchange(what, name, "GET", began, monotonic_ns(), wire.port, answer, ok))


async def half_closed(visitor: Visitor, wire: Wire) -> None:
    """Says that it will send no more, and waits for the answer all the same (RFC 9112 section 9.6)."""
    what = visitor.ask(SIZED)
    began = monotonic_ns()
    wire.write(visitor.head(what, "GET"))
    wire.write_eof()
    answer = await read_answer(wire, "GET")
    ok = right(what, "GET", answer)
    visitor.note(Exchange(what, "half-closed", "GET", began, monotonic_ns(), wire.port, answer, ok))


def write_file(path: str, size: int) -> None:
    with open(path, "wb") as file:
        for block in blocks(0, size):
            file.write(block)
