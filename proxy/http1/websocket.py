"""Where a WebSocket's frames end, so that a close frame can be put between two of them (RFC 6455 section 5.2)."""

from __future__ import annotations

import re
from typing import Final

SERVICE_RESTART: Final = (1012).to_bytes(2, "big")
"""The status code of a server that is restarted: the client may come again (IANA's registry of close codes)."""

GOING_AWAY: Final = (1001).to_bytes(2, "big")
"""What a server is told in its client's place (RFC 6455 section 7.4.1). Tomcat takes 1012, which the RFC does not have,
for 1002, and the application for a protocol error."""

_LONG, _LONGER = 126, 127
_CLOSE: Final = 8
_ENDLESS: Final = 1 << 63
"""More than any connection carries: the frame's end is not known, and neither is the next one's beginning."""

# A peer may send nothing but pings. One by one, 256 KiB of them would take a fifth of a second.
_SMALL_SIZES: Final = [
    rb"\x%02x.{%d}" % (mask | size, size + (4 if mask else 0)) for mask in (0, 128) for size in range(16)
]
SMALL_FRAMES: Final = re.compile(
    rb"(?s:[^" + b"".join(rb"\x%x8" % high for high in range(16)) + rb"](?:" + b"|".join(_SMALL_SIZES) + rb"))*"
)
"""As many whole frames of fewer than 16 bytes as follow each other, but no close frame."""


class FrameCounter:
    """Counts one direction's frames without keeping their payload. It judges nothing: that is the two ends' matter.

    `saw_close`: a close frame has begun, after which no frame may follow (RFC 6455 section 5.5.1), so that nothing
    behind it is counted. Nor is anything behind a length that is not said in the fewest bytes, as it must be (section
    5.2): such a stream is never between two frames again. A hostile peer would have each such frame cost microseconds.
    """

    __slots__ = ("_head", "_owed", "saw_close")

    def __init__(self) -> None:
        self.saw_close = False
        self._head = b""
        self._owed = 0

    @property
    def between_frames(self) -> bool:
        """Whether the last frame is whole and nothing of the next one has come."""
        return not self._owed and not self._head

    def feed(self, data: bytes) -> None:
        """Bytes that pass."""
        if not self._head and self._owed > len(data):
            self._owed -= len(data)
            return
        position = 0
        while position < len(data) and not (self.saw_close and self.between_frames):
            position = self._to_frames_end(data, position)
            if self.between_frames and (small := SMALL_FRAMES.match(data, position)) is not None:
                position = small.end()

    def feed_to_frames_end(self, data: bytes) -> int:
        """As `feed`, but only up to the end of the frame that has begun; returns how many bytes that are."""
        return 0 if self.between_frames else self._to_frames_end(data, 0)

    def _to_frames_end(self, data: bytes, position: int) -> int:
        if not self._owed:
            head = self._head + data[position : position + 14 - len(self._head)]
            size = _head_size(head)
            if size < 0:
                self._head = head
                return len(data)
            position += size - len(self._head)
            self._head = b""
            self._owed = _payload_size(head)
            self.saw_close = self.saw_close or head[0] & 0x0F == _CLOSE
        taken = min(self._owed, len(data) - position)
        self._owed -= taken
        return position + taken

    def __repr__(self) -> str:
        owed = "unknown" if self._owed >= _ENDLESS // 2 else self._owed
        return f"<FrameCounter owed={owed} head={len(self._head)}{' saw close' if self.saw_close else ''}>"


def _head_size(head: bytes) -> int:
    """The size of the frame's head; -1 while it is not whole."""
    if len(head) < 2:
        return -1
    length = head[1] & 0x7F
    size = 2 + (2 if length == _LONG else 8 if length == _LONGER else 0) + (4 if head[1] & 0x80 else 0)
    return size if len(head) >= size else -1


def _payload_size(head: bytes) -> int:
    """_ENDLESS for what is not the shortest form of a length, or has its most significant bit set."""
    length = head[1] & 0x7F
    if length < _LONG:
        return length
    longer = length == _LONGER
    length = int.from_bytes(head[2:10] if longer else head[2:4], "big")
    return length if (65536 if longer else _LONG) <= length < _ENDLESS else _ENDLESS


def close_frame(mask: bytes = b"") -> bytes:
    """A close frame: 1012 towards a client, 1001 towards a server, for which `mask` is four random bytes."""
    if not mask:
        return b"\x88\x02" + SERVICE_RESTART
    payload = bytes(byte ^ key for byte, key in zip(GOING_AWAY, mask, strict=False))
    return b"\x88\x82" + mask + payload
