"""Active probes: one GET on a connection of its own; a 2xx or 3xx status in time is a success."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from proxy.net.time_limit import time_limit

if TYPE_CHECKING:
    from proxy.address import Endpoint

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_MAX_LINE: Final = 4096


async def probe(endpoint: Endpoint, path: str, within: float) -> str | None:
    """None for a success, otherwise why it failed. `within`: seconds for all of it."""
    try:
        async with time_limit(within):
            line = await _status_line(endpoint, path)
    except TimeoutError:
        return f"no answer within {within:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    match = _STATUS.match(line)
    if match is None:
        return "the connection was closed without an answer" if not line else "the answer is not HTTP"
    return None if match[1][:1] in b"23" else f"GET {path} answered {match[1].decode()}"


async def _status_line(endpoint: Endpoint, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, limit=_MAX_LINE)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {endpoint}\r\nUser-Agent: switchyard-probe\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("ascii"))
        try:
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError:
            return b"not HTTP"
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
