"""What a backend notes, and how it ends connections without losing sight of what the proxy sent on them."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from contextlib import suppress
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WATCH_SECONDS: Final = 20.0
READ: Final = 64 * 1024
LONGEST_HEAD: Final = 200
"""Bytes in which a request line of the load's is whole."""
_REQUEST: Final = re.compile(rb"(?:GET|HEAD|POST|PUT) /soak/(\d+)/[a-z-]+/\d+/\d+ HTTP/1\.1\r\n")


class Log:
    """Lines for the account: `E number port step time id` of requests, `W kind port start end` of windows.

    Times are monotonic nanoseconds. A window is noted from before its begin to after its end.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __repr__(self) -> str:
        return f"<Log {self._descriptor}>"

    def step(self, number: int, port: int, name: str, request_id: str = "") -> None:
        self._line(f"E {number} {port} {name} {monotonic_ns()} {request_id}")

    def window(self, kind: str, port: int, start: int, end: int) -> None:
        self._line(f"W {kind} {port} {start} {end}")

    def _line(self, text: str) -> None:
        os.write(self._descriptor, text.encode() + b"\n")


async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[int], None]) -> None:
    """Reads to the end of a connection that serves no more, and notes the request that comes on it all the same.

    That request is answered with a reset, as by a server that has closed the connection (RFC 9112 section 9.6).
    """
    last = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(WATCH_SECONDS):
            while data := await reader.read(READ):
                last += data
                if (found := _REQUEST.search(last)) is not None:
                    note(int(found[1]))
                    reset(writer)
                    return
                last = last[-LONGEST_HEAD:]


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
