"""Puts WebSocket conversations through a server, and compares each with the same one held with the backend directly."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from benchmarks.conformance.groups import in_lanes
from benchmarks.conformance.model import Miss, Score, shown
from benchmarks.conformance.wire import LOOPBACK, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from benchmarks.conformance.frames import Conversation
    from benchmarks.servers import Server

WEBSOCKET: Final = "websocket"
LANES: Final = 16
PATIENCE: Final = 2.0
SLOW_PATIENCE: Final = 6.0
HANDSHAKE: Final = (
    b"GET /websocket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPTED: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3, for the key above

Transcript = tuple[bytes, bool]
"""All bytes after the handshake's answer, and whether the connection then ended; the answer itself if it was no 101."""


async def _echo(request: web.Request) -> web.StreamResponse:
    if request.path != "/websocket":
        return web.Response(text="ready")
    socket = web.WebSocketResponse(max_msg_size=1 << 20)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


@contextlib.asynccontextmanager
async def echoing(port: int) -> AsyncIterator[None]:
    """aiohttp's WebSocket server on loopback, which sends each message back. Raises OSError when the port is taken."""
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", _echo)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield
    finally:
        await runner.cleanup()


async def hold(port: int, conversation: Conversation, patience: float) -> Transcript:
    """What the other side says in this conversation; `patience`: how long nothing comes before it is over, in s."""
    try:
        async with connected(port) as client:
            client.send(HANDSHAKE)
            while b"\r\n\r\n" not in client.data and not client.ended:
                client.changed.clear()
                await asyncio.wait_for(client.changed.wait(), patience)
            if ACCEPTED not in client.data:
                return bytes(client.data), client.ended
            for piece in conversation.pieces:
                client.send(piece)
                await asyncio.sleep(0)
            await client.quiet(patience)
            return bytes(client.data).partition(b"\r\n\r\n")[2], client.ended
    except (OSError, TimeoutError) as error:
        return f"({error!r})".encode(), True


async def hold_all(port: int, conversations: Mapping[int, Conversation], patience: float) -> dict[int, Transcript]:
    transcripts: dict[int, Transcript] = {}

    async def one(number: int, conversation: Conversation) -> None:
        transcripts[number] = await hold(port, conversation, patience)

    await in_lanes(LANES, (one(number, conversation) for number, conversation in conversations.items()))
    return transcripts


def differs(direct: Transcript, through: Transcript) -> str:
    """Why this is a miss: the server added, took or changed something; empty when both are the same."""
    if direct[0] != through[0]:
        same = next(
            (at for at, pair in enumerate(zip(direct[0], through[0], strict=False)) if pair[0] != pair[1]), None
        )
        at = min(len(direct[0]), len(through[0])) if same is None else same
        return f"from byte {at} of {len(direct[0])} it is not what the backend said"
    if direct[1] != through[1]:
        return "the connection stayed open" if direct[1] else "the connection was ended"
    return ""


async def converse(server: Server, backend_port: int, conversations: Sequence[Conversation]) -> Score:
    """All conversations, with the backend and through the server; a miss is tried once more, with more patience."""
    begun = time.monotonic()
    numbered = dict(enumerate(conversations))
    direct = await hold_all(backend_port, numbered, PATIENCE)
    through = await hold_all(server.port, numbered, PATIENCE)
    again = {number: numbered[number] for number in numbered if differs(direct[number], through[number])}
    direct |= await hold_all(backend_port, again, SLOW_PATIENCE)
    through |= await hold_all(server.port, again, SLOW_PATIENCE)
    misses = tuple(
        Miss(
            one.family,
            one.name,
            why,
            shown(b"".join(one.pieces)),
            _texts(direct[number], through[number]),
        )
        for number, one in again.items()
        if (why := differs(direct[number], through[number]))
    )
    passed, seconds = len(numbered) - len(misses), time.monotonic() - begun
    return Score(server.name, WEBSOCKET, len(numbered), passed, 0, seconds, misses)


def _texts(direct: Transcript, through: Transcript) -> tuple[str, ...]:
    return shown(direct[0]), shown(through[0])
