"""Closes a listening socket to new connections without losing those that are already on their way.

A listening socket that is closed resets what its queue holds, and one that still listens takes more in. A filter that
drops SYNs lets the queue run empty first: whoever connects meanwhile sends its SYN again a second later (RFC 6298
section 2), and is then refused, or reaches a successor on the same port.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

_SO_ATTACH_FILTER: Final = 26
_FLAGS_OFFSET: Final = 13
_SYN: Final = 0x02
# Classic BPF (kernel: Documentation/networking/filter): the packet begins with the TCP header here.
_PROGRAM: Final = (
    (0x30, 0, 0, _FLAGS_OFFSET),  # load the byte with the flags
    (0x45, 0, 1, _SYN),  # is SYN set?
    (0x06, 0, 0, 0),  # yes: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # no: the last packet of a handshake
)


def drop_new_connections(listener: socket.socket) -> None:
    """From now on the socket takes no SYN; what is queued, or in its handshake, can still be accepted.

    It holds for everybody who has this socket. Raises OSError where the kernel has no socket filters.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _PROGRAM))
    attached = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(program))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, attached)
