"""Runs the load through one server after the other, and switches each between its two slots meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from benchmarks.model import KB
from benchmarks.processes import REPOSITORY, Running, command, make_site, started
from benchmarks.servers import BenchError, Server, render
from benchmarks.switching.account import Account, Switch, account, settled
from benchmarks.switching.peers import ADMIN_PORT, PORTS, switcher, write_slot
from benchmarks.switching.records import read_answers, read_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.switching.peers import Switcher

WORKERS: Final = 2
BEFORE_SECONDS: Final = 5.0
AFTER_SECONDS: Final = 1.0
END_SECONDS: Final = 60.0
SLOTS: Final = {"production": "A", "temp": "B"}


@dataclass(frozen=True, slots=True)
class Plan:
    """`switches` bounds the first server's switches and `seconds` every server's; `pause` seconds between two."""

    servers: tuple[Server, ...]
    switches: int
    seconds: float
    pause: float
    connections: int
    before: float = BEFORE_SECONDS


@dataclass(frozen=True, slots=True)
class Result:
    """One server's figures, or why there are none. `settled_ms`: of each switch, for the picture."""

    server: Server
    account: Account | None
    settled_ms: tuple[float, ...] = ()
    problem: str = ""


def backend(slot: str, port: int, directory: Path) -> Server:
    """A slot's recording backend, as a server that can be started; its records are `directory`/SLOT.events."""
    argv = ("-m", "benchmarks.switching.backend", "--port", "@PORT@", "--slot", SLOTS[slot], "--log")
    return Server(
        name=f"backend-{slot}",
        title=f"the backend of slot {slot}",
        port=port,
        argv=(sys.executable, *argv, str(events_file(directory, slot))),
        version=(sys.executable, "--version"),
    )


def events_file(directory: Path, slot: str) -> Path:
    return directory / f"{slot}.events"


class Load:
    """The load in a process of its own, from its start to its file of answers. Use `with`.

    `stay`: its clients never close a connection by themselves.
    """

    def __init__(self, port: int, out: Path, connections: int, seconds: float, *, stay: bool = False) -> None:
        self.out = out
        argv = [sys.executable, "-m", "benchmarks.switching.load", "--port", str(port), "--out", str(out)]
        argv += ["--connections", str(connections), "--seconds", str(seconds)]
        argv += ["--stay"] if stay else []
        self._process = subprocess.Popen(command(argv, ()), stdin=subprocess.DEVNULL, cwd=REPOSITORY)

    def __repr__(self) -> str:
        return f"<Load pid={self._process.pid} out={self.out}>"

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def finish(self) -> None:
        """Lets every request end. Raises BenchError when the load has failed by itself."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            raise BenchError(f"the load did not end within {END_SECONDS:g} s") from None
        if code:
            raise BenchError(f"the load ended with {code}")


@contextmanager
def site(server: Server, directory: Path) -> Iterator[tuple[Running, Path]]:
    """Two backends and the server in front of them, ready; and the directory of the active slot's files."""
    files = directory / f"{server.name}-files"
    files.mkdir()
    make_site(files, (KB,))
    write_slot(files, "production")
    with ExitStack() as stack:
        for slot, port in PORTS.items():
            made = backend(slot, port, directory)
            stack.enter_context(started(made, directory, files / "site", 1, ())).wait_ready("/ready")
        places: dict[str, str | int | Path] = {
            "ROOT": files,
            "ADMIN_PORT": ADMIN_PORT,
            "SECOND_BACKEND_PORT": PORTS["temp"],
            "TUNING": render(server.tuning, {"ROOT": files}),
        }
        context = started(
            server, directory, files / "site", WORKERS, (), backend_port=PORTS["production"], places=places
        )
        running = stack.enter_context(context)
        running.wait_ready("/ready")
        yield running, files


def measure(server: Server, plan: Plan, directory: Path, switches: int, say: Callable[[str], None]) -> Result:
    """One server's turn. A server that fails is named, and does not keep the others from theirs."""
    for slot in SLOTS:
        events_file(directory, slot).unlink(missing_ok=True)
    made: list[Switch] = []
    out = directory / f"{server.name}.answers"
    try:
        with site(server, directory) as (running, files):
            longest = plan.before + plan.seconds + AFTER_SECONDS + END_SECONDS
            with Load(server.port, out, plan.connections, longest) as load:
                time.sleep(plan.before)
                switch_often(switcher(running, files), switches, plan, made)
                time.sleep(AFTER_SECONDS)
                load.finish()
        events = {slot: read_events(events_file(directory, slot)) for slot in SLOTS}
        answers = read_answers(out)
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        say(f"  {server.name}: {error} (after {len(made)} switches)")
        return Result(server, None, problem=str(error))
    if not made or not answers:
        return Result(server, None, problem="there was no switch, or no answer")
    figures = account(answers, events, made)
    say(f"  {server.name}: {figures}")
    return Result(server, figures, tuple(settled(events, made)))


def switch_often(tool: Switcher, switches: int, plan: Plan, made: list[Switch]) -> None:
    """Switches there and back until the number or the time is reached; adds to `made`."""
    old, new = SLOTS
    end = time.monotonic() + plan.seconds
    while len(made) < switches and time.monotonic() < end:
        made.append(tool.switch(old, new))
        old, new = new, old
        time.sleep(plan.pause)


def run(plan: Plan, directory: Path, say: Callable[[str], None]) -> list[Result]:
    """The first server makes the plan's number of switches; the others as many as they can in the time that took."""
    results: list[Result] = []
    seconds = plan.seconds
    for place, server in enumerate(plan.servers):
        say(f"{server.title}")
        bounded = replace(plan, seconds=seconds)
        results.append(measure(server, bounded, directory, plan.switches if place == 0 else 1_000_000, say))
        if place == 0 and (first := results[0].account) is not None:
            seconds = max(1.0, first.seconds - AFTER_SECONDS)
    return results
