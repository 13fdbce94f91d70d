"""The log of a slot's server: a new file for each run, with stdout and stderr."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployer.errors import InstanceError

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.server.account import Account

KEPT_LOGS = 5
"""How many earlier runs' logs stay beside the current one: .1 is the newest."""

LARGEST_READ = 8 << 20
"""Bytes of a log that are looked at, from its end: a start logs a few kilobytes."""


def fresh_log(path: Path, account: Account) -> int:
    """A descriptor of the new, empty log; earlier runs' logs move on to .1, .2 … Raises InstanceError."""
    try:
        for number in range(KEPT_LOGS, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            if newer.exists():
                os.replace(newer, older)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o640)
        if account.other:
            os.fchown(descriptor, -1, account.gid)
    except OSError as why:
        raise InstanceError(f"cannot write the log {path}: {why}", "make room or mend the mode") from why
    return descriptor


def read_log(path: Path, largest: int = LARGEST_READ) -> list[str]:
    """The lines of a log, at most its last `largest` bytes; [] when there is none.

    Raises OSError when it is there and cannot be read.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - largest))
            lines = stream.read(largest).decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return lines[1:] if size > largest else lines
