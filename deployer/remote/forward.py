"""What a command with --host does: connect, look, send the files, run it there, pass on output and exit code."""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.errors import Refused
from deployer.remote.connection import connected, greet, stream, there
from deployer.remote.following import Follower, new_job_id
from deployer.remote.screen import Screen
from deployer.remote.upload import upload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import asyncssh

    from deployer.remote.connection import Hello, Place

CHANGING = frozenset({"release", "rollback", "resume", "abort", "switch", "start", "stop"})
"""Commands that go on when the connection is lost."""


@dataclass(frozen=True)
class Typed:
    """A command as it was typed here. files: local ones, by parameter. words: makes what is typed there, given the
    files' places there. asks: whether to ask before it changes anything.
    """

    name: str
    files: Mapping[str, Path]
    words: Callable[[Mapping[str, Any]], list[str]]
    only_prints: bool
    as_json: bool
    asks: bool


def forward(place: Place, typed: Typed, confirm: Callable[[str], bool]) -> int:
    """Runs the command there; its exit code. Raises Refused, ConnectionGone."""
    gc.enable()
    for path in typed.files.values():
        if not path.is_file():
            raise Refused(f"{path}: there is no such file here", "the file is sent from here to the server")
    changing = typed.name in CHANGING and not typed.only_prints
    names = " ".join([typed.name, *(path.name for path in typed.files.values())])
    if changing and typed.asks and not confirm(f"{names} on {place.address}. Go on?"):
        raise Refused("not confirmed, so nothing was done")
    screen = Screen(
        sys.stdout.buffer,
        sys.stderr.buffer,
        terminal=sys.stderr.isatty(),
        json_events=typed.as_json and changing,
    )
    return asyncio.run(_forward(place, typed, screen, changing=changing))


async def _forward(place: Place, typed: Typed, screen: Screen, *, changing: bool) -> int:
    async with connected(place) as connection:
        hello = await greet(connection, place)
        _say_versions(place, hello, screen)
        if typed.name == "status":
            _say_jobs(place, hello, screen)
        running = next((job for job in hello.jobs if job["running"]), None)
        if typed.name == "resume" and changing and running:
            screen.note(f"`{_shown(running)}` still runs on {place.address}; this is what it says")
            return await Follower(place, screen, running["id"], None).run(connection)
        sent = {
            name: (await upload(connection, place, path, screen.upload, free=hello.free)).path
            for name, path in typed.files.items()
        }
        words = typed.words(sent)
        if changing:
            return await Follower(place, screen, new_job_id(), words).run(connection)
        return await run_there(connection, place, words, screen)


async def run_there(connection: asyncssh.SSHClientConnection, place: Place, words: list[str], screen: Screen) -> int:
    """Runs a command that ends with the connection. Raises Refused when that was lost."""
    code = await stream(connection, there(place, "run", *words), screen.out.write, screen.err.write)
    if code is None:
        raise Refused(f"the connection to {place.address} was lost", "try again")
    return code


def our_version() -> str:
    """Of this switchyard."""
    try:
        return version("switchyard")
    except PackageNotFoundError:
        return "unknown"


def _say_versions(place: Place, hello: Hello, screen: Screen) -> None:
    ours = our_version()
    if hello.version != ours:
        screen.note(
            f"note: switchyard is {hello.version} on {place.address} and {ours} here; "
            f"`deployer init {place.named}` brings it there"
        )


def _say_jobs(place: Place, hello: Hello, screen: Screen) -> None:
    for job in hello.jobs:
        if job["running"]:
            screen.note(f"note: `{_shown(job)}` runs; `deployer resume {place.named}` follows it")
        elif not job["seen"]:
            end = "was killed" if job["exit_code"] is None else f"ended with exit code {job['exit_code']}"
            screen.note(f"note: `{_shown(job)}` {end} while nobody was connected; see `deployer show`")


def _shown(job: Mapping[str, Any]) -> str:
    return " ".join(["deployer", *(Path(word).name if "/" in word else word for word in job["args"] if word != "--")])
