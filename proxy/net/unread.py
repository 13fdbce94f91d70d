"""What a client has not taken yet of all that it was sent."""

from __future__ import annotations

import fcntl
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def unread(transport: asyncio.Transport) -> int:
    """Bytes in the transport's buffer, and in the kernel's until the client has acknowledged them (tcp(7), SIOCOUTQ).

    The first alone says little of a slow client: the kernel takes megabytes at once, and then nothing for minutes.
    """
    waiting = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if connection is None or transport.is_closing():
        return waiting
    queued = bytearray(4)
    try:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, queued)
    except OSError:
        return waiting
    return waiting + int.from_bytes(queued, "little")
