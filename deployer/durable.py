"""Files that are whole or not there: temp file, fsync, rename, fsync of the directory."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TEMPORARY_PREFIX = ".part-"
"""How an unfinished file's name begins; one that is left over belongs to a run that was cut off."""


def write(path: Path, data: bytes, mode: int, gid: int = -1, *, sync_name: bool = True) -> None:
    """Writes a file whole, or leaves the old one. gid: its group, -1 for the process's own.

    sync_name: False when the caller syncs the directory itself, once for many files.

    Raises OSError: the disk is full, the directory is read-only, and so on.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if gid >= 0:
                os.fchown(descriptor, -1, gid)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if sync_name:
        sync_directory(path.parent)


def write_if_changed(path: Path, data: bytes, mode: int, gid: int = -1) -> bool:
    """As `write`, unless content, mode and group are so already; whether it wrote."""
    try:
        status = path.lstat()
        same = status.st_mode & 0o7777 == mode and gid in (-1, status.st_gid) and path.read_bytes() == data
    except FileNotFoundError:
        same = False
    if not same:
        write(path, data, mode, gid)
    return not same


def remove(path: Path) -> None:
    """Removes a file for good; no error when it is not there."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
