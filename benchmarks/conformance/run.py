"""One run: each server is started in turn, and every group goes through it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.conformance.groups import PAUSE, SMUGGLING, smuggle
from benchmarks.conformance.peers import ADMIN_PORT, BACKEND_PORT, NOWHERE_PORT
from benchmarks.conformance.smuggling import attempts
from benchmarks.conformance.wire import Recorder, listening
from benchmarks.model import KB
from benchmarks.processes import make_site, started

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.conformance.model import Attempt, Score
    from benchmarks.servers import Server

QUICK_STEP: Final = 10
GROUPS: Final = (SMUGGLING,)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which servers, which groups, and of how many attempts one is made (1: all). Controls are always made."""

    servers: tuple[Server, ...]
    groups: tuple[str, ...]
    step: int


async def run(plan: Plan, directory: Path, say: Callable[[str], None]) -> list[Score]:
    """The scores of every server and group.

    Raises BenchError when a server doesn't come up, OSError when a backend's port is taken.
    """
    site = make_site(directory, (KB,))
    scores: list[Score] = []
    for server in plan.servers:
        for group in plan.groups:
            score = await _run_group(server, group, plan, directory, site)
            say(f"{server.name}, {group}: {score.passed:,} of {score.total:,} in {score.seconds:.0f} s")
            scores.append(score)
    return scores


async def _run_group(server: Server, group: str, plan: Plan, directory: Path, site: Path) -> Score:
    places = {"ADMIN_PORT": ADMIN_PORT, "SECOND_BACKEND_PORT": NOWHERE_PORT}
    recorder = Recorder(PAUSE)
    async with listening(BACKEND_PORT, recorder):
        with started(server, directory, site, 1, (), backend_port=BACKEND_PORT, places=places) as running:
            await asyncio.to_thread(running.wait_ready, "/ready")
            recorder.taken()
            return await smuggle(server, thin(attempts(), plan.step), recorder)


def thin(made: Sequence[Attempt], step: int) -> list[Attempt]:
    """Every `step`th attempt, and all controls."""
    return [one for number, one in enumerate(made) if one.control or number % step == 0]
