"""A slot's backend that writes down every request it gets: `python -m benchmarks.switching.backend --slot A …`.

Each step of a request is one write(2) to the log, so that nothing is missing when the process is killed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import zlib
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, cast

import httptools
import uvloop

from benchmarks.switching.message import Wanted, response, wanted
from benchmarks.switching.records import Event, Step

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
BACKLOG: Final = 4096


class Connection(asyncio.Protocol):
    """One connection of the proxy. Targets that are not the load's, such as a probe, are answered and forgotten."""

    def __init__(self, slot: str, note: Callable[[Event], None]) -> None:
        self._slot = slot
        self._note = note
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._asked: Wanted | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._read_at = 0
        self._begin()

    def __repr__(self) -> str:
        return f"<Connection slot={self._slot} {self._asked}>"

    def _begin(self) -> None:
        self._url = b""
        self._declared_sum = b""
        self._sum = 0

    # --- transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._read_at = monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._asked is not None:
            self._tell(self._asked, Step.CUT, monotonic_ns(), whole=False)

    # --- parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-sum":
            self._declared_sum = value

    def on_headers_complete(self) -> None:
        self._asked = wanted(self._url.decode("ascii"))
        if self._asked is not None:
            self._tell(self._asked, Step.ARRIVED, self._read_at, whole=False)

    def on_body(self, data: bytes) -> None:
        self._sum = zlib.crc32(data, self._sum)

    def on_message_complete(self) -> None:
        if self._transport is None:
            return
        if self._asked is None:
            self._transport.write(OTHER_ANSWER)
        elif self._asked.wait_ms:
            self._timer = asyncio.get_running_loop().call_later(self._asked.wait_ms / 1000, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        asked, transport = self._asked, self._transport
        if asked is None or transport is None:
            return
        self._timer = None
        self._asked = None
        upload_sum = b"%08x" % self._sum
        transport.write(response(asked, self._slot, upload_sum))
        whole = not self._declared_sum or self._declared_sum == upload_sum
        self._tell(asked, Step.ANSWERED, monotonic_ns(), whole=whole)

    def _tell(self, asked: Wanted, step: Step, at: int, *, whole: bool) -> None:
        self._note(Event(asked.number, at, step, whole, asked.session))


async def serve(port: int, slot: str, log: str) -> None:
    """Serves until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(event: Event) -> None:
        os.write(descriptor, event.pack())

    try:
        server = await loop.create_server(lambda: Connection(slot, note), "127.0.0.1", port, backlog=BACKLOG)
        await stop.wait()
        server.close()
    finally:
        os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser(description="A backend that records what it gets.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slot", required=True, metavar="LETTER")
    parser.add_argument("--log", required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.slot, options.log))


if __name__ == "__main__":
    main()
