"""The link between supervisor and worker: messages on a stream socket, each with its length before it.

A message is 4 bytes of length, big-endian, and that many bytes. Both ends have bounds; what breaks one closes
the link, since a link that lost a message can't be trusted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from proxy.errors import LinkError
from proxy.net.leftover import leftover

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

MAX_MESSAGE: Final = 16 * 1024 * 1024
MAX_UNSENT: Final = 64 * 1024 * 1024
MAX_REST: Final = 16 * 1024 * 1024
"""What is read at most after a write has failed; a socket's buffer holds less."""
_PREFIX: Final = 4


class Channel(asyncio.Protocol):
    """One end of a link. `on_message(payload)` runs for each message, in order; `on_closed(error)` once, at the end.

    `error` is None when the other end closed between two messages or `close` was called here. An exception of
    `on_message` that is a LinkError closes the link too.
    """

    def __init__(
        self,
        on_message: Callable[[bytes], None],
        on_closed: Callable[[Exception | None], None],
        reading: socket.socket,
        received: bytes = b"",
    ) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._reading = reading  # the same socket once more, for what the transport leaves unread
        self._transport: asyncio.Transport | None = None
        self._received = bytearray(received)
        self._error: Exception | None = None
        self._closing = False
        self._listening = True

    @classmethod
    async def open(
        cls,
        sock: socket.socket,
        on_message: Callable[[bytes], None],
        on_closed: Callable[[Exception | None], None],
        received: bytes = b"",
    ) -> Channel:
        """Takes over one socket of a connected pair. `received`: what a former owner of it had read too much."""
        sock.setblocking(False)
        channel = cls(on_message, on_closed, sock.dup(), received)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=sock)
        except BaseException:
            channel._reading.close()
            raise
        return channel

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._closing

    @property
    def descriptor(self) -> int:
        """The socket's, for whoever is to own it after this; -1 when the link is closed."""
        return -1 if self._closing else self._reading.fileno()

    @property
    def received(self) -> bytes:
        """The beginning of a message whose end has not come yet."""
        return bytes(self._received)

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, payload: bytes) -> None:
        """Never waits. On a closed link the message is dropped, as `on_closed` tells the end.

        Raises LinkError when the message is too long. If the other end does not read, the link is closed.
        """
        if len(payload) > MAX_MESSAGE:
            raise LinkError(f"a message of {len(payload)} bytes; allowed are {MAX_MESSAGE}")
        if self._closing or self._transport is None:
            return
        self._transport.write(len(payload).to_bytes(_PREFIX, "big") + payload)
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self._fail(LinkError("the other end of the link does not read"))

    def close(self) -> None:
        """Sends what is buffered, then closes."""
        self._closing = True
        self._listening = False
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        at = 0
        try:
            while self._listening and len(received) - at >= _PREFIX:
                length = int.from_bytes(received[at : at + _PREFIX], "big")
                if length > MAX_MESSAGE:
                    raise LinkError(f"a message of {length} bytes; allowed are {MAX_MESSAGE}")
                if len(received) - at - _PREFIX < length:
                    break
                at += _PREFIX + length
                self._on_message(bytes(received[at - length : at]))
        except LinkError as error:
            self._fail(error)
        del received[:at]

    def eof_received(self) -> None:
        if self._received and self._error is None:
            self._error = LinkError("the link ended inside a message")

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if exc is not None:
            # A write to the other end, which has died, has failed before all was read that it had said.
            self._read_rest()
        self._reading.close()
        self._on_closed(self._error or exc)

    def _read_rest(self) -> None:
        for data in leftover(self._reading.fileno(), MAX_REST):
            if not self._listening:
                return
            self.data_received(data)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self._closing = True
        self._listening = False
        if self._transport is not None:
            self._transport.abort()

    def __repr__(self) -> str:
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        state = "closed" if self._closing else "open"
        return f"<Channel {state} unsent={unsent} received={len(self._received)}>"
