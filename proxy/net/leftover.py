"""What a peer had sent before a write to it failed: the transport then gives up and leaves it unread in the kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 64 * 1024


def leftover(descriptor: int, most: int) -> Iterator[bytes]:
    """The pieces that can be read now from a socket that does not block, about `most` bytes in all."""
    for _ in range(most // _PIECE):
        try:
            data = os.read(descriptor, _PIECE)
        except OSError:
            return
        if not data:
            return
        yield data
