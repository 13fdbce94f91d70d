"""One command at a time changes the site. flock(2) on a file: the kernel ends it with its holder, however that dies.

The file also says who has it, for people. Its content counts only while the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from deployer.errors import Refused, ReleaseFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.clock import Clock

_TRIES = 10
_PAUSE = 0.02
"""Seconds. flock could wait by itself, but not for a bounded time."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lock. since: Unix seconds. command: what it does, in words."""

    pid: int
    by: str
    command: str
    since: float


class Lock:
    """The lock of one site, in its state directory."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.path = directory / "lock"
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Lock {self.path} held by {self.holder()}>"

    @contextmanager
    def held(self, command: str, by: str) -> Iterator[HeldLock]:
        """Takes the lock for the time of a with-block. Raises Refused at once when another process has it."""
        descriptor = self._taken()
        try:
            self._name(descriptor, Holder(os.getpid(), by, command, self._clock.time()))
            yield HeldLock(self.path, descriptor)
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def check_free(self) -> None:
        """Raises Refused when another process has it now."""
        if self.holder() is not None:
            raise self._refusal()

    def _name(self, descriptor: int, holder: Holder) -> None:
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)
        except OSError as error:
            raise Refused(
                f"the lock {self.path} can't be written: {error.strerror}", "make room for state_dir"
            ) from error

    def _taken(self) -> int:
        """A descriptor of the locked file. Tries several times: whoever asks who has it locks it for a moment."""
        for _ in range(_TRIES):
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A broken lock's file is gone from its name, and locks nobody out.
                if HeldLock(self.path, descriptor).is_ours:
                    return descriptor
            except BlockingIOError:
                self._clock.sleep(_PAUSE)
            os.close(descriptor)
        raise self._refusal()

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Refused(
                f"the lock {self.path} can't be opened: {error.strerror}", "mend the permissions of state_dir"
            ) from error

    def _refusal(self) -> Refused:
        holder = self._read()
        who = f"pid {holder.pid} ({holder.by}): {holder.command}" if holder else "another process"
        since = f", for {max(0.0, self._clock.time() - holder.since):.0f} s" if holder else ""
        return Refused(
            f"the site is locked by {who}{since}",
            "wait for its end (`deployer status` shows it); `deployer lock break` is for one that hangs",
        )

    def holder(self) -> Holder | None:
        """Who has the lock now; None when nobody does."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read() or Holder(0, "unknown", "unknown", 0.0)
        finally:
            os.close(descriptor)
        return None

    def break_it(self) -> Holder | None:
        """Takes the lock away from its holder, who stops before its next step; who that was.

        The file is replaced: a lock belongs to the file that it was taken on, not to the name.
        """
        holder = self.holder()
        if holder is not None:
            with suppress(FileNotFoundError):
                self.path.unlink()
        return holder

    def _read(self) -> Holder | None:
        try:
            return Holder(**json.loads(self.path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that we have."""

    path: Path
    descriptor: int

    @property
    def is_ours(self) -> bool:
        """Whether the file that we locked is still the one that others lock."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """Raises ReleaseFailed when someone broke it."""
        if not self.is_ours:
            raise ReleaseFailed("someone broke our lock with `deployer lock break`, so this command stops")
