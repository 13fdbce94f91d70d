"""Static files without I/O: path -> file, request -> answer (RFC 9110 sections 8, 9.3, 12 to 15).

An index knows every file there is, so that a path is looked up whole and there is no traversal to prevent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from proxy.core.conditions import FileFields, Validators, evaluate, range_applies, read_file_fields
from proxy.core.dates import http_date
from proxy.core.media_types import media_type
from proxy.core.ranges import Range, select_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from proxy.http1.head import RequestHead

INDEX_NAME: Final = "index.html"

_CODINGS: Final = ((".br", b"br"), (".zst", b"zstd"), (".gz", b"gzip"))

# A content hash before the suffix, as bundlers write it: app.3f2a9b1c.js, app-<20 digits or more>.css, with .map or
# .min.js after it too. Digits alone may be a date, and a short run after `-` the end of a UUID; a hash that is not
# recognised costs a revalidation, but a file wrongly called immutable stays stale for a year.
_HASHED: Final = re.compile(
    r"(?:\.(?![0-9]+\.)[0-9a-fA-F]{8,64}|-(?![0-9]+\.)[0-9a-fA-F]{20,64})(?:\.[A-Za-z0-9]+){1,2}\Z"
)
_IMMUTABLE: Final = b"public, max-age=31536000, immutable"
_REVALIDATED: Final = b"no-cache"
_NOSNIFF: Final = b"X-Content-Type-Options: nosniff\r\n"


class FileHandle(Protocol):
    """A file that stays open as long as this object is referred to."""

    def fileno(self) -> int: ...


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One regular file as it was read. `name` is its path below the root, with "/"; `size` in bytes.

    `etag` is strong, made from the content, with its quotes. `modified` is the time for Last-Modified in Unix seconds,
    not later than the reading; `mtime_ns` is what the file system says, to recognise the file again. `settled`:
    see Validators. `body` is the content when it is to be kept in memory; `handle` is the file when it is kept open,
    so that what was indexed can still be read when another file has taken its name.
    """

    name: str
    disk_path: str
    size: int
    mtime_ns: int
    modified: int
    settled: bool
    etag: bytes
    body: bytes | None = field(default=None, repr=False)
    handle: FileHandle | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FileSlices:
    """A body to be read from disk: literal bytes and (offset, length) parts of one file, in order.

    `size` and `mtime_ns` are the file's as it was indexed; when they differ it is another file, with another ETag.
    """

    disk_path: str
    size: int
    mtime_ns: int
    parts: tuple[bytes | tuple[int, int], ...]
    handle: FileHandle | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """A response. `head` is the status line and field lines, each with its CRLF, without the empty line at the end.

    The sender adds Date and what depends on the connection. The body is `body`, or `source` for a large file, or none
    at all (HEAD, 304); `length` is how many bytes of body are sent.
    """

    status: int
    head: bytes
    body: bytes = field(default=b"", repr=False)
    source: FileSlices | None = None
    length: int = 0


class Representation:
    """A file under one media type and coding. The answers that repeat are made once, when they are first asked for."""

    __slots__ = ("_answers", "_cache_lines", "_content_lines", "coding", "entry", "media_type", "validators")

    def __init__(self, entry: FileEntry, name: str, coding: bytes, *, varies: bool) -> None:
        self.entry = entry
        self.coding = coding
        self.media_type = media_type(name)
        self.validators = Validators(entry.etag, entry.modified, entry.settled)
        self._content_lines = b"Content-Encoding: %b\r\n" % coding if coding else b""
        self._cache_lines = b"ETag: %b\r\nCache-Control: %b\r\n%b" % (
            entry.etag,
            _IMMUTABLE if _HASHED.search(name) else _REVALIDATED,
            b"Vary: Accept-Encoding\r\n" if varies else b"",
        )
        self._answers: dict[bytes, FileAnswer] = {}

    def __repr__(self) -> str:
        return f"<Representation {self.entry.name} {self.entry.size} bytes>"

    def whole(self, method: bytes) -> FileAnswer:
        """200 for GET or HEAD: the same object each time."""
        answer = self._answers.get(method)
        if answer is None:
            head = self._head(b"200 OK", b"Content-Type: %b\r\n" % self.media_type, self.entry.size)
            whole = ((0, self.entry.size),)
            answer = FileAnswer(200, head) if method == b"HEAD" else self._with_body(200, head, whole)
            self._answers[method] = answer
        return answer

    def conditional(self, method: bytes, fields: FileFields) -> FileAnswer:
        """The answer to a GET or HEAD with conditions or a range."""
        status = evaluate(fields, self.validators)
        if status == 412:
            return _error(412, b"412 Precondition Failed", method, self._cache_lines)
        if status == 304:
            return FileAnswer(304, b"HTTP/1.1 304 Not Modified\r\n" + self._cache_lines)
        # Range is defined for GET alone (RFC 9110 section 14.2).
        if fields.range is None or method != b"GET" or not range_applies(fields, self.validators):
            return self.whole(method)
        ranges = select_ranges(fields.range, self.entry.size)
        if ranges is None:
            return self.whole(method)
        return self._partial(ranges)

    def _partial(self, ranges: tuple[Range, ...]) -> FileAnswer:
        size = self.entry.size
        if not ranges:
            return _error(416, b"416 Range Not Satisfiable", b"GET", b"Content-Range: bytes */%d\r\n" % size)
        if len(ranges) > 1:
            return self._multipart(ranges)
        (start, end) = ranges[0]
        lines = b"Content-Type: %b\r\n%b" % (self.media_type, _content_range(ranges[0], size))
        head = self._head(b"206 Partial Content", lines, end - start)
        return self._with_body(206, head, ((start, end - start),))

    def _multipart(self, ranges: tuple[Range, ...]) -> FileAnswer:
        """RFC 9110 section 14.6. No file holds the hash of its own content, so the boundary is not in any part."""
        boundary = b"switchyard-" + self.entry.etag.strip(b'"')
        parts: list[bytes | tuple[int, int]] = []
        for number, (start, end) in enumerate(ranges):
            parts.append(
                b"%b--%b\r\nContent-Type: %b\r\n%b\r\n"
                % (
                    b"\r\n" if number else b"",
                    boundary,
                    self.media_type,
                    _content_range((start, end), self.entry.size),
                )
            )
            parts.append((start, end - start))
        parts.append(b"\r\n--%b--\r\n" % boundary)
        length = sum(len(part) if isinstance(part, bytes) else part[1] for part in parts)
        lines = b"Content-Type: multipart/byteranges; boundary=%b\r\n" % boundary
        return self._with_body(206, self._head(b"206 Partial Content", lines, length), tuple(parts))

    def _head(self, status: bytes, lines: bytes, length: int) -> bytes:
        return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n%b%bLast-Modified: %b\r\nAccept-Ranges: bytes\r\n%b" % (
            status,
            lines,
            length,
            self._content_lines,
            self._cache_lines,
            http_date(self.entry.modified),
            _NOSNIFF,
        )

    def _with_body(self, status: int, head: bytes, parts: tuple[bytes | tuple[int, int], ...]) -> FileAnswer:
        length = sum(len(part) if isinstance(part, bytes) else part[1] for part in parts)
        entry = self.entry
        if entry.body is None:
            slices = FileSlices(entry.disk_path, entry.size, entry.mtime_ns, parts, entry.handle)
            return FileAnswer(status, head, source=slices if length else None, length=length)
        if length == entry.size and len(parts) == 1:
            return FileAnswer(status, head, entry.body, length=length)
        body = entry.body
        pieces = [part if isinstance(part, bytes) else body[part[0] : part[0] + part[1]] for part in parts]
        return FileAnswer(status, head, b"".join(pieces), length=length)


class Resource:
    """What one path stands for: the file, and the same in other codings, the smallest first."""

    __slots__ = ("coded", "identity")

    def __init__(self, entry: FileEntry, siblings: Sequence[tuple[bytes, FileEntry]]) -> None:
        self.identity = Representation(entry, entry.name, b"", varies=bool(siblings))
        self.coded = [
            Representation(sibling, entry.name, coding, varies=True)
            for coding, sibling in sorted(siblings, key=lambda pair: pair[1].size)
        ]

    def __repr__(self) -> str:
        return f"<Resource {self.identity!r} {[each.coding.decode() for each in self.coded]}>"

    def select(self, fields: FileFields) -> Representation | None:
        """What the client prefers by Accept-Encoding (RFC 9110 section 12.5.3), the smallest among equals.

        None: it accepts nothing of what there is.
        """
        best, best_weight = None, 0
        for each in self.coded:
            weight = fields.weight(each.coding)
            if weight > best_weight:
                best, best_weight = each, weight
        return self.identity if fields.identity_weight > best_weight else best


class FileIndex:
    """All files of one root, by path. `skipped`: for the operator, what was left out and why, a sentence each."""

    def __init__(self, entries: Iterable[FileEntry], skipped: Sequence[str] = ()) -> None:
        self.entries: Mapping[str, FileEntry] = {entry.name: entry for entry in entries}
        self.skipped = tuple(skipped)
        self._resources: dict[str, Resource] = {}
        for name, entry in self.entries.items():
            resource = self._resources[name] = Resource(entry, self._siblings(entry))
            directory, _, last = name.rpartition("/")
            if last == INDEX_NAME:
                self._resources[directory + "/" if directory else ""] = resource

    def __repr__(self) -> str:
        return f"<FileIndex {len(self.entries)} files, {self.size} bytes, {self.size_in_memory} of them in memory>"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def size_in_memory(self) -> int:
        """Bytes of the files that are kept in memory."""
        return sum(len(entry.body) for entry in self.entries.values() if entry.body is not None)

    def find(self, path: str) -> Resource | None:
        """What is at this path below the root; a directory's is its index.html."""
        return self._resources.get(path)

    def _siblings(self, entry: FileEntry) -> list[tuple[bytes, FileEntry]]:
        """A sibling that is not smaller is of no use, and one with the same content would have the same ETag."""
        found = ((coding, self.entries.get(entry.name + suffix)) for suffix, coding in _CODINGS)
        return [(coding, sibling) for coding, sibling in found if sibling is not None and sibling.size < entry.size]


def answer(indexes: Sequence[FileIndex], path: str, head: RequestHead) -> FileAnswer:
    """The answer for the file at `path`, from the first index that has it; 404 and 405 are answers too."""
    method = head.method
    for index in indexes:
        resource = index.find(path)
        if resource is not None:
            break
    else:
        return _NOT_FOUND_HEAD if method == b"HEAD" else _NOT_FOUND
    if method not in (b"GET", b"HEAD"):
        return _NOT_ALLOWED
    fields = read_file_fields(head.fields.block)
    representation = resource.select(fields) if resource.coded else resource.identity
    if representation is None:
        return _error(406, b"406 Not Acceptable", method, b"Vary: Accept-Encoding\r\n")
    if fields.plain:
        return representation.whole(method)
    return representation.conditional(method, fields)


def _content_range(span: Range, size: int) -> bytes:
    return b"Content-Range: bytes %d-%d/%d\r\n" % (span[0], span[1] - 1, size)


def _error(status: int, line: bytes, method: bytes, lines: bytes = b"") -> FileAnswer:
    body = line[4:] + b"\n"
    head = b"HTTP/1.1 %b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n%b%b" % (
        line,
        len(body),
        lines,
        _NOSNIFF,
    )
    return FileAnswer(status, head) if method == b"HEAD" else FileAnswer(status, head, body, length=len(body))


# Not to be kept: the release that has the file may be the next one.
_NO_STORE: Final = b"Cache-Control: no-store\r\n"
_NOT_FOUND: Final = _error(404, b"404 Not Found", b"GET", _NO_STORE)
_NOT_FOUND_HEAD: Final = _error(404, b"404 Not Found", b"HEAD", _NO_STORE)
_NOT_ALLOWED: Final = _error(405, b"405 Method Not Allowed", b"POST", b"Allow: GET, HEAD\r\n")
