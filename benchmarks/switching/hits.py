"""Clients that add to a session's counter over keep-alive connections, and write down what it answered."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from time import monotonic_ns
from typing import Final

from benchmarks.servers import BenchError
from benchmarks.switching.counting import LOST, Hit

ANSWER_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.02


class Client:
    """One keep-alive connection that adds to its session's counter without pause; GET and POST in turn.

    At most `most` times. Clients that share a `turn` hit one after the other, each as soon as the last was answered.
    """

    def __init__(
        self, port: int, session: int, number: int, cookie: bytes, most: int = 1 << 30, turn: asyncio.Lock | None = None
    ) -> None:
        self._port = port
        self._session = session
        self._number = number
        self._cookie = cookie
        self._most = most
        self._turn = turn or asyncio.Lock()
        self.hits: list[Hit] = []

    def __repr__(self) -> str:
        return f"<Client {self._session}.{self._number} hits={len(self.hits)}>"

    async def run(self, stop: asyncio.Event) -> None:
        """Hits until told to stop. A connection that the proxy ends after an answer is opened anew."""
        while not self._is_done(stop):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self._note(monotonic_ns(), None, f"no connection: {error}")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                while not self._is_done(stop) and await self._hit_in_turn(reader, writer):
                    pass
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    def _is_done(self, stop: asyncio.Event) -> bool:
        return stop.is_set() or len(self.hits) >= self._most

    async def _hit_in_turn(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        async with self._turn:
            return await self._hit(reader, writer)

    async def _hit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection can be used again."""
        method = b"POST" if len(self.hits) % 2 else b"GET"
        length = b"Content-Length: 0\r\n" if method == b"POST" else b""
        sent = monotonic_ns()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(
                    b"%b /counter HTTP/1.1\r\nHost: shop\r\n%bCookie: %b\r\n\r\n" % (method, length, self._cookie)
                )
                head, body = await read_answer(reader)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
            self._note(sent, None, repr(error))
            return False
        if not head.startswith(b"http/1.1 200"):
            self._note(sent, None, head.partition(b"\r\n")[0].decode())
        elif b"\r\nset-cookie: jsessionid" in head:
            self._note(sent, None, LOST)
        else:
            self._note(sent, json.loads(body)["counter"], "")
        return b"\r\nconnection: close" not in head

    def _note(self, sent: int, value: int | None, problem: str) -> None:
        self.hits.append(Hit(self._session, self._number, sent, monotonic_ns(), value, problem))


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head in lower case, and the body by its length. Raises EOFError, ValueError for one without a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"\r\ncontent-length: ")
    if not found:
        raise ValueError(f"an answer without a length: {head!r}")
    return head, await reader.readexactly(int(rest.partition(b"\r\n")[0]))


async def open_session(port: int, session: int) -> tuple[bytes, Hit]:
    """A new session's cookie, and its first hit. Raises BenchError."""
    sent = monotonic_ns()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /counter HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
    finally:
        writer.close()
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"set-cookie":
            counter = json.loads(body)["counter"]
            return value.strip().partition(b";")[0], Hit(session, 0, sent, monotonic_ns(), counter)
    raise BenchError(f"the shop began no session: {head.decode(errors='replace')}")
