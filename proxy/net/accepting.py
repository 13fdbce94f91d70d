"""Accepts clients fast enough, however busy the event loop is."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

FEW: Final = 16
MANY: Final = 1024
"""Clients accepted in one turn of the event loop: FEW, and twice as many in each turn after one that left some waiting,
up to MANY. One process does not take a lone burst from its neighbours on a shared listener, nor stop for it."""
SCARCE: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
RETRY_SECONDS: Final = 1.0
"""How long to wait when there are no descriptors, or there is no memory, for another client."""


class Acceptor:
    """Accepts the clients of one listener, which it does not close.

    uvloop's own server accepts one client in a turn of its loop (measured with 0.23). With a thousand busy connections
    a turn takes tens of milliseconds, and new clients waited for seconds.
    """

    __slots__ = ("_factory", "_listener", "_loop", "_most", "_open", "_opening", "_retry")

    def __init__(
        self, listener: socket.socket, factory: Callable[[], asyncio.Protocol], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._listener = listener
        self._factory = factory
        self._loop = loop
        self._most = FEW
        self._opening: set[asyncio.Task[object]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._open = False

    def __repr__(self) -> str:
        return f"<Acceptor {self._listener!r}{'' if self._open else ' closed'}>"

    def start(self, backlog: int) -> None:
        """Listens, where that has not begun, and accepts from now on."""
        self._listener.setblocking(False)
        self._listener.listen(backlog)
        self._open = True
        self._loop.add_reader(self._listener, self._ready)

    def close(self) -> None:
        """Ends that. Who is accepted already is served."""
        self._open = False
        self._loop.remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()

    def accept_queued(self, most: int) -> None:
        """Accepts who waits, at most so many; also when closed."""
        self._accept(most)

    async def settled(self) -> None:
        """Returns when the protocols of all who were accepted have their connection."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _ready(self) -> None:
        self._most = min(2 * self._most, MANY) if self._accept(self._most) else FEW

    def _accept(self, most: int) -> bool:
        """Whether so many were there."""
        for _ in range(most):
            try:
                client, _ = self._listener.accept()
            except OSError as error:
                if error.errno in SCARCE:
                    self._pause()
                return False
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, client))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        return True

    def _pause(self) -> None:
        """Who waits would else wake the loop again at once, and again."""
        if self._open:
            self._loop.remove_reader(self._listener)
            self._retry = self._loop.call_later(RETRY_SECONDS, self._loop.add_reader, self._listener, self._ready)
