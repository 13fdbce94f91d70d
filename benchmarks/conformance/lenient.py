"""A reader of requests that is lenient on purpose, as some servers are or were, in four profiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from benchmarks.conformance.model import Reading, Seen


@dataclass(frozen=True, slots=True)
class Profile:
    """`line_end` ends a line of the head or of a chunk; `length_wins` is Content-Length over Transfer-Encoding.

    `last` takes the last of several fields of a name, and else the first. `exact_coding` knows `chunked` only by that
    very value in HTTP/1.1; else any Transfer-Encoding that has the word in it will do.
    """

    name: str
    line_end: re.Pattern[bytes]
    length_wins: bool
    last: bool
    exact_coding: bool


_LF: Final = re.compile(rb"\r*\n")
_CRLF: Final = re.compile(rb"\r\n")
_CR_OR_LF: Final = re.compile(rb"\r\n|\r|\n")
PROFILES: Final = (
    Profile("lenient: bare LF, last field, any chunked", _LF, length_wins=False, last=True, exact_coding=False),
    Profile("lenient: bare LF, length first", _LF, length_wins=True, last=False, exact_coding=True),
    Profile("lenient: CRLF only", _CRLF, length_wins=False, last=False, exact_coding=False),
    Profile("lenient: bare CR", _CR_OR_LF, length_wins=False, last=False, exact_coding=False),
)
_DIGITS: Final = re.compile(rb"[\s\x00]*\+?([0-9]+)")
_HEX: Final = re.compile(rb"\s*(?:0[xX])?([0-9A-Fa-f]+)")
_MOST_DIGITS: Final = 18
_SPACE: Final = b" \t\x0b\x0c\x00"


class _Refused(Exception):  # noqa: N818 - a verdict, not a fault
    """Even this reader can't make anything of the bytes."""


class _Incomplete(Exception):  # noqa: N818 - a verdict, not a fault
    """More bytes would be needed."""


class _Input:
    """The bytes of a connection and how far they were read."""

    def __init__(self, data: bytes, line_end: re.Pattern[bytes]) -> None:
        self._data = data
        self._line_end = line_end
        self._at = 0

    def __repr__(self) -> str:
        return f"<_Input {self._at} of {len(self._data)}>"

    def line(self) -> bytes:
        end = self._line_end.search(self._data, self._at)
        if end is None:
            raise _Incomplete
        line, self._at = self._data[self._at : end.start()], end.end()
        return line

    def take(self, count: int) -> bytes:
        if len(self._data) - self._at < count:
            raise _Incomplete
        taken, self._at = self._data[self._at : self._at + count], self._at + count
        return taken

    def skip_line_end(self) -> None:
        """Passes over a line end if one stands here."""
        end = self._line_end.match(self._data, self._at)
        if end is not None:
            self._at = end.end()

    def ended(self) -> bool:
        """Whether nothing but line ends is left; they are passed over."""
        while self._at < len(self._data) and self._data[self._at] in b"\r\n":
            self._at += 1
        return self._at == len(self._data)


def read_leniently(data: bytes, profile: Profile) -> Reading:
    """The requests in these bytes as a server of this profile takes them."""
    stream, seen = _Input(data, profile.line_end), list[Seen]()
    try:
        while not stream.ended():
            seen.append(_request(stream, profile))
    except _Incomplete:
        return Reading(tuple(seen), left=True)
    except _Refused as refusal:
        return Reading(tuple(seen), refused=str(refusal))
    return Reading(tuple(seen))


def _request(stream: _Input, profile: Profile) -> Seen:
    words = stream.line().split()
    if len(words) < 2:
        raise _Refused("no request line")
    fields = _fields(stream)
    pick = -1 if profile.last else 0
    host = fields.get(b"host", [b""])[pick].strip(_SPACE)
    if b"://" in words[1] and not words[1].startswith(b"/") and not profile.length_wins:
        host = words[1].partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
    body = _body(stream, profile, fields, words[-1])
    return Seen(words[0].upper(), words[1], host.lower(), body)


def _fields(stream: _Input) -> dict[bytes, list[bytes]]:
    """Name in lower case -> values. White space around the colon goes, folded lines are joined, others left out."""
    fields: dict[bytes, list[bytes]] = {}
    last: list[bytes] = []
    while line := stream.line():
        if line[:1] in (b" ", b"\t") and last:
            last[-1] += b" " + line.strip(_SPACE)
            continue
        name, colon, value = line.partition(b":")
        if colon:
            last = fields.setdefault(name.strip(_SPACE).lower(), [])
            last.append(value.strip(_SPACE))
    return fields


def _body(stream: _Input, profile: Profile, fields: dict[bytes, list[bytes]], version: bytes) -> bytes:
    codings = [value.lower() for value in fields.get(b"transfer-encoding", ())]
    if profile.exact_coding:
        chunked = bool(codings) and codings[0] == b"chunked" and version == b"HTTP/1.1"
    else:
        chunked = any(b"chunked" in coding for coding in codings)
    lengths = fields.get(b"content-length", ())
    if lengths and not (chunked and not profile.length_wins):
        match = _DIGITS.match(lengths[-1 if profile.last else 0])
        if match is None:
            raise _Refused("no number in Content-Length")
        digits = match[1].lstrip(b"0")
        if len(digits) > _MOST_DIGITS:
            raise _Incomplete
        return stream.take(int(digits or b"0"))
    return _chunked(stream) if chunked else b""


def _chunked(stream: _Input) -> bytes:
    body = b""
    while True:
        match = _HEX.match(stream.line())
        if match is None:
            raise _Refused("no number in a chunk's line")
        digits = match[1].lstrip(b"0")
        if len(digits) > _MOST_DIGITS:
            raise _Incomplete
        size = int(digits or b"0", 16)
        if size == 0:
            break
        body += stream.take(size)
        stream.skip_line_end()
    while stream.line():
        pass
    return body
