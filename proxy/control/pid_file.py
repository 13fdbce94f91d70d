"""The lock on a state directory: one supervisor at a time, found by its pid. The kernel frees it when it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from proxy.errors import RefusedError, StateError

FILE: Final = "proxy.pid"


class PidFile:
    """Held from `acquire` until `close`, or the process's end."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self.path = path

    @classmethod
    def acquire(cls, state_dir: str) -> PidFile:
        """Makes the directory if needed. Raises RefusedError when another supervisor has it, StateError on the disk."""
        path = Path(state_dir) / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StateError(
                f"{path}: can't be written: {error.strerror}",
                f"make {state_dir} writable for user {os.getuid()}, or set state_dir",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = _read(descriptor)
            os.close(descriptor)
            raise RefusedError(
                f"the proxy already runs as pid {pid}", "stop it with `proxy stop`, or set another state_dir"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(descriptor, path)

    @classmethod
    def taken_over(cls, state_dir: str, descriptor: int) -> PidFile:
        """The lock that this very process had before an upgrade."""
        return cls(descriptor, Path(state_dir) / FILE)

    @property
    def descriptor(self) -> int:
        """The lock lasts as long as this is open in any process."""
        return self._descriptor

    def close(self) -> None:
        """Frees the lock. The file stays, so that two starters always lock the same one."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def __repr__(self) -> str:
        return f"<PidFile {self.path}>"


def running_pid(state_dir: str) -> int | None:
    """The pid of the supervisor that holds the directory; None when none does."""
    path = Path(state_dir) / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = _read(descriptor)
        return int(text) if text.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
