"""Sends large static files in bounded pieces, without waiting for a disk on the event loop.

To a plain TCP connection the kernel copies the file itself (os.sendfile), which costs a quarter of the CPU time of
reading and writing it (measured with 100 MB files) and holds nothing in memory for a slow client. To anything else,
TLS or HTTP/2, pieces are read in a thread and written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from proxy.net.static import OPEN_FLAGS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from proxy.core.files import FileSlices

CHUNK: Final = 256 * 1024
"""Bytes of one read, held in memory until the sink has them."""

DIRECT_TURN: Final = 1024 * 1024
"""Bytes of one sendfile, before other connections have their turn; a quarter of it costs half as much again a byte."""

_PROBE_STEP: Final = 128 * 1024  # the kernel reads ahead as much


class Sink(Protocol):
    """Where a body goes: a transport, or an HTTP/2 stream."""

    def write(self, data: bytes) -> None: ...


class DirectSocket:
    """A plain TCP connection, written to beside its transport while the transport has nothing to send.

    While it is open, the transport's write buffer limit is 0: its protocol's `pause_writing` and `resume_writing` then
    tell when the transport is busy and when it is not.
    """

    __slots__ = ("_fd", "_limits", "_loop", "_transport", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._limits = transport.get_write_buffer_limits()
        # uvloop and asyncio refuse to watch a transport's own descriptor.
        self._fd = os.dup(transport.get_extra_info("socket").fileno())
        self._watched = False
        transport.set_write_buffer_limits(0)

    def __repr__(self) -> str:
        return f"<DirectSocket fd={self._fd}{' watched' if self._watched else ''}>"

    @property
    def free(self) -> bool:
        """Whether all that the transport was given has gone out, so that what is sent now comes after it."""
        return self._transport.get_write_buffer_size() == 0

    def send(self, file: int, offset: int, count: int) -> int:
        """Bytes sent of the file. Raises BlockingIOError when the client is behind, OSError when it is gone."""
        if self._transport.is_closing():
            raise ConnectionAbortedError("the connection is closing")
        return os.sendfile(self._fd, file, offset, count)

    def watch(self, writable: Callable[[], None]) -> None:
        """Calls `writable` again and again while the client can take more, until `unwatch`."""
        if not self._watched:
            self._watched = True
            self._loop.add_writer(self._fd, writable)

    def unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Gives the connection back to the transport."""
        if self._fd < 0:
            return
        self.unwatch()
        os.close(self._fd)
        self._fd = -1
        low, high = self._limits
        self._transport.set_write_buffer_limits(high=high, low=low)


def direct_socket(loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> DirectSocket | None:
    """The transport's socket when it is a plain one; None for TLS, or when no more descriptors are to be had."""
    if transport.get_extra_info("sslcontext") is not None or transport.get_extra_info("socket") is None:
        return None
    try:
        return DirectSocket(loop, transport)
    except OSError:
        return None


class FileSender:
    """Sends the slices of one file to a sink: through `direct` when that is given, else by reading and writing.

    `done(True)` is called when the last byte has been written, `done(False)` when the file is gone, changed or
    unreadable, or a direct socket's client is gone; `sent` says then how much had been sent. Nothing is called after
    `cancel`, or before `start` has returned. Besides what the sink took, CHUNK bytes and the literal parts are held.
    """

    __slots__ = (
        "_begun", "_busy", "_direct", "_done", "_ended", "_fd", "_head", "_loop", "_offset", "_part", "_paused",
        "_seen", "_sink", "_source", "_warm_to", "sent",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sink: Sink,
        source: FileSlices,
        done: Callable[[bool], None],
        direct: DirectSocket | None = None,
    ) -> None:
        self.sent = 0
        self._loop = loop
        self._sink = sink
        self._source = source
        self._done = done
        self._direct = direct
        self._head = b""
        self._fd = -1
        self._part = 0
        self._offset = 0
        self._warm_to = 0
        self._seen = 0
        self._begun = False
        self._busy = False
        self._paused = False
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "paused" if self._paused else "reading" if self._busy else "waiting"
        return f"<FileSender {self._source.disk_path} {self.sent} bytes sent, {state}>"

    def start(self, head: bytes = b"") -> None:
        """Writes `head`, when the file is known to be there; for that it may have to be opened off the loop.

        When it is not there, `done(False)` comes with `sent` 0, and another answer can be given.
        """
        self._head = head
        if self._source.handle is None:
            self._in_thread(self._open)
        else:
            self._fd = self._source.handle.fileno()
            self._loop.call_soon(self._begin)

    def pause(self) -> None:
        """The sink is behind: nothing further is read or sent until `resume`."""
        self._paused = True
        if self._direct is not None:
            self._direct.unwatch()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._go_on()

    def cancel(self) -> None:
        """Ends it; the file is closed now, or as soon as the read under way is over."""
        self._ended = True
        self._close()

    def progressed(self, unread: int, least: int) -> bool:
        """Whether the client has taken so much since this was asked before; `unread` of what was sent it has not."""
        seen, self._seen = self._seen, self.sent - unread
        return self._seen - seen >= least

    # --- on the loop -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._ended:
            return
        try:
            self._check()
        except OSError:
            self._finish(False)
            return
        self._begun = True
        self._write(self._head)
        self._go_on()

    def _go_on(self) -> None:
        while not self._ended and not self._busy:
            if self._part == len(self._source.parts):
                self._finish(True)
                return
            if self._paused:
                return
            part = self._source.parts[self._part]
            if isinstance(part, bytes):
                self._part += 1
                self._write(part)
                continue
            start = part[0] + self._offset
            left = part[1] - self._offset
            if self._direct is None or not self._direct.free:
                self._in_thread(self._read, start, min(left, CHUNK))
            elif not self._send_direct(self._direct, start, min(left, DIRECT_TURN)):
                return

    def _send_direct(self, direct: DirectSocket, start: int, count: int) -> bool:
        """Whether to go on at once; if not, it ended, or goes on when a thread or the client is ready."""
        if start + count > self._warm_to and not _in_memory(self._fd, start, count):
            self._in_thread(self._warm, start, count)
            return False
        try:
            self._check()
            sent = direct.send(self._fd, start, count)
            if not sent:
                raise OSError(f"{self._source.disk_path} is shorter than it was")
        except BlockingIOError:
            direct.watch(self._go_on)
            return False
        except OSError:
            self._finish(False)
            return False
        self._advance(sent)
        self.sent += sent
        if self._offset:
            direct.watch(self._go_on)  # not at once: other connections have their turn
            return False
        return True

    def _write(self, data: bytes) -> None:
        if data:
            self.sent += len(data)
            self._sink.write(data)

    def _advance(self, count: int) -> None:
        part = self._source.parts[self._part]
        self._offset += count
        if not isinstance(part, bytes) and self._offset == part[1]:
            self._part += 1
            self._offset = 0

    def _in_thread(self, work: Callable[..., bytes], *args: int) -> None:
        self._busy = True
        if self._direct is not None:
            self._direct.unwatch()
        self._loop.run_in_executor(None, work, *args).add_done_callback(self._thread_done)

    def _thread_done(self, job: asyncio.Future[bytes]) -> None:
        self._busy = False
        if job.cancelled():
            self._ended = True
        failure = None if job.cancelled() else job.exception()
        if self._ended:
            self._close()
        elif failure is not None:
            self._finish(False)
            if not isinstance(failure, OSError):
                raise failure
        elif not self._begun:
            self._begin()
        else:
            piece = job.result()
            if piece:
                self._advance(len(piece))
                self._write(piece)
            self._go_on()

    def _finish(self, whole: bool) -> None:
        self._ended = True
        self._close()
        self._done(whole)

    def _close(self) -> None:
        if self._direct is not None:
            self._direct.close()
            self._direct = None
        if self._fd >= 0 and not self._busy:
            if self._source.handle is None:
                os.close(self._fd)
            self._fd = -1

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _open(self) -> bytes:
        self._fd = os.open(self._source.disk_path, OPEN_FLAGS)
        return b""

    def _read(self, start: int, count: int) -> bytes:
        piece = os.pread(self._fd, count, start)
        if not piece:
            raise OSError(f"{self._source.disk_path} is shorter than it was")
        self._check()
        return piece

    def _warm(self, start: int, count: int) -> bytes:
        """Has the kernel read that part of the file, so that sendfile need not wait for the disk."""
        for offset in range(start, start + count, CHUNK):
            os.pread(self._fd, min(CHUNK, start + count - offset), offset)
        self._warm_to = start + count
        return b""

    def _check(self) -> None:
        """Raises OSError when the file is not the one that was indexed: its ETag would be another."""
        facts = os.fstat(self._fd)
        if (facts.st_size, facts.st_mtime_ns) != (self._source.size, self._source.mtime_ns):
            raise OSError(f"{self._source.disk_path} has changed since it was indexed")


def _in_memory(fd: int, start: int, count: int) -> bool:
    """Whether that part of the file is in the page cache, as far as a few probes tell; no when they can't."""
    byte = [bytearray(1)]
    try:
        for offset in (*range(start, start + count, _PROBE_STEP), start + count - 1):
            os.preadv(fd, byte, offset, os.RWF_NOWAIT)
    except OSError:
        return False
    return True
