"""Clients that go away, stop, say nothing, or send what is not HTTP."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from benchmarks.soak.asked import SIZED, Asked, content
from benchmarks.soak.client import read_answer
from benchmarks.soak.visits import NO_ANSWER, Exchange, Sent, choose, chunked, right

if TYPE_CHECKING:
    from benchmarks.soak.client import Wire
    from benchmarks.soak.visits import Visitor

STALL_SECONDS: Final = 12
MALFORMED: Final = (
    b"GET {} HTTP/1.1\r\n\r\n",
    b"GET {} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET {} HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET {} HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    b"GET {} HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    b"GET {} HTTP/1.1\nHost: a\n\n",
    b"GET  {} HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET {} HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    b"POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
    b"POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST {} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"GET {} HTTP/1.1\r\nHost: a\r\n" + b"X-Long: " + b"a" * 40_000 + b"\r\n\r\n",
    b"GET {} HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"TRACE {} HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 {}\r\n\r\n",
)


async def stalled(visitor: Visitor, wire: Wire) -> None:
    """Reads nothing of a large answer for longer than it may."""
    what = visitor.ask(SIZED, size=12_000_000)
    began = monotonic_ns()
    wire.stall()
    wire.write(visitor.head(what, "GET"))
    await asyncio.sleep(STALL_SECONDS)
    wire.go_on()
    answer = await read_answer(wire, "GET")
    ok = right(what, "GET", answer)
    visitor.note(Exchange(what, "stalled reader", "GET", began, monotonic_ns(), wire.port, answer, ok))


async def aborted(visitor: Visitor, wire: Wire) -> None:
    """Goes away somewhere in its request or in the answer."""
    chance = visitor.chance
    behaviour, method = choose(chance)
    what = visitor.ask(behaviour, method)
    body = content(what.number, what.upload)
    fields: tuple[str, ...] = ()
    if method in ("POST", "PUT"):
        coded = chance.random() < 0.4
        fields = ("Transfer-Encoding: chunked",) if coded else (f"Content-Length: {len(body)}",)
        body = chunked(body, chance) if coded else body
    head = visitor.head(what, method, *fields)
    data = head + body
    began = monotonic_ns()
    whole = chance.random() < 0.5
    data = data if whole else data[: chance.randrange(len(data))]
    await wire.write_all(data)
    await asyncio.sleep(chance.choice((0, 0.001, 0.01, 0.1)))
    reset = chance.random() < 0.5
    open_end = reset or len(data) - wire.unsent < len(head)
    sent = Sent.PART if len(data) < len(head) else Sent.RESET if open_end else Sent.HEAD
    wire.close(reset=reset)
    visitor.note(Exchange(what, "aborted", method, began, monotonic_ns(), wire.port, NO_ANSWER, sent=sent))


async def partial(visitor: Visitor, wire: Wire) -> None:
    """Sends half of a request and waits: its time runs out."""
    chance = visitor.chance
    if chance.random() < 0.5:
        what = visitor.ask(SIZED)
        head = visitor.head(what, "GET")
        visit, method, data = "half a head", "GET", head[: len(head) - 2]
    else:
        what = Asked(visitor.number(), "sized", 100, 5000)
        visit, method = "half a body", "POST"
        data = visitor.head(what, "POST", "Content-Length: 5000") + content(what.number, 2500)
    began = monotonic_ns()
    wire.write(data)
    answer = await read_answer(wire, method)
    visitor.note(Exchange(what, visit, method, began, monotonic_ns(), wire.port, answer))


async def malformed(visitor: Visitor, wire: Wire) -> None:
    what = visitor.ask(SIZED)
    began = monotonic_ns()
    wire.write(visitor.chance.choice(MALFORMED).replace(b"{}", what.target.encode()))
    answer = await read_answer(wire, "GET")
    visitor.note(Exchange(what, "malformed", "GET", began, monotonic_ns(), wire.port, answer))


async def idle(visitor: Visitor, wire: Wire) -> None:
    """Says nothing until the proxy has had enough of it."""
    what = Asked(visitor.number(), "none", 0)
    began = monotonic_ns()
    answer = await read_answer(wire, "GET")
    visitor.note(Exchange(what, "silent client", "GET", began, monotonic_ns(), wire.port, answer))
