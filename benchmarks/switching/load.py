"""The load: keep-alive connections that ask without pause and check every byte that comes back.

`python -m benchmarks.switching.load --port 8080 --out answers.bin`, until SIGTERM or `--seconds`. A request is sent
exactly once: nothing is repeated, so that nothing is hidden.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic_ns
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import httptools
import uvloop

from benchmarks.switching.message import KINDS, WEIGHTS, checksum, payload, request
from benchmarks.switching.records import NO_SLOT, Answer, Outcome

if TYPE_CHECKING:
    from benchmarks.switching.message import Kind

LATE_SECONDS: Final = 20.0
"""The client's patience: longer than any wait that a proxy here allows itself for a switch."""
END_SECONDS: Final = 25.0
RECONNECT_SECONDS: Final = 0.02
BUFFER: Final = 1 << 16
FOREVER: Final = (1 << 40, 1 << 40)


@dataclass(frozen=True, slots=True)
class Shape:
    """`sessions` are shared by all connections; `session_share` of the requests belong to one.

    `uses`: after how many requests a client closes its connection and opens another: between these.
    """

    port: int
    connections: int
    sessions: int
    session_share: float
    seconds: float
    uses: tuple[int, int] = (50, 400)


class Sheet:
    """The file of answers, written in blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._block = bytearray()

    def __repr__(self) -> str:
        return f"<Sheet {self._file.name}>"

    def note(self, answer: Answer) -> None:
        self._block += answer.pack()
        if len(self._block) >= BUFFER:
            self.flush()

    def flush(self) -> None:
        self._file.write(self._block)
        self._file.flush()
        self._block.clear()


class Client:
    """One user: at most one connection and one request at a time. Request ids are `first`, `first` + 1, …"""

    def __init__(self, shape: Shape, sheet: Sheet, chance: random.Random, first: int) -> None:
        self._shape = shape
        self._sheet = sheet
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self.number = first
        self.kind = 0
        self.session = -1
        self.sent = 0
        self.ended = asyncio.Event()
        self._uses = 0
        self._stopping = False
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Client number={self.number:x} {self._connection!r}>"

    def start(self) -> None:
        self._connecting = self._loop.create_task(self._connect())

    def stop(self) -> None:
        """The request under way is the last one."""
        self._stopping = True

    def give_up(self, now: int) -> None:
        """Ends the request under way when it is late."""
        if self.sent and now - self.sent > LATE_SECONDS * 1e9 and self._connection is not None:
            self._connection.fail(Outcome.LATE)

    async def _connect(self) -> None:
        while not self._stopping:
            self.sent = monotonic_ns()
            try:
                async with asyncio.timeout(LATE_SECONDS):
                    _, connection = await self._loop.create_connection(
                        lambda: Connection(self), "127.0.0.1", self._shape.port
                    )
            except (OSError, TimeoutError):
                self.number += 1
                self.note(Outcome.REFUSED, 0, NO_SLOT)
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            self._connection = connection
            self._uses = self._chance.randint(*self._shape.uses)
            self.ask()
            return
        self.ended.set()

    def ask(self) -> None:
        """The next request, on the connection that is there."""
        connection = self._connection
        if connection is None or self._stopping or not self._uses:
            self.leave()
            return
        self._uses -= 1
        self.number += 1
        [self.kind] = self._chance.choices(range(len(KINDS)), WEIGHTS)
        in_session = self._chance.random() < self._shape.session_share
        self.session = self._chance.randrange(self._shape.sessions) if in_session else -1
        self.sent = monotonic_ns()
        connection.send(self.number, KINDS[self.kind], self.session)

    def note(self, outcome: Outcome, status: int, slot: int) -> None:
        """The request under way has ended."""
        self._sheet.note(Answer(self.number, self.sent, monotonic_ns(), outcome, status, slot, self.kind, self.session))
        self.sent = 0

    def leave(self) -> None:
        """Closes the connection, and opens another one unless this is the end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if self._stopping:
            self.ended.set()
        else:
            self._connecting = self._loop.create_task(self._connect())


class Connection(asyncio.Protocol):
    """The bytes of one connection. Tells its client how each request ended."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._asked: Kind | None = None
        self._number = 0
        self._pieces: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._begun = False
        self._fields: dict[bytes, bytes] = {}
        self._body = bytearray()

    def __repr__(self) -> str:
        return f"<Connection {'asking' if self._asked else 'idle'}>"

    def send(self, number: int, kind: Kind, session: int) -> None:
        self._asked = kind
        self._number = number
        self._begun = False
        head, pieces = request(number, kind, session)
        if not kind.gap and self._transport is not None:
            self._transport.write(head + pieces[0] if pieces else head)
            self._pieces = pieces[1:]
        else:
            self._pieces = [head, *pieces]
        self._send_pieces()

    def _send_pieces(self) -> None:
        """What is left of the upload: at once, or a piece at a time when the client is a slow one."""
        self._timer = None
        while self._pieces and self._asked is not None and self._transport is not None:
            self._transport.write(self._pieces.pop(0))
            if self._asked.gap and self._pieces:
                self._timer = self._loop.call_later(self._asked.gap, self._send_pieces)
                return

    def close(self) -> None:
        self._asked = None
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def fail(self, outcome: Outcome, status: int = 0) -> None:
        """Ends the request and the connection."""
        if self._asked is None:
            return
        self._asked = None
        self._client.note(outcome, status, NO_SLOT)
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._client.leave()

    # --- transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._begun = self._begun or self._asked is not None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.fail(Outcome.WRONG)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.fail(Outcome.CUT if self._begun else Outcome.CLOSED)

    # --- parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._fields = {}
        self._body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        kind = self._asked
        if kind is None:
            return
        status = self._parser.get_status_code()
        unsent = bool(self._pieces)
        if status != 200:
            outcome = Outcome.STATUS
        else:
            outcome = Outcome.OK if self._is_right(kind) and not unsent else Outcome.WRONG
        slot = self._fields.get(b"x-slot", b"")
        self._client.note(outcome, status, slot[0] if len(slot) == 1 else NO_SLOT)
        self._asked = None
        if self._parser.should_keep_alive() and not unsent:
            self._client.ask()
        else:
            self._client.leave()

    def _is_right(self, kind: Kind) -> bool:
        """Whether this is the answer to this request, with what was uploaded, and whole."""
        return (
            self._fields.get(b"x-id") == b"%x" % self._number
            and self._fields.get(b"x-sum") == checksum(payload(self._number, kind.upload))
            and self._body == payload(self._number, kind.answer)
        )


async def run(shape: Shape, file: BinaryIO, seed: int) -> None:
    """Asks until SIGTERM or the end of the time; then lets every request end, at most END_SECONDS long."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    sheet = Sheet(file)
    clients = [
        Client(shape, sheet, random.Random(seed + place), (seed << 48) + (place << 32))
        for place in range(shape.connections)
    ]
    watching = loop.create_task(_watch(clients))
    for client in clients:
        client.start()
    with suppress(TimeoutError):
        async with asyncio.timeout(shape.seconds):
            await stop.wait()
    for client in clients:
        client.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            for client in clients:
                await client.ended.wait()
    watching.cancel()
    sheet.flush()


async def _watch(clients: list[Client]) -> None:
    # A tick, as a proxy that loses a request tells nobody.
    while True:
        await asyncio.sleep(1)
        now = monotonic_ns()
        for client in clients:
            client.give_up(now)


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep-alive load that checks every answer.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--session-share", type=float, default=0.25)
    parser.add_argument("--seconds", type=float, default=600.0, help="the longest that it asks")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stay", action="store_true", help="never close a connection")
    options = parser.parse_args()
    shape = Shape(
        options.port, options.connections, options.sessions, options.session_share, min(options.seconds, 3600.0)
    )
    if options.stay:
        shape = replace(shape, uses=FOREVER)
    with open(options.out, "wb") as file:
        uvloop.run(run(shape, file, options.seed))


if __name__ == "__main__":
    main()
