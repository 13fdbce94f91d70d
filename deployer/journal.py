"""The journal: every command that changes the site, each of its steps before and after, and how it ended. SQLite.

A step's intent is durable before the step acts. What the journal says of a run that was cut off is told to people;
no later run trusts it, each one looks at the site again.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deployer.durable import sync_directory
from deployer.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.clock import Clock

RunState = Literal["running", "done", "undone", "failed"]
Phase = Literal["run", "undo"]
StepState = Literal["intended", "done", "failed"]

RELEASING = ("release", "rollback", "resume", "abort")
"""The kinds of commands that make a release live."""

_VERSION = 1
_SCHEMA = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, release TEXT, name TEXT, previous TEXT, strategy TEXT, message TEXT NOT NULL,
    by TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL, ended REAL, state TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE step (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES run (id), number INTEGER NOT NULL, phase TEXT NOT NULL, name TEXT NOT NULL,
    slot TEXT, started REAL NOT NULL, ended REAL, state TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX step_of_run ON step (run);
"""


class JournalError(Refused):
    """The journal can't be read or written. As a refusal: it happens before anything is touched, or stops a run."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What a command sets out to do. previous: the release that was live before."""

    kind: str
    release: str | None
    name: str | None
    previous: str | None
    strategy: str | None
    message: str
    by: str


@dataclass(frozen=True, slots=True)
class Run:
    """One command in the journal. state `running`: it goes on, or was cut off. Times are Unix seconds.

    `failed`: its undo failed too, or was given up.
    """

    id: int
    kind: str
    release: str | None
    name: str | None
    previous: str | None
    strategy: str | None
    message: str
    by: str
    pid: int
    started: float
    ended: float | None
    state: RunState
    detail: str


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step of a run; `number` counts from 1 within the plan."""

    number: int
    phase: Phase
    name: str
    slot: str | None
    started: float
    ended: float | None
    state: StepState
    detail: str


class Journal:
    """The journal in one directory. Methods raise JournalError."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.path = directory / "journal.sqlite3"
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Journal {self.path}>"

    def begin(self, intent: Intent) -> int:
        """Notes a command before it does anything; its number."""
        with self._writing() as database:
            row = database.execute(
                "INSERT INTO run (kind, release, name, previous, strategy, message, by, pid, started, state, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'running', '')",
                (
                    intent.kind,
                    intent.release,
                    intent.name,
                    intent.previous,
                    intent.strategy,
                    intent.message,
                    intent.by,
                    os.getpid(),
                    self._clock.time(),
                ),
            )
            return int(row.lastrowid or 0)

    def end(self, run: int, state: RunState, detail: str) -> None:
        """Notes how a command ended."""
        with self._writing() as database:
            database.execute(
                "UPDATE run SET ended = ?, state = ?, detail = ? WHERE id = ?", (self._clock.time(), state, detail, run)
            )

    def intend(self, run: int, number: int, phase: Phase, name: str, slot: str | None) -> int:
        """Notes a step before it acts; its key for `outcome`."""
        with self._writing() as database:
            row = database.execute(
                "INSERT INTO step (run, number, phase, name, slot, started, state, detail)"
                " VALUES (?, ?, ?, ?, ?, ?, 'intended', '')",
                (run, number, phase, name, slot, self._clock.time()),
            )
            return int(row.lastrowid or 0)

    def outcome(self, step: int, state: StepState, detail: str) -> None:
        """Notes how a step ended."""
        with self._writing() as database:
            database.execute(
                "UPDATE step SET ended = ?, state = ?, detail = ? WHERE id = ?",
                (self._clock.time(), state, detail, step),
            )

    def runs(self, limit: int = 100) -> list[Run]:
        """The last commands, newest first; [] when there is no journal yet."""
        with self._reading() as database:
            if database is None:
                return []
            rows = database.execute(
                "SELECT id, kind, release, name, previous, strategy, message, by, pid, started, ended, state, detail"
                " FROM run ORDER BY id DESC LIMIT ?",
                (limit,),
            )
            return [Run(*row) for row in rows]

    def steps(self, run: int) -> list[StepRecord]:
        """A command's steps in the order in which they were begun."""
        with self._reading() as database:
            if database is None:
                return []
            rows = database.execute(
                "SELECT number, phase, name, slot, started, ended, state, detail FROM step WHERE run = ? ORDER BY id",
                (run,),
            )
            return [StepRecord(*row) for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            fresh = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            database = self._open()
            try:
                with database:
                    yield database
            finally:
                database.close()
            if fresh:
                sync_directory(self.path.parent)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(
                f"the journal {self.path} can't be written: {error}",
                "make room or mend the permissions of state_dir",
            ) from error

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=5.0, isolation_level="IMMEDIATE")
        try:
            # EXTRA is FULL and also syncs the directory after a commit, without which a power cut could undo it.
            database.execute("PRAGMA synchronous = EXTRA")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
            elif version != _VERSION:
                raise sqlite3.DatabaseError(f"its version is {version}, this deployer writes {_VERSION}")
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self.path.exists():
            yield None
            return
        try:
            # Not read-only: after a crash in the middle of a write, the first reader has to roll it back.
            database = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=rw", uri=True, timeout=5.0)
            try:
                version = database.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _VERSION):
                    raise sqlite3.DatabaseError(f"its version is {version}, this deployer reads {_VERSION}")
                yield None if version == 0 else database
            finally:
                database.close()
        except sqlite3.Error as error:
            raise JournalError(
                f"the journal {self.path} can't be read: {error}",
                "restore it from a backup, or move it away: the site itself does not need it",
            ) from error


def unfinished(runs: list[Run], held_by: int | None) -> Run | None:
    """The newest command when it was cut off: it has no end, and the process that has the lock is another one."""
    if runs and runs[0].state == "running" and runs[0].pid != held_by:
        return runs[0]
    return None


def find_run(runs: list[Run], wanted: str) -> Run | None:
    """The command with that number (`#12` or `12`), else the newest one about a release whose id begins so."""
    number = wanted.removeprefix("#")
    numbered = (run for run in runs if str(run.id) == number)
    released = (run for run in runs if run.release and run.release.startswith(wanted))
    return next(numbered, None) or next(released, None)


def before_live(runs: list[Run], live: str | None) -> str | None:
    """The release to which a rollback goes: the one that was live before `live` became so.

    Falls back to the newest other release that was released whole.
    """
    for run in runs:
        made_live = run.release == live and run.state != "undone" and run.kind in RELEASING
        if made_live and run.previous and run.previous != live:
            return run.previous
    for run in runs:
        if run.state == "done" and run.kind in RELEASING and run.release and run.release != live:
            return run.release
    return None


def last_good(runs: list[Run], count: int) -> frozenset[str]:
    """The last `count` releases that went live."""
    found: dict[str, None] = {}
    for run in runs:
        if run.kind in RELEASING and run.state == "done" and run.release:
            found.setdefault(run.release)
    return frozenset(list(found)[:count])
