"""Message bodies in chunked coding: validated and counted, forwarded as the bytes that came (RFC 9112 section 7.1).

Bodies with a length need no code but a subtraction, where their bytes pass.
"""

from __future__ import annotations

from typing import Final

from proxy.errors import RequestError
from proxy.http1.grammar import CHUNK_LINE, FIELD_BLOCK, FIELD_LINE, PLAUSIBLE, SMALL_CHUNK, SMALL_CHUNKS

MAX_CHUNK_LINE: Final = 1024
MAX_SURPLUS: Final = 8192
"""Bytes of chunk lines that nobody reads, extensions and needless zeros, beyond a sixteenth of the payload.

RFC 9112 section 7.1.1 asks for a limit, as each such line is read by itself. A sixteenth is less than a byte in a chunk
of fewer than 16, which are many; and it leaves room for senders that pad sizes to eight digits, from chunks of 80 bytes
on. One zero is free, as it is read with many others (SMALL_CHUNKS).
"""
_ZERO: Final = ord("0")
MAX_CHUNK: Final = 2**60
"""A larger size is within the grammar, but overflows the arithmetic of some parsers."""
MAX_TRAILERS: Final = 8192
MAX_TRAILER_FIELDS: Final = 100
SMALL_CHUNK_FRAME: Final = 5
"""Bytes around the content of a chunk whose size has one digit."""

# RFC 9110 section 6.5.1: fields for framing, routing, authentication, request control, content handling. A recipient
# that merges trailers into its head would take them from a place where no rule has looked.
_FORBIDDEN_TRAILERS: Final = frozenset(
    (
        b"transfer-encoding", b"content-length", b"host", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade",
        b"proxy-connection", b"proxy-authorization", b"proxy-authenticate", b"authorization", b"cookie", b"set-cookie",
        b"cache-control", b"expect", b"max-forwards", b"pragma", b"range", b"content-encoding", b"content-type",
        b"content-range", b"age", b"expires", b"date", b"location", b"retry-after", b"vary", b"warning", b"via",
        b"www-authenticate", b"forwarded", b"x-real-ip", b"x-request-id", b"proxy",
    )
)  # fmt: skip


class BodyError(RequestError):
    """A body whose chunked coding is not valid. What was forwarded before it can't be taken back."""

    status = 400
    part = "the message's body"


class ChunkedBody:
    """Walks over a chunked body as it comes in.

    `feed` returns the bytes to send on: by default the coding itself, byte for byte but for chunk extensions, which
    are left out; with `decode` only the payload. A chunk line or trailer is returned only once it is whole and valid,
    the last chunk's line with the trailers.
    """

    __slots__ = ("_decode", "_in_trailers", "_owed", "_partial", "_seen", "_surplus", "done", "payload")

    def __init__(self, *, decode: bool = False) -> None:
        self._decode = decode
        self._owed = 0  # bytes of the current chunk still to come, its CRLF included
        self._partial = b""  # a chunk line, a chunk's CRLF or a trailer section of which the end is missing
        self._in_trailers = False
        self._seen = 0  # bytes of the trailer section that need not be searched again
        self._surplus = 0  # bytes of extensions and superfluous zeros so far
        self.payload = 0
        self.done = False

    def __repr__(self) -> str:
        state = "done" if self.done else "trailers" if self._in_trailers else f"owed {self._owed}"
        return f"<ChunkedBody {state}, {self.payload} bytes of payload>"

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(bytes to send on, bytes after the end of the body). Raises BodyError; then nothing more may be fed."""
        if self._partial:
            data = self._partial + data
            self._partial = b""
        out: list[bytes] = []
        position = 0
        unsent = 0  # where the run of bytes begins that goes out as it came
        size = len(data)
        small = False
        while position < size:
            if self._in_trailers:
                return self._trailers(data, position, out)
            if self._owed:
                end = position + self._owed
                content_end = min(end - 2, size)
                if content_end > position:
                    self.payload += content_end - position
                    if self._decode:
                        out.append(data[position:content_end])
                    self._owed -= content_end - position
                    position = content_end
                if self._owed > 2 or position == size:
                    break
                if data[position : position + 2] != b"\r\n":
                    if data[position:] == b"\r":
                        break
                    raise BodyError("a chunk is not followed by CRLF")
                position += 2
                self._owed = 0
                if small:
                    position = self._small_chunks(data, position, out)
                continue
            line_end = data.find(b"\n", position, position + MAX_CHUNK_LINE) + 1
            if not line_end:
                if size - position >= MAX_CHUNK_LINE:
                    raise BodyError("a chunk's line is too long")
                if PLAUSIBLE.fullmatch(data, position) is None:
                    raise BodyError("a chunk's size is not valid")
                break
            line = CHUNK_LINE.fullmatch(data, position, line_end)
            if line is None:
                raise BodyError("a chunk's size is not valid")
            chunk_size = int(line[1], 16)
            if chunk_size > MAX_CHUNK:
                raise BodyError("a chunk's size is not valid")
            size_end = line.end(1)
            if size_end + 2 < line_end or data[position] == _ZERO:
                self._count_surplus(size_end - position, chunk_size, line_end - 2 - size_end)
            if not chunk_size:
                # Its line is sent with the trailers: some clients take it for the end of a body that is then cut off.
                if not self._decode:
                    out.append(data[unsent:position])
                self._in_trailers = True
                position = unsent = line_end
                continue
            if size_end + 2 < line_end and not self._decode:
                out.append(data[unsent:size_end])
                unsent = line_end - 2
            position = line_end
            small = chunk_size < 16
            self._owed = chunk_size + 2
        return self._sent(data, position, unsent, out), b""

    def _small_chunks(self, data: bytes, position: int, out: list[bytes]) -> int:
        """Counts the small chunks from `position` on, which go out as they came; returns where they end."""
        match = SMALL_CHUNKS.match(data, position)
        end = match.end() if match is not None else position
        if end > position:
            chunks = SMALL_CHUNK.findall(data, position, end)
            zeros = sum([chunk[0] == _ZERO for chunk in chunks])
            self.payload += end - position - SMALL_CHUNK_FRAME * len(chunks) - zeros
            if self._decode:
                out.append(b"".join([chunk[3 + (chunk[0] == _ZERO) : -2] for chunk in chunks]))
        return end

    def _count_surplus(self, digits: int, chunk_size: int, extensions: int) -> None:
        """A chunk's line has more than the digits that its size needs, or as many bytes of extensions."""
        zeros = digits - max(1, (chunk_size.bit_length() + 3) // 4)
        self._surplus += max(0, zeros - 1) + extensions
        if self._surplus > MAX_SURPLUS + self.payload // 16:
            raise BodyError("the chunks' extensions or their sizes' zeros are too many")

    def _sent(self, data: bytes, position: int, unsent: int, out: list[bytes]) -> bytes:
        self._partial = data[position:]
        if not self._decode:
            if not out:
                return data[unsent:position] if position < len(data) or unsent else data
            out.append(data[unsent:position])
        return b"".join(out)

    def _trailers(self, data: bytes, position: int, out: list[bytes]) -> tuple[bytes, bytes]:
        unseen = max(position, position + self._seen - 3)
        if data.startswith(b"\r\n", position):
            end = position + 2
        else:
            last = data.find(b"\r\n\r\n", unseen)
            end = last + 4 if last >= 0 else -1
        if (len(data) if end < 0 else end) - position > MAX_TRAILERS:
            raise BodyError("the trailers are too large")
        if end < 0:
            if PLAUSIBLE.fullmatch(data, unseen) is None:
                raise BodyError("a trailer is not valid")
            self._seen = len(data) - position
            return self._sent(data, position, position, out), b""
        if FIELD_BLOCK.fullmatch(data, position, end) is None:
            raise BodyError("a trailer is not valid")
        if data.count(b"\n", position, end) - 1 > MAX_TRAILER_FIELDS:
            raise BodyError("there are too many trailers")
        self.done = True
        rest = data[end:]
        if self._decode:
            return b"".join(out), rest
        out.append(b"0\r\n")
        out.append(_allowed_trailers(data[position:end]))
        return b"".join(out), rest


def _allowed_trailers(block: bytes) -> bytes:
    """The block as it is, or an empty one when it holds a field that must not be a trailer."""
    for line in FIELD_LINE.finditer(block):
        name = line[1].lower().replace(b"_", b"-")
        if name in _FORBIDDEN_TRAILERS or name.startswith(b"x-forwarded-"):
            return b"\r\n"
    return block
