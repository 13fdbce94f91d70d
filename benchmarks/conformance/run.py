"""One run: each server is started in turn, and every group goes through it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from benchmarks.conformance.answering import RESPONSES, answer
from benchmarks.conformance.frames import conversations
from benchmarks.conformance.groups import PAUSE, SMUGGLING, smuggle
from benchmarks.conformance.peers import ADMIN_PORT, BACKEND_PORT, NOWHERE_PORT, RELAY, serves_files
from benchmarks.conformance.responses import responses
from benchmarks.conformance.smuggling import attempts
from benchmarks.conformance.traversal import TRAVERSAL, prepare, targets, traverse
from benchmarks.conformance.websocket import WEBSOCKET, converse, echoing
from benchmarks.conformance.wire import Recorder, ScriptedBackend, listening
from benchmarks.model import KB
from benchmarks.processes import make_site, started

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from benchmarks.conformance.model import Attempt, Score
    from benchmarks.conformance.responses import Response
    from benchmarks.servers import Server

QUICK_STEP: Final = 10
GROUPS: Final = (SMUGGLING, RESPONSES, TRAVERSAL, WEBSOCKET)


Case = TypeVar("Case", "Attempt", "Response")


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
    prepare(directory, site)
    scores: list[Score] = []
    for server in plan.servers:
        for group in filter(server_groups(server).__contains__, plan.groups):
            score = await _run_group(server, group, plan, directory, site)
            say(f"{server.name}, {group}: {score.passed:,} of {score.total:,} in {score.seconds:.0f} s")
            scores.append(score)
    return scores


def server_groups(server: Server) -> tuple[str, ...]:
    """The groups that tell something of this server: the relay shows what the smuggling attempts do to one that reads
    nothing, and for the other groups it would only wait."""
    if server.name == RELAY:
        return (SMUGGLING,)
    return tuple(group for group in GROUPS if group != TRAVERSAL or serves_files(server))


async def _run_group(server: Server, group: str, plan: Plan, directory: Path, site: Path) -> Score:
    places = {"ADMIN_PORT": ADMIN_PORT, "SECOND_BACKEND_PORT": NOWHERE_PORT}
    recorder = Recorder(PAUSE)
    scripts = dict(enumerate(thin(both_methods(), plan.step)))
    async with _backend(group, recorder, scripts):
        with started(server, directory, site, 1, (), backend_port=BACKEND_PORT, places=places) as running:
            await asyncio.to_thread(running.wait_ready, "/ready")
            recorder.taken()
            if group == RESPONSES:
                return await answer(server, scripts)
            if group == TRAVERSAL:
                return await traverse(server, thin(targets(), plan.step), recorder)
            if group == WEBSOCKET:
                return await converse(server, BACKEND_PORT, conversations()[:: plan.step])
            return await smuggle(server, thin(attempts(), plan.step), recorder)


def _backend(group: str, recorder: Recorder, scripts: Mapping[int, Response]) -> AbstractAsyncContextManager[None]:
    if group == WEBSOCKET:
        return echoing(BACKEND_PORT)
    return listening(BACKEND_PORT, (lambda: ScriptedBackend(scripts)) if group == RESPONSES else recorder)


def both_methods() -> list[Response]:
    """Every response, as the answer to a GET and then to a HEAD."""
    made = responses()
    return [*made, *(response.to_head() for response in made)]


def thin(made: Sequence[Case], step: int) -> list[Case]:
    """Every `step`th, and all that are valid."""
    return [one for number, one in enumerate(made) if one.control or number % step == 0]
