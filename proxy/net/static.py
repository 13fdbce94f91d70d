"""Reads a root of static files into an index. It blocks, so it is for a thread."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING, Final

from proxy.core.files import FileEntry, FileIndex
from proxy.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_FILE_IN_MEMORY: Final = 256 * 1024
MAX_IN_MEMORY: Final = 64 * 1024 * 1024
MAX_FILES: Final = 100_000
MAX_OPEN: Final = 256

_PIECE: Final = 256 * 1024
_READ_AGAIN: Final = 3
_MAX_SKIPPED: Final = 100
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""O_NONBLOCK: a name that has become a FIFO must not block the thread for good."""


class StaticRootError(OperatorError):
    """A root of static files can't be indexed."""


class OpenFile:
    """A file descriptor that is closed with the last reference to it: an index may be dropped while files are sent."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __repr__(self) -> str:
        return f"<OpenFile {self._fd}>"

    def __del__(self) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        """The descriptor; not to be closed."""
        return self._fd


class _SkippedError(Exception):
    """One file can't be served; `str()` says why."""


class _Found:
    """A file seen by the walk."""

    __slots__ = ("name", "path", "size")

    def __init__(self, name: str, path: str, size: int) -> None:
        self.name = name
        self.path = path
        self.size = size

    def __repr__(self) -> str:
        return f"<_Found {self.name} {self.size} bytes>"


def build_index(
    root: str,
    *,
    previous: FileIndex | None = None,
    clock: Callable[[], float] = time,
    max_file_in_memory: int = MAX_FILE_IN_MEMORY,
    max_in_memory: int = MAX_IN_MEMORY,
    max_files: int = MAX_FILES,
    max_open: int = MAX_OPEN,
) -> FileIndex:
    """Reads every regular file below `root` that is not hidden; blocks, so it is for a thread.

    Symbolic links count when they lead to a file or directory inside the root. The smallest files stay in memory, up
    to `max_file_in_memory` bytes each and `max_in_memory` bytes together; of the others `max_open` stay open, so that
    a release that replaces or removes them does not disturb those who load them. A file that `previous` knows with
    the same size and time is not read again. `clock` gives the time of day in Unix seconds.

    A file that is gone, unreadable or changing is left out, and `skipped` says so; so it does for a root that is
    missing, whose index is empty: the first release may be what creates it. Raises StaticRootError when the root is
    not a directory or not readable, or has more than `max_files` files and directories.
    """
    root = os.path.realpath(root)
    now = clock()
    skipped: list[str] = []
    found = sorted(_walk(root, max_files, skipped), key=lambda file: (file.size, file.name))
    known = previous.entries if previous is not None else {}
    room = max_in_memory
    entries: list[FileEntry] = []
    for file in found:
        keep = min(room, max_file_in_memory)
        try:
            entry = _read(file, known.get(file.name), keep, now, stay_open=max_open > 0)
        except (_SkippedError, OSError) as why:
            _skip(skipped, file.name, why)
            continue
        entries.append(entry)
        room -= len(entry.body) if entry.body is not None else 0
        max_open -= entry.handle is not None
    return FileIndex(entries, skipped)


def _skip(skipped: list[str], name: str, why: Exception) -> None:
    if len(skipped) < _MAX_SKIPPED:
        reason = why.strerror if isinstance(why, OSError) else str(why)
        skipped.append(f"{name}: {reason}")


def _walk(root: str, max_files: int, skipped: list[str]) -> Iterator[_Found]:
    """Files below the root, with the path that all links in it resolve to."""
    try:
        first = _list(root)
    except FileNotFoundError:
        skipped.append(f"{root} is missing: no file is served from it until it is there and read again")
        return
    except OSError as why:
        advice = "set static.root or the slot's static_root to a readable directory"
        raise StaticRootError(f"static files can't be read from {root}: {why.strerror}", advice) from why
    inside = root if root.endswith(os.sep) else root + os.sep
    seen = 0
    # (listing, name below the root, resolved path, resolved paths of the directories above)
    waiting = [(first, "", root, frozenset((root,)))]
    while waiting:
        listing, prefix, directory, above = waiting.pop()
        for last in listing:
            if last.startswith("."):
                continue
            seen += 1
            if seen > max_files:
                advice = "point it at the static files alone"
                raise StaticRootError(f"{root} has more than {max_files} files and directories", advice)
            name = prefix + last
            try:
                name.encode()
                path = _resolve(os.path.join(directory, last), inside)
                facts = os.stat(path, follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode):
                    yield _Found(name, path, facts.st_size)
                elif stat.S_ISDIR(facts.st_mode) and path not in above:
                    waiting.append((_list(path), name + "/", path, above | {path}))
                else:
                    raise _SkippedError("not a regular file, or a link to a directory that it is in")
            except UnicodeEncodeError:
                _skip(skipped, ascii(name), _SkippedError("the name is not UTF-8"))
            except (_SkippedError, OSError) as why:
                _skip(skipped, name, why)


def _list(directory: str) -> list[str]:
    return sorted(os.listdir(directory))


def _resolve(path: str, inside: str) -> str:
    """Where the path leads. Raises _SkippedError when that is outside of the root or hidden in it."""
    if not os.path.islink(path):
        return path
    target = os.path.realpath(path, strict=True)
    if not (target + os.sep).startswith(inside):
        raise _SkippedError("a symbolic link that leads out of the root")
    if any(part.startswith(".") for part in target[len(inside) :].split(os.sep)):
        raise _SkippedError("a symbolic link to a hidden file")
    return target


def _read(file: _Found, known: FileEntry | None, keep: int, now: float, *, stay_open: bool) -> FileEntry:
    """The file with its hash, and its content if it is at most `keep` bytes, or else open if it may be."""
    handle = OpenFile(os.open(file.path, OPEN_FLAGS))
    fd = handle.fileno()
    for _ in range(_READ_AGAIN):
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            raise _SkippedError("not a regular file")
        kept = before.st_size <= keep
        if known is not None and _same(known, file, before, now, kept=kept):
            return known
        digest, body = _hash(fd, before.st_size, kept=kept)
        after = os.fstat(fd)
        if digest and (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
            return _entry(file, after, digest, body, handle if stay_open and not kept else None, now)
    raise _SkippedError("it keeps changing")


def _hash(fd: int, size: int, *, kept: bool) -> tuple[str, bytes | None]:
    """(hash, content if it is kept) of a file of that size; an empty hash when it has another size."""
    digest = sha256()
    pieces: list[bytes] = []
    done = 0
    while done <= size and (piece := os.pread(fd, _PIECE, done)):
        digest.update(piece)
        done += len(piece)
        if kept:
            pieces.append(piece)
    return digest.hexdigest() if done == size else "", b"".join(pieces) if kept else None


def _same(known: FileEntry, file: _Found, facts: os.stat_result, now: float, *, kept: bool) -> bool:
    """Whether the earlier entry stands for the file still: same place, size and time, and the time can be relied on."""
    return (
        known.settled
        and known.disk_path == file.path
        and (known.size, known.mtime_ns) == (facts.st_size, facts.st_mtime_ns)
        and (known.body is not None) == kept
        and known.modified <= now
    )


def _entry(
    file: _Found, facts: os.stat_result, digest: str, body: bytes | None, handle: OpenFile | None, now: float
) -> FileEntry:
    modified = facts.st_mtime_ns // 1_000_000_000
    return FileEntry(
        name=file.name,
        disk_path=file.path,
        size=facts.st_size,
        mtime_ns=facts.st_mtime_ns,
        # RFC 9110 section 8.8.2.1: not later than the response's Date.
        modified=min(modified, int(now)),
        settled=modified + 2 <= now,
        etag=b'"%b"' % digest[:32].encode(),
        body=body,
        handle=handle,
    )
