"""Anything in any order: clients, backends and the supervisor do what they like, in pieces, until all is over.

Whatever happens, nothing is left (see `Site.finish`), no client sees another's answer or its own out of order, and no
request reaches backends more often than it may.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from playbook import CLOSED, EOF, RESET, Site, head

from proxy.core import orders

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer

ONE, TWO, THREE = "192.0.2.11:80", "192.0.2.12:80", "192.0.2.82:80"
TOKEN = re.compile(rb"X-Token: (\d+)-(\d+)\r\n")
REQUEST = re.compile(rb"([A-Z]+) /(\d+)-(\d+) HTTP/1\.1\r\n(?:[^\r]+\r\n)*\r\n")


class Shopper:
    """A client and what it still has to send."""

    def __init__(self, number: int, peer: Peer) -> None:
        self.number = number
        self.peer = peer
        self.unsent = b""
        self.received = b""
        self.requests = 0

    def queue(self, kind: int) -> None:
        self.requests += 1
        target, host = f"/{self.number}-{self.requests}", "Host: shop.test"
        long = ("Expect: 100-continue", "Content-Length: 300000")
        self.unsent += (
            lambda: head(f"GET {target} HTTP/1.1", host),
            lambda: head(f"GET {target} HTTP/1.1", host, "Cookie: JSESSIONID=one"),
            lambda: head(f"GET {target} HTTP/1.1", host, "Connection: Upgrade", "Upgrade: x") + b"tunnelled",
            lambda: head(f"GET {target} HTTP/1.0", host),
            lambda: head(f"GET {target} HTTP/1.1", host, "Connection: close"),
            lambda: head(f"HEAD {target} HTTP/1.1", host, "Cookie: JSESSIONID=one"),
            lambda: head(f"POST {target} HTTP/1.1", host, "Content-Length: 4") + b"body",
            lambda: head(f"POST {target} HTTP/1.1", host, *long) + b"x" * 300000,
            lambda: head(f"PUT {target} HTTP/1.1", host, "Transfer-Encoding: chunked") + b"4\r\nbody\r\n0\r\n\r\n",
            lambda: head(f"PUT {target} HTTP/1.1", host, "Transfer-Encoding: chunked") + b"4\r\nbodyXX0\r\n\r\n",
            lambda: head(f"GET {target} HTTP/1.1", host, "Connection: Upgrade", "Upgrade: x") + b"tunnelled",
            lambda: head(f"GET {target}%zz HTTP/1.1", host),
            lambda: b"garbage\r\n\r\n",
        )[kind % 16 if kind % 16 < 13 else 0]()  # fmt: skip

    def look(self) -> None:
        self.received += bytes(self.peer.wire.output)
        self.peer.wire.output.clear()


class Servant:
    """A backend's connection: what has come, what it has answered, and what it still has to send."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.received = b""
        self.answered = 0
        self.unsent = b""

    def requests(self) -> list[tuple[bytes, bytes]]:
        """(method, token) of what has come."""
        self.received += bytes(self.peer.wire.output)
        self.peer.wire.output.clear()
        return [(match[1], match[2] + b"-" + match[3]) for match in REQUEST.finditer(self.received)]

    def answer(self, kind: int) -> None:
        """Queues an answer to the first request that has none."""
        requests = self.requests()
        if len(requests) == self.answered:
            return
        token = f"X-Token: {requests[self.answered][1].decode()}"
        self.answered += 1
        upgrade = ("Connection: Upgrade", "Upgrade: x")
        if b"\r\nUpgrade: x\r\n" in self.received and kind % 3:
            kind = 6
        self.unsent += (
            lambda: head("HTTP/1.1 200 OK", token, "Content-Length: 2") + b"ok",
            lambda: head("HTTP/1.1 200 OK", token, "Content-Length: 300000") + b"x" * 300000,
            lambda: head("HTTP/1.1 200 OK", token, "Transfer-Encoding: chunked") + b"2;a\r\nok\r\n0\r\n\r\n",
            lambda: head("HTTP/1.1 200 OK", token) + b"until close",
            lambda: head("HTTP/1.1 100 Continue") + head("HTTP/1.1 200 OK", token, "Content-Length: 0"),
            lambda: head("HTTP/1.1 304 Not Modified", token, "Content-Length: 7"),
            lambda: head("HTTP/1.1 101 Switching Protocols", token, *upgrade) + b"tunnelled",
            lambda: head("HTTP/1.1 200 OK", token, "Content-Length: 2", "Connection: close") + b"ok",
            lambda: head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok and more than that",
            lambda: b"garbage\r\n\r\n",
        )[kind % 10]()  # fmt: skip


class World:
    """Takes numbers for orders."""

    def __init__(self, directory: Path) -> None:
        self.site = Site(
            directory,
            slots={"production": (ONE, TWO), "temp": (THREE,)},
            limits={"connections": 4, "held": 2, "hold": 3},
        )
        self.shoppers: list[Shopper] = []
        self.servants: dict[int, Servant] = {}
        self.active = "production"
        self.holding = False
        self.actions: tuple[Callable[[int], None], ...] = (
            self.arrive, self.arrive, self.ask, self.ask, self.ask, self.ask, self.ask, self.send, self.send, self.read,
            self.leave, self.serve, self.serve, self.serve, self.serve, self.serve, self.answer, self.answer, self.say,
            self.say, self.hang_up, self.hang_up, self.wait, self.order, self.order, self.trouble,
        )  # fmt: skip

    def act(self, number: int) -> None:
        number, action = divmod(number, len(self.actions))
        self.actions[action](number)
        self.site.settle()

    def shopper(self, number: int) -> Shopper | None:
        there = [shopper for shopper in self.shoppers if not shopper.peer.wire.lost]
        return there[number % len(there)] if there else None

    def servant(self, number: int) -> Servant | None:
        for script in self.site.backends.values():
            for peer in script.connections:
                self.servants.setdefault(id(peer), Servant(peer))
        there = [servant for servant in self.servants.values() if not servant.peer.wire.lost]
        return there[number % len(there)] if there else None

    def arrive(self, number: int) -> None:
        if sum(not shopper.peer.wire.lost for shopper in self.shoppers) < 5:
            self.shoppers.append(Shopper(len(self.shoppers), self.site.client()))

    def ask(self, number: int) -> None:
        if (shopper := self.shopper(number)) is not None:
            shopper.queue(number // 4)
            if number % 3 and not shopper.peer.ended:
                shopper.peer >> shopper.unsent
                shopper.unsent = b""

    def send(self, number: int) -> None:
        shopper = self.shopper(number)
        if shopper is not None and not shopper.peer.ended:
            size = (1, 20, 200, 100_000, 1_000_000)[number // 4 % 5]
            piece, shopper.unsent = shopper.unsent[:size], shopper.unsent[size:]
            if piece:
                shopper.peer >> piece

    def read(self, number: int) -> None:
        if (shopper := self.shopper(number)) is not None:
            if number // 4 % 3 == 0:
                shopper.peer.stop_reading()
            else:
                shopper.peer.read_on(None if number // 4 % 3 == 1 else min(50_000, len(shopper.peer.wire.unsent)))

    def leave(self, number: int) -> None:
        if (shopper := self.shopper(number)) is not None:
            shopper.look()
            shopper.peer >> (RESET if shopper.peer.ended else (EOF, CLOSED, RESET)[number // 4 % 3])

    def answer(self, number: int) -> None:
        if (servant := self.servant(number)) is not None:
            servant.answer(number // 8)
            self.say(number)

    def serve(self, number: int) -> None:
        """All backends answer all that they have been asked."""
        for turn in range(len(self.servants) + 1):
            servant = self.servant(turn)
            if servant is not None and not servant.peer.ended:
                servant.answer(number % 3)
                if servant.unsent:
                    servant.peer >> servant.unsent
                    servant.unsent = b""

    def say(self, number: int) -> None:
        servant = self.servant(number)
        if servant is not None and not servant.peer.ended:
            size = (1_000_000, 1, 50, 1_000_000, 200_000)[number // 8 % 5]
            piece, servant.unsent = servant.unsent[:size], servant.unsent[size:]
            if piece:
                servant.peer >> piece

    def hang_up(self, number: int) -> None:
        if (servant := self.servant(number)) is not None:
            servant.peer >> (RESET if servant.peer.ended else (EOF, CLOSED, RESET)[number // 8 % 3])

    def wait(self, number: int) -> None:
        self.site.wait((0.1, 0.1, 0.1, 3.0, 3.0, 25.0, 62.0)[number % 7])

    def order(self, number: int) -> None:
        site = self.site
        other = "temp" if self.active == "production" else "production"
        kind = number % 5
        if kind == 0 and not self.holding:
            site.hold(2.0)
            self.holding = True
        elif kind == 1 and self.holding:
            holds = [event for event in site.told if isinstance(event, orders.HoldAck)]
            site.switch(other, dict.fromkeys(holds[-1].busy, 1))
            self.active, self.holding = other, False
        elif kind == 2 and not self.holding:
            site.drain(other)
        elif kind == 3 and not self.holding:
            site.cut(other)
        elif kind == 4 and number // 5 % 4 == 0:
            site.server.stop()

    def trouble(self, number: int) -> None:
        script = self.site.backends[(ONE, TWO, THREE)[number % 3]]
        kind = number // 3 % 8
        script.refuses, script.hangs, script.resets = kind == 1, kind == 2, kind == 3

    def finish(self) -> None:
        self.site.finish()
        for shopper in self.shoppers:
            shopper.look()
            tokens = [(int(token[1]), int(token[2])) for token in TOKEN.finditer(shopper.received)]
            assert all(owner == shopper.number for owner, _ in tokens), "an answer went to another client"
            assert tokens == sorted(set(tokens)), "answers are out of order, or doubled"
        self.servant(0)
        sent = [request for servant in self.servants.values() for request in servant.requests()]
        for request in set(sent):
            assert sent.count(request) <= (1 if request[0] == b"POST" else 2), request


@settings(max_examples=150)
@given(st.lists(st.integers(0, 2**14), max_size=80))
def test_whatever_happens(numbers: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        try:
            for number in numbers:
                world.act(number)
        finally:
            world.finish()
