"""Static files: reads a root into an index, and sends large files in bounded pieces read off the event loop."""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING, Final, Protocol

from proxy.core.files import FileEntry, FileIndex
from proxy.errors import OperatorError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from proxy.core.files import FileSlices

MAX_FILE_IN_MEMORY: Final = 256 * 1024
MAX_IN_MEMORY: Final = 64 * 1024 * 1024
MAX_FILES: Final = 100_000
CHUNK: Final = 256 * 1024

_READ_AGAIN: Final = 3
_MAX_SKIPPED: Final = 100
# O_NONBLOCK: a name that became a FIFO since must not block the thread for good.
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class StaticRootError(OperatorError):
    """A root of static files can't be indexed."""


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
) -> FileIndex:
    """Reads every regular file below `root` that is not hidden; blocks, so it is for a thread.

    Symbolic links count when they lead to a file or directory inside the root. The smallest files stay in memory, up
    to `max_file_in_memory` bytes each and `max_in_memory` bytes together. A file that `previous` knows with the same
    size and time is not read again. `clock` gives the time of day in Unix seconds. A file that is gone, unreadable or
    changing is left out, and `skipped` says so; so it does for a root that is missing, whose index is empty: the
    first release may be what creates it. Raises StaticRootError when the root is not a directory or not readable, or
    has more than `max_files` files and directories.
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
            entry = _read(file, known.get(file.name), keep, now)
        except (_SkippedError, OSError) as why:
            _skip(skipped, file.name, why)
            continue
        entries.append(entry)
        room -= len(entry.body) if entry.body is not None else 0
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


def _read(file: _Found, known: FileEntry | None, keep: int, now: float) -> FileEntry:
    """The file with its hash, and its content if it is at most `keep` bytes."""
    fd = os.open(file.path, _OPEN_FLAGS)
    try:
        for _ in range(_READ_AGAIN):
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise _SkippedError("not a regular file")
            kept = before.st_size <= keep
            if known is not None and _same(known, file, before, now, kept=kept):
                return known
            digest = sha256()
            pieces: list[bytes] = []
            size = 0
            while piece := os.pread(fd, CHUNK, size):
                digest.update(piece)
                size += len(piece)
                if kept:
                    pieces.append(piece)
                if size > before.st_size:
                    break
            after = os.fstat(fd)
            if size == after.st_size and (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                return _entry(file, after, digest.hexdigest(), b"".join(pieces) if kept else None, now)
        raise _SkippedError("it keeps changing")
    finally:
        os.close(fd)


def _same(known: FileEntry, file: _Found, facts: os.stat_result, now: float, *, kept: bool) -> bool:
    """Whether the earlier entry stands for the file still: same place, size and time, and the time can be relied on."""
    return (
        known.settled
        and known.disk_path == file.path
        and (known.size, known.mtime_ns) == (facts.st_size, facts.st_mtime_ns)
        and (known.body is not None) == kept
        and known.modified <= now
    )


def _entry(file: _Found, facts: os.stat_result, digest: str, body: bytes | None, now: float) -> FileEntry:
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
    )


class Sink(Protocol):
    """Where a body goes: a transport, or an HTTP/2 stream."""

    def write(self, data: bytes) -> None: ...


class FileSender:
    """Sends one large file: reads a piece in a thread, writes it, reads the next while the client keeps up.

    At most one read is under way, and it holds CHUNK bytes at most besides what the sink took and the literal parts.
    `done(True)` is called when the last piece has been written, `done(False)` when the file is gone, changed or
    unreadable; `sent` says then whether anything was written. Nothing is called after `cancel`, or before `start`
    has returned.
    """

    __slots__ = (
        "_done", "_ended", "_fd", "_loop", "_offset", "_part", "_paused", "_reading", "_sink", "_source", "sent",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sink: Sink, source: FileSlices, done: Callable[[bool], None]
    ) -> None:
        self.sent = 0
        self._loop = loop
        self._sink = sink
        self._source = source
        self._done = done
        self._fd = -1
        self._part = 0
        self._offset = 0
        self._paused = False
        self._reading = False
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "paused" if self._paused else "reading" if self._reading else "waiting"
        return f"<FileSender {self._source.disk_path} {self.sent} bytes sent, {state}>"

    def start(self, head: bytes = b"") -> None:
        """Opens the file off the loop, and writes `head` with its first piece: not before the file is known to be
        there, so that another answer can be given when it is not.
        """
        self._read(head)

    def pause(self) -> None:
        """The client is behind: no further piece is read until `resume`."""
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._go_on()

    def cancel(self) -> None:
        """Ends it; the file is closed now or as soon as the read under way is over."""
        self._ended = True
        self._close()

    def _go_on(self) -> None:
        if not self._ended and not self._reading and not self._paused:
            self._read(b"")

    def _read(self, head: bytes) -> None:
        self._reading = True
        job = self._loop.run_in_executor(None, self._next_piece, head)
        job.add_done_callback(self._read_done)

    def _next_piece(self, head: bytes) -> bytes:
        """In the thread: the next bytes of the body, about CHUNK of them. Raises OSError when it is another file."""
        source = self._source
        if self._fd < 0:
            self._fd = os.open(source.disk_path, _OPEN_FLAGS)
        pieces = [head] if head else []
        room = CHUNK
        while room > 0 and self._part < len(source.parts):
            part = source.parts[self._part]
            if isinstance(part, bytes):
                pieces.append(part)
                room -= len(part)
                self._part += 1
                continue
            wanted = min(room, part[1] - self._offset)
            piece = os.pread(self._fd, wanted, part[0] + self._offset)
            if not piece:
                raise OSError(f"{source.disk_path} is shorter than it was")
            pieces.append(piece)
            room -= len(piece)
            self._offset += len(piece)
            if self._offset == part[1]:
                self._part += 1
                self._offset = 0
        facts = os.fstat(self._fd)
        if (facts.st_size, facts.st_mtime_ns) != (source.size, source.mtime_ns):
            raise OSError(f"{source.disk_path} has changed since it was indexed")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_done(self, job: asyncio.Future[bytes]) -> None:
        self._reading = False
        if job.cancelled():
            self.cancel()
            return
        failure = job.exception()
        if self._ended:
            self._close()
            return
        if failure is not None:
            self._finish(False)
            if not isinstance(failure, OSError):
                raise failure
            return
        piece = job.result()
        self.sent += len(piece)
        self._sink.write(piece)
        if self._part == len(self._source.parts):
            if not self._ended:
                self._finish(True)
        else:
            self._go_on()

    def _finish(self, whole: bool) -> None:
        self._ended = True
        self._close()
        self._done(whole)

    def _close(self) -> None:
        if self._fd >= 0 and not self._reading:
            os.close(self._fd)
            self._fd = -1
