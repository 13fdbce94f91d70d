"""Follows a log file that another process writes."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.clock import Clock

_LOOK = 0.5
"""Seconds between two looks: the standard library has no event for a file that grows."""
_CHUNK = 64 * 1024


def follow_file(path: Path, clock: Clock) -> Iterator[str]:
    """What is appended from now on, without end; goes on with the new file when the log is replaced."""
    current: IO[bytes] | None = path.open("rb") if path.exists() else None
    if current is not None:
        current.seek(0, 2)
    try:
        while True:
            if current is not None and (data := current.read(_CHUNK)):
                yield data.decode("utf-8", errors="replace")
                continue
            replaced = _replaced(path, current)
            if replaced is not None:
                if current is not None:
                    current.close()
                current = replaced
                continue
            clock.sleep(_LOOK)
    finally:
        if current is not None:
            current.close()


def _replaced(path: Path, current: IO[bytes] | None) -> IO[bytes] | None:
    """The file that has the name now, when it is another one."""
    try:
        new = path.open("rb")
    except FileNotFoundError:
        return None
    if current is not None and os.path.samestat(os.fstat(current.fileno()), os.fstat(new.fileno())):
        new.close()
        return None
    return new
