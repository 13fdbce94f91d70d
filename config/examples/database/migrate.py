#!/usr/bin/env python3
"""Takes the database as far as the releases that use it allow: what the deployer's hooks run.

    migrate.py before     hooks.before_start: what the new release needs, unless the live release would break
    migrate.py check      hooks.smoke: does this release work with the database as it is?
    migrate.py after      hooks.after_release: the rest, up to the first step that the previous release would not stand
    migrate.py status     what is applied, and what each further step would break

A release says in META-INF/MANIFEST.MF which revision it was written for: `Database-Needs: 0002_expand`. A migration
says with `breaks_before` which releases it breaks: all that were written for an older revision than that one.

Exit codes: 0 done or nothing to do; 1 the database failed; 2 refused, and nothing was touched.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import OperationalError, SQLAlchemyError

HERE = Path(__file__).resolve().parent
KEY = "Database-Needs"
LOCK_TRIES = 10
LOCK_PAUSE = 1.0
"""Seconds between two tries of a migration that did not get its lock within env.py's lock_timeout."""


class RefusedError(Exception):
    """It would break a release; nothing was touched."""


@dataclass(frozen=True)
class Migration:
    """One step. breaks_before: releases written for an older revision don't work after it; None: it breaks nobody."""

    revision: str
    what: str
    breaks_before: str | None = None


@dataclass(frozen=True)
class Chain:
    """All migrations, oldest first, and the revision that the database is at; None: it is empty."""

    migrations: tuple[Migration, ...]
    current: str | None

    def place(self, revision: str | None) -> int:
        """Where a revision stands: 1 is the first, 0 is before it. Raises RefusedError for an unknown one."""
        if revision is None:
            return 0
        for number, migration in enumerate(self.migrations, 1):
            if migration.revision == revision:
                return number
        raise RefusedError(f"revision {revision} is not in {HERE / 'migrations/versions'}: bring its files here first")

    def breaks(self, migration: Migration, needs: str | None) -> bool:
        """Whether a release that was written for the revision `needs` would not work after the migration."""
        return migration.breaks_before is not None and self.place(needs) < self.place(migration.breaks_before)

    def before(self, new: str | None, live: str | None, *, first: bool) -> list[Migration]:
        """What to apply before the new release starts. first: there is no live release. Raises RefusedError."""
        self.check(new, started=False)
        steps = list(self.migrations[self.place(self.current) : self.place(new)])
        for step in steps:
            if not first and self.breaks(step, live):
                raise RefusedError(
                    f"{step.revision} ({step.what}) would break the live release, which was written for "
                    f"{live or 'no revision'}: release one that was written for {step.breaks_before} first"
                )
        return steps

    def check(self, needs: str | None, *, started: bool = True) -> None:
        """Raises RefusedError when a release does not work with the database. started: it needs its revision now."""
        if started and self.place(needs) > self.place(self.current):
            raise RefusedError(f"the release needs {needs}, and the database is at {self.current or 'nothing'}")
        for applied in self.migrations[: self.place(self.current)]:
            if self.breaks(applied, needs):
                raise RefusedError(
                    f"the release was written for {needs or 'no revision'}, and the database has {applied.revision} "
                    f"({applied.what}): only releases written for {applied.breaks_before} or later work with it"
                )

    def after(self, kept: list[str | None]) -> tuple[list[Migration], Migration | None]:
        """What to apply after a release, and what has to wait. kept: what each release that may run again needs."""
        steps: list[Migration] = []
        for step in self.migrations[self.place(self.current) :]:
            if any(self.breaks(step, needs) for needs in kept):
                return steps, step
            steps.append(step)
        return steps, None


def needs_of(war: Path) -> str | None:
    """The revision that a WAR was written for; None when it names none. Raises OSError, zipfile.BadZipFile."""
    with zipfile.ZipFile(war) as archive:
        try:
            text = archive.read("META-INF/MANIFEST.MF").decode()
        except KeyError:
            return None
    # A long line goes on after a line break and a space (JAR File Specification, "Notes on Manifest").
    for line in text.replace("\r\n", "\n").replace("\n ", "").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == KEY.lower():
            return value.strip()
    return None


def read_chain(config: Config) -> Chain:
    """The migrations' files, and the database's own word. Raises SQLAlchemyError."""
    script = ScriptDirectory.from_config(config)
    walked = reversed(list(script.walk_revisions()))
    found = tuple(Migration(one.revision, one.doc, getattr(one.module, "breaks_before", None)) for one in walked)
    engine = create_engine(config.get_main_option("sqlalchemy.url") or "", poolclass=pool.NullPool)
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return Chain(found, current)


def apply(config: Config, steps: list[Migration]) -> None:
    """One after the other; each is in the database, or not at all, or can be run again. Raises SQLAlchemyError."""
    for step in steps:
        begun = time.monotonic()
        for tries_left in reversed(range(LOCK_TRIES)):
            try:
                command.upgrade(config, step.revision)
                break
            except OperationalError as error:
                # 55P03: lock_not_available. Users' transactions go first; a migration that waited would stop them all.
                if getattr(error.orig, "sqlstate", None) != "55P03" or not tries_left:
                    raise
                print(f"{step.revision}: the table is busy, tried again in {LOCK_PAUSE:g} s", flush=True)
                time.sleep(LOCK_PAUSE)
        print(f"{step.revision}: {step.what} ({time.monotonic() - begun:.1f} s)", flush=True)


def run(moment: str, config: Config, releases: Path, new: str, previous: str) -> None:
    """One moment. new, previous: ids of releases, "" for none. Raises RefusedError, SQLAlchemyError, OSError."""
    chain = read_chain(config)
    if moment == "status":
        show(chain)
        return
    wanted = needs_of(releases / f"{new}.war")
    if moment == "check":
        chain.check(wanted)
        print(f"the database is at {chain.current}, which suits a release written for {wanted}")
    elif moment == "before":
        steps = chain.before(wanted, needs_if_stored(releases, previous), first=not previous)
        apply(config, steps)
        print(f"the database is at {steps[-1].revision if steps else chain.current}; the release needs {wanted}")
    else:
        steps, waits = chain.after(kept(releases, wanted, new, previous))
        apply(config, steps)
        if waits:
            print(f"{waits.revision} ({waits.what}) waits: it would break the release that a rollback goes back to")


def kept(releases: Path, wanted: str | None, new: str, previous: str) -> list[str | None]:
    """What the releases need that may run again: the new one, and the one that a rollback goes back to.

    Whenever that one is not known, as after the same release again, it is taken for one that stands nothing.
    """
    return [wanted, None if previous == new else needs_if_stored(releases, previous)]


def needs_if_stored(releases: Path, release: str) -> str | None:
    """What a release was written for; None, the oldest there is, when the store does not have it any more."""
    war = releases / f"{release}.war"
    return needs_of(war) if release and war.is_file() else None


def show(chain: Chain) -> None:
    """Prints a line for each migration."""
    for number, migration in enumerate(chain.migrations, 1):
        state = "applied" if number <= chain.place(chain.current) else "pending"
        breaks = f"; breaks releases written before {migration.breaks_before}" if migration.breaks_before else ""
        print(f"{state}  {migration.revision}: {migration.what}{breaks}")


def main(argv: list[str]) -> int:
    """The exit code."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="migrate.py", description=lines[0], epilog="\n".join(lines[2:]),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("moment", choices=("before", "check", "after", "status"))
    parser.add_argument("--releases", type=Path, default=Path("var/releases"), help="releases.dir of deployer.yaml")
    parser.add_argument("--config", type=Path, default=HERE / "alembic.ini", help="names the database [alembic.ini]")
    options = parser.parse_args(argv)
    new, previous = (os.environ.get(name, "") for name in ("DEPLOYER_RELEASE", "DEPLOYER_PREVIOUS"))
    if options.moment != "status" and not new:
        parser.error("DEPLOYER_RELEASE is not set: the deployer's hooks set it")
    try:
        run(options.moment, Config(str(options.config)), options.releases, new, previous)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except (CommandError, SQLAlchemyError, OSError, zipfile.BadZipFile) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
