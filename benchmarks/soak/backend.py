"""The backends of both slots: `python -m benchmarks.soak.backend --slot … --slot … --seed … --log …`.

Each step of a request is one line in the log, written at once; so is a request that came on a connection that its
backend had ended before. From time to time a backend refuses connections, or ends them as soon as they are made; the
log says when.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
from contextlib import suppress
from typing import Final

import uvloop

from benchmarks.soak.asked import FAULTS, Asked, asked, blocks, content
from benchmarks.soak.backend_log import Log, reset, watch
from benchmarks.soak.listener import Listener, trouble

FAULTY: Final = frozenset(one.name for one in FAULTS)
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
CHUNK: Final = 16 * 1024
EVENT_COUNT: Final = 10
EVENT_SECONDS: Final = 0.1
FLOOD: Final = 200
LONGEST: Final = 30.0
SWALLOWED_SECONDS: Final = 0.2
"""How long an early answer's backend reads on for the rest of the request."""


class TornError(Exception):
    """A request's body is not what the load sent."""


class Connection:
    """Serves one connection of the proxy, request after request."""

    def __init__(self, port: int, log: Log, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port = port
        self._log = log
        self._reader = reader
        self._writer = writer
        self._head = b""

    def __repr__(self) -> str:
        return f"<Connection port={self._port} {self._head[:60]!r}>"

    async def serve(self) -> None:
        while await self._request():
            pass

    async def _request(self) -> bool:
        """One request; whether the connection stays."""
        self._head = await self._reader.readuntil(b"\r\n\r\n")
        target = self._head.split(b" ", 2)[1].decode("latin-1")
        what = asked(target)
        if what is None:
            self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
            return True
        request_id = self._head.partition(b"\r\nX-Request-Id: ")[2].partition(b"\r\n")[0].decode("latin-1")
        self._log.step(what.number, self._port, "arrived", request_id)
        late = what.late and what.behaviour not in ("early", "echo")
        faulty = what.behaviour in FAULTY
        try:
            if late or not (faulty or what.behaviour in ("early", "echo")):
                await self._read_body(what)
                self._log.step(what.number, self._port, "whole")
            stays = await self._answer(what)
        except TornError:
            self._log.step(what.number, self._port, "torn")
            return False
        await self._writer.drain()
        self._log.step(what.number, self._port, "answered")
        return stays

    async def _read_body(self, what: Asked, *, asked_for: bool = True) -> None:
        head = self._head.lower()
        if asked_for and b"\r\nexpect: 100-continue\r\n" in head:
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        expected = content(what.number, what.upload)
        if b"\r\ntransfer-encoding: chunked\r\n" in head:
            body = await self._read_chunks(len(expected))
        elif what.upload:
            body = await self._reader.readexactly(len(expected))
        else:
            body = b""
        if body != expected:
            raise TornError

    async def _read_chunks(self, most: int) -> bytes:
        parts: list[bytes] = []
        while True:
            line = await self._reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size > most:
                raise TornError
            if not size:
                while await self._reader.readuntil(b"\r\n") != b"\r\n":
                    pass
                return b"".join(parts)
            parts.append((await self._reader.readexactly(size + 2))[:-2])

    # --- behaviours ------------------------------------------------------------------------------------------

    async def _answer(self, what: Asked) -> bool:
        if what.behaviour in FAULTY:
            await self._misbehave(what)
            return False
        write = self._writer.write
        body = b"" if self._head.startswith(b"HEAD ") else content(what.number, what.size)
        match what.behaviour:
            case "chunked":
                write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
                if not self._head.startswith(b"HEAD "):
                    await self._chunks(body)
                    write(b"0\r\n\r\n")
                return True
            case "until-close":
                write(OK + b"Connection: close\r\n\r\n" + body)
                return False
            case "empty":
                write(b"HTTP/1.1 204 No Content\r\n\r\n")
                return True
            case "events":
                await self._events()
                return True
            case "echo":
                await self._echo()
                return False
            case "slow":
                await asyncio.sleep(0.1 + what.number % 10 / 10)
            case "interim":
                write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
            case "surplus":
                wrong = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong"
                write(OK + b"Content-Length: %d\r\n\r\n%b%b" % (what.size, body, wrong))
                return True
        await self._sized(what, body)
        if what.behaviour == "stale" or (what.behaviour == "early" and what.upload):
            await self._writer.drain()
            if what.behaviour == "early":
                with suppress(TimeoutError):
                    async with asyncio.timeout(SWALLOWED_SECONDS):
                        await self._read_body(what, asked_for=False)
            await asyncio.sleep(what.number % 3 / 100)
            await self._end_kept()
            return False
        return True

    async def _end_kept(self) -> None:
        """Ends a connection whose answer promised to keep it, and notes the requests that the proxy still sends on it.

        It sends its end and reads on, as Tomcat does too: what is closed with bytes unread is reset, and the reset
        takes the answer with it (RFC 9112 section 9.6).
        """
        self._writer.write_eof()
        await watch(self._reader, self._writer, lambda number: self._log.step(number, self._port, "missed"))

    async def _sized(self, what: Asked, body: bytes) -> None:
        head = OK + b"Content-Length: %d\r\n\r\n" % what.size
        if what.size <= 4 * CHUNK:
            self._writer.write(head + body)
            return
        self._writer.write(head)
        if not body:
            return
        for block in blocks(what.number, what.size):
            self._writer.write(block)
            await self._writer.drain()

    async def _chunks(self, body: bytes) -> None:
        for start in range(0, len(body), CHUNK):
            piece = body[start : start + CHUNK]
            self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await self._writer.drain()

    async def _events(self) -> None:
        self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(EVENT_COUNT):
            await self._chunks(b"data: %d\n\n" % number)
            await asyncio.sleep(EVENT_SECONDS)
        self._writer.write(b"0\r\n\r\n")

    async def _echo(self) -> None:
        self._writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := await self._reader.read(4 * CHUNK):
            self._writer.write(data)
            await self._writer.drain()

    async def _misbehave(self, what: Asked) -> None:
        write = self._writer.write
        body = content(what.number, max(what.size, 100))
        half = body[: len(body) // 2]
        match what.behaviour:
            case "reset":
                reset(self._writer)
            case "reset-in-head":
                write(OK + b"X-Half: ")
                await self._flushed()
                reset(self._writer)
            case "garbage":
                write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            case "two-lengths":
                write(OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde")
            case "flood":
                write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * FLOOD)
                write(OK + b"Content-Length: 2\r\n\r\nok")
            case "silent":
                await self._silence()
            case "cut-sized":
                write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + half)
            case "cut-chunked":
                write(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b" % (len(body), half))
            case "reset-until-close":
                write(OK + b"Connection: close\r\n\r\n" + half)
                await self._flushed()
                reset(self._writer)
            case "garbage-chunk":
                write(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\nzz\r\n" % (len(half), half))
            case "stall":
                write(OK + b"Content-Length: %d\r\n\r\n" % len(body) + half)
                await self._silence()

    async def _flushed(self) -> None:
        """Lets the proxy read what was written before a reset takes it away."""
        await self._writer.drain()
        await asyncio.sleep(0.05)

    async def _silence(self) -> None:
        """Until the proxy has had enough."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                while await self._reader.read(4 * CHUNK):
                    pass


async def serve(slots: list[list[int]], seed: int, path: str, pause: float) -> None:
    """Serves until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    log = Log(path)

    async def connected(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(port, log, reader, writer).serve()

    listeners = [[Listener(port, log, connected) for port in ports] for ports in slots]
    for listener in (one for slot in listeners for one in slot):
        await listener.open()
    troubles = asyncio.create_task(trouble(listeners, pause, random.Random(seed)))
    await stop.wait()
    troubles.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Backends with many behaviours and faults.")
    parser.add_argument("--slot", action="append", required=True, metavar="PORT,PORT")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two windows")
    options = parser.parse_args()
    slots = [[int(port) for port in slot.split(",")] for slot in options.slot]
    uvloop.run(serve(slots, options.seed, options.log, options.pause))


if __name__ == "__main__":
    main()
