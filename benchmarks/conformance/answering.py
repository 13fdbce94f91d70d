"""Puts the malformed responses through one running server: a client asks, then asks again, and both are judged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.conformance.groups import in_lanes
from benchmarks.conformance.judge import judge_response, judge_second
from benchmarks.conformance.model import Miss, Score, shown
from benchmarks.conformance.wire import connected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.conformance.responses import Response
    from benchmarks.servers import Server

RESPONSES: Final = "responses"
LANES: Final = 48
PATIENCE: Final = 0.2
SLOW_LANES: Final = 16
SLOW_PATIENCE: Final = 2.5


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a client got for its request, and for a plain second one that came next, from a connection that `ended`."""

    first: bytes
    ended: bool
    second: bytes
    second_ended: bool


def method_of(response: Response) -> str:
    return "HEAD" if response.name.endswith(", to HEAD") else "GET"


async def answer(server: Server, scripts: Mapping[int, Response]) -> Score:
    """All responses, many at a time; a miss that may come of a late answer is tried once more, slowly."""
    begun = time.monotonic()
    exchanges = await _exchange_all(server.port, scripts, LANES, PATIENCE)
    found = {number: why for number, script in scripts.items() if (why := _why(number, script, exchanges[number]))}
    # Another's bytes in the second answer can't come of lateness, and might not come again.
    certain = {number for number in found if _second_is_wrong(number, exchanges[number])}
    again = {number: scripts[number] for number in found if number not in certain}
    exchanges |= await _exchange_all(server.port, again, SLOW_LANES, SLOW_PATIENCE)
    misses = tuple(
        Miss(script.family, script.name, why, shown(script.data), (shown(one.first), shown(one.second)))
        for number, script in scripts.items()
        if number in found and (why := _why(number, script, one := exchanges[number]))
    )
    controls = sum(script.valid is not None for script in scripts.values())
    passed = len(scripts) - len(misses)
    return Score(server.name, RESPONSES, len(scripts), passed, controls, time.monotonic() - begun, misses)


def _why(number: int, script: Response, exchange: Exchange) -> str:
    first = judge_response(script, method_of(script), exchange.first, ended=exchange.ended)
    return first or judge_second(number, exchange.second, ended=exchange.second_ended)


def _second_is_wrong(number: int, exchange: Exchange) -> bool:
    return bool(exchange.second and judge_second(number, exchange.second, ended=exchange.second_ended))


async def _exchange_all(port: int, scripts: Mapping[int, Response], lanes: int, patience: float) -> dict[int, Exchange]:
    exchanges: dict[int, Exchange] = {}

    async def one(number: int, method: str) -> None:
        exchanges[number] = await exchange(port, number, method, patience)

    await in_lanes(lanes, (one(number, method_of(script)) for number, script in scripts.items()))
    return exchanges


async def exchange(port: int, number: int, method: str, patience: float) -> Exchange:
    """Two requests in turn, on one connection while it lasts. `patience`: how long nothing comes, in s."""
    try:
        async with connected(port) as client:
            client.send(f"{method} /id-{number:04d}-a HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
            await client.quiet(patience)
            first, ended = bytes(client.data), client.ended
            if not ended and first:
                client.data.clear()
                client.send(_second(number))
                await client.quiet(patience)
                return Exchange(first, ended, bytes(client.data), client.ended)
        async with connected(port) as client:
            client.send(_second(number))
            await client.quiet(patience)
            return Exchange(first, ended, bytes(client.data), client.ended)
    except OSError as error:
        return Exchange(f"({error})".encode(), True, b"", True)


def _second(number: int) -> bytes:
    return f"GET /id-{number:04d}-second HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode()
