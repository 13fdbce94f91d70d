"""The load's side of a connection: writes bytes, reads answers strictly, and says how each one ended."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_SECONDS: Final = 25.0
BUFFER: Final = 1024 * 1024
SEND_PIECE: Final = 64 * 1024


class End(enum.Enum):
    """How an answer ended: whole, broken off after its head, not begun at all, not within 25 s, not HTTP."""

    WHOLE = "whole"
    CUT = "cut"
    NONE = "none"
    LATE = "late"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Answer:
    """`size` of the body, which may have been dropped since; `interims`: 1xx responses before it.

    `close`: it is the connection's last. `id`: the proxy's for the request (X-Request-Id), which its log has too.
    """

    end: End
    status: int = 0
    body: bytes = b""
    close: bool = True
    interims: int = 0
    chunked: bool = False
    size: int = 0
    id: str = ""


class EndedError(Exception):
    """The connection has ended."""


class InvalidError(Exception):
    """What came isn't a response."""


class Wire(asyncio.Protocol):
    """One connection. What has come waits in a bounded buffer; nothing of it is lost when a reset follows.

    `spare` is a second descriptor of its socket: a transport that can't write gives up what it hasn't read, as when the
    proxy has answered and ended before it took the whole upload.
    """

    def __init__(self, spare: socket.socket) -> None:
        self.transport: asyncio.Transport | None = None
        self._spare = spare
        self._closed = False
        self.port = 0
        self.ended = False
        self.reset = False
        self._buffer = bytearray()
        self._paused = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._more = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Wire {self.port} {len(self._buffer)} bytes{' ended' if self.ended else ''}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > BUFFER and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()
        self._more.set()

    def eof_received(self) -> bool:
        self.ended = True
        self._more.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.reset = exc is not None
        if not self._closed:
            self._rescue()
        self._spare.close()
        self.ended = True
        self._more.set()
        self._writable.set()

    def _rescue(self) -> None:
        """Takes what the kernel still has."""
        with suppress(OSError):
            while data := self._spare.recv(BUFFER):
                self._buffer += data

    @property
    def unsent(self) -> int:
        """Bytes that were written and that the kernel hasn't taken yet."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    async def write_all(self, data: bytes) -> None:
        """Writes piece by piece as the proxy takes it; stops when the connection has ended."""
        for start in range(0, len(data), SEND_PIECE):
            await self._writable.wait()
            if self.transport is None or self.transport.is_closing():
                return
            self.transport.write(data[start : start + SEND_PIECE])

    def write_eof(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def stall(self) -> None:
        """Reads nothing until `go_on`."""
        self._paused = True
        if self.transport is not None:
            self.transport.pause_reading()

    def go_on(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    def close(self, *, reset: bool = False) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        self._closed = True
        if reset and (raw := self.transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def more(self) -> None:
        """Returns when more has come. Raises EndedError."""
        if self.ended:
            raise EndedError
        self._more.clear()
        self.go_on()
        await self._more.wait()

    async def until(self, mark: bytes) -> bytes:
        """What comes up to the mark, which is included. Raises EndedError; then what came of it stays."""
        start = 0
        while (place := self._buffer.find(mark, start)) < 0:
            start = max(0, len(self._buffer) - len(mark))
            await self.more()
        return self._take(place + len(mark))

    async def exactly(self, size: int, into: bytearray) -> None:
        """Adds so many bytes. Raises EndedError when there are fewer; those are added."""
        while size:
            if not self._buffer:
                await self.more()
            data = self._take(min(size, len(self._buffer)))
            into += data
            size -= len(data)

    async def rest(self, into: bytearray) -> None:
        """Adds what comes to the end of the connection."""
        try:
            while True:
                into += self._take(len(self._buffer))
                await self.more()
        except EndedError:
            into += self._take(len(self._buffer))

    @property
    def waiting(self) -> bool:
        """Whether bytes have come that nothing has asked for."""
        return bool(self._buffer)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data


async def connect(port: int, receive_buffer: int = 0) -> Wire:
    """A connection to the proxy. Raises OSError."""
    loop = asyncio.get_running_loop()
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        raw.setblocking(False)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        async with asyncio.timeout(ANSWER_SECONDS):
            await loop.sock_connect(raw, ("127.0.0.1", port))
        spare = raw.dup()
        try:
            _, wire = await loop.create_connection(lambda: Wire(spare), sock=raw)
        except BaseException:
            spare.close()
            raise
    except BaseException:
        raw.close()
        raise
    return wire


@dataclass(slots=True)
class _Reading:
    status: int = 0
    interims: int = 0
    close: bool = True
    chunked: bool = False
    id: str = ""


async def read_answer(wire: Wire, method: str, *, pace: Callable[[], float] | None = None) -> Answer:
    """One answer, to its end, to how it broke off, or for 25 s. `pace`: seconds to wait before each look."""
    state = _Reading()
    body = bytearray()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await _read(wire, method, state, body, pace)
        end = End.WHOLE
    except TimeoutError:
        end = End.LATE
    except EndedError:
        end = End.CUT if state.status else End.NONE
    except InvalidError:
        end = End.INVALID
    return Answer(end, state.status, bytes(body), state.close, state.interims, state.chunked, len(body), state.id)


async def _read(wire: Wire, method: str, state: _Reading, body: bytearray, pace: Callable[[], float] | None) -> None:
    while True:
        status, minor, fields = _parse(await wire.until(b"\r\n\r\n"))
        if status >= 200 or status == 101:
            break
        state.interims += 1
    connection = fields.get(b"connection", b"").lower()
    state.close = connection == b"close" or (minor == 0 and connection != b"keep-alive")
    state.status = status
    state.id = fields.get(b"x-request-id", b"").decode("latin-1")
    if method == "HEAD" or status in (101, 204, 304):
        return
    if fields.get(b"transfer-encoding"):
        if b"content-length" in fields:
            raise InvalidError
        state.chunked = True
        await _read_chunks(wire, body, pace)
    elif b"content-length" in fields:
        owed = int(fields[b"content-length"])
        if pace is None:
            await wire.exactly(owed, body)
            return
        while owed:
            await asyncio.sleep(pace())
            piece = min(owed, SEND_PIECE)
            await wire.exactly(piece, body)
            owed -= piece
    else:
        await wire.rest(body)
        if wire.reset:
            raise EndedError
        state.close = True


async def _read_chunks(wire: Wire, body: bytearray, pace: Callable[[], float] | None) -> None:
    while True:
        line = await wire.until(b"\r\n")
        try:
            size = int(line[:-2], 16)
        except ValueError:
            raise InvalidError from None
        if pace is not None:
            await asyncio.sleep(pace())
        if size:
            await wire.exactly(size, body)
        end = bytearray()
        await wire.exactly(2, end)
        if end != b"\r\n":
            raise InvalidError
        if not size:
            return


def _parse(head: bytes) -> tuple[int, int, dict[bytes, bytes]]:
    lines = head[:-4].split(b"\r\n")
    if not lines[0].startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or not lines[0][9:12].isdigit():
        raise InvalidError
    fields: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, mark, value = line.partition(b":")
        key = name.lower()
        if not mark or (key in fields and key in (b"content-length", b"transfer-encoding")):
            raise InvalidError
        fields[key] = value.strip()
    return int(lines[0][9:12]), lines[0][7] - 48, fields
