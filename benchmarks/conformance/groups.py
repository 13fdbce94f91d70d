"""Puts each group's attempts through one running server and judges them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from benchmarks.conformance.judge import judge_smuggling
from benchmarks.conformance.model import Miss, Score, shown
from benchmarks.conformance.wire import ID, PLACE, Recorder, connected

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence

    from benchmarks.conformance.model import Attempt
    from benchmarks.servers import Server

LANES: Final = 96
PAUSE: Final = 0.03
PATIENCE: Final = 0.5
SLOW_PAUSE: Final = 0.25
SLOW_PATIENCE: Final = 1.5
FINISH_SECONDS: Final = 4.0
SMUGGLING: Final = "smuggling"

Outcome = tuple[tuple[bytes, ...], bytes]
"""The bytes of each backend connection, and what the client got."""


async def smuggle(server: Server, attempts: Sequence[Attempt], recorder: Recorder) -> Score:
    """All attempts, many at a time; what was missed is tried once more, slowly, and that counts.

    So an answer that only came late on a busy machine is no miss.
    """
    begun = time.monotonic()
    numbered = dict(enumerate(attempts))
    recorder.pause = PAUSE
    outcomes, strays = await _send_all(server.port, numbered, recorder, LANES, PATIENCE)
    missed = {number: numbered[number] for number in numbered if _why(numbered[number], outcomes[number])}
    recorder.pause = SLOW_PAUSE
    again, more = await _send_all(server.port, missed, recorder, LANES // 2, SLOW_PATIENCE)
    misses = [
        Miss(one.family, one.name, why, shown(one.data), tuple(map(shown, (*again[number][0], again[number][1]))))
        for number, one in missed.items()
        if (why := _why(one, again[number]))
    ]
    misses += [Miss("stray", "of no attempt", "nobody sent this", "", (shown(data),)) for data in (*strays, *more)]
    controls = sum(one.control for one in attempts)
    seconds = time.monotonic() - begun
    return Score(server.name, SMUGGLING, len(attempts), len(attempts) - len(misses), controls, seconds, tuple(misses))


def _why(attempt: Attempt, outcome: Outcome) -> str:
    return judge_smuggling(attempt, *outcome)


async def _send_all(
    port: int, numbered: Mapping[int, Attempt], recorder: Recorder, lanes: int, patience: float
) -> tuple[dict[int, Outcome], list[bytes]]:
    """What came of each attempt, and the bytes at the backend that belong to none."""
    received: dict[int, bytes] = {}

    async def one(number: int, attempt: Attempt) -> None:
        received[number], _ = await send(port, attempt.data.replace(PLACE, b"%04d" % number), patience)

    await in_lanes(lanes, (one(number, attempt) for number, attempt in numbered.items()))
    await recorder.finish(FINISH_SECONDS)
    forwarded: dict[int, list[bytes]] = {number: [] for number in numbered}
    strays = []
    for data in recorder.taken():
        match = ID.search(data)
        if match is not None and int(match[1]) in forwarded:
            forwarded[int(match[1])].append(data)
        else:
            strays.append(data)
    return {number: (tuple(forwarded[number]), received[number]) for number in numbered}, strays


async def in_lanes(lanes: int, work: Iterable[Coroutine[None, None, None]]) -> None:
    """Runs all of it, so many at a time, each when its turn comes."""
    waiting = iter(work)

    async def lane() -> None:
        for one in waiting:
            await one

    async with asyncio.TaskGroup() as group:
        for _ in range(lanes):
            group.create_task(lane())


async def send(port: int, data: bytes, patience: float) -> tuple[bytes, bool]:
    """What a client gets for these bytes on a connection of its own, and whether the connection has ended.

    It waits for the end, or until nothing has come for `patience` seconds.
    """
    try:
        async with connected(port) as client:
            client.send(data)
            await client.quiet(patience)
            return bytes(client.data), client.ended
    except OSError as error:
        return f"({error})".encode(), True
