"""The access log: a line per exchange, formatted once, written in batches by a thread.

The thread is there because a write to a pipe or a full disk can block, and nothing may block the event loop.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from time import gmtime, strftime, time
from typing import TYPE_CHECKING, Final

from proxy.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.http1.head import RequestHead
    from proxy.net.exchange import Exchange

MAX_UNWRITTEN: Final = 64 * 1024 * 1024
"""Bytes that may wait for a slow writer; lines beyond are dropped and counted."""

MAX_TAILS: Final = 1024
MAX_TAIL: Final = 1024
"""Bounds of the memory of ends of lines: entries, and bytes of each."""

MAX_SHOWN: Final = 4096
"""Bytes of a field's value that are logged. A head may be larger, and each of its bytes take five in the log."""

_MIDDLES: Final = tuple(tuple(b' HTTP/1.%d" %d ' % (minor, status) for status in range(600)) for minor in (0, 1))
"""What the combined format has between target and size, by minor version and status."""

_ESCAPES: Final = {byte: f"\\x{byte:02x}" for byte in [*range(0x20), 0x22, 0x5C, *range(0x7F, 0x100)]}


class AccessLog:
    """One worker's log. `path` "-" is standard output; `format` is json, combined or off.

    Raises OperatorError when the file can't be opened. Fields in JSON: `time` (UTC, to a quarter of a second),
    `id`, `client`, `method`, `target`, `status`, `bytes` (of the body), `ms`, `slot`, `backend`, `referer`, `agent`;
    and `cut` (true) where the response, which had begun with `status`, did not reach the client whole.
    """

    def __init__(self, path: str, format: str, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._lines: list[bytes] = []
        self._stamp = b""  # in the combined format with what is around it
        self._tails: dict[tuple[bytes, bytes], bytes] = {}
        self.dropped = 0
        self._line = {"json": self._json, "combined": self._combined, "off": None}[format]
        self._combined_format = format == "combined"
        self._writer = _Writer(_open(path)) if self._line is not None else None
        self.flush()

    def __repr__(self) -> str:
        return f"<AccessLog {len(self._lines)} lines waiting, {self.dropped} dropped>"

    def exchange(self, exchange: Exchange, slot: bytes, seconds: float) -> None:
        """One exchange has ended. `slot` is the label of the one that had it."""
        line = self._line
        if line is not None:
            backend = exchange.backend
            self._lines.append(
                line(
                    exchange.client.address,
                    exchange.head,
                    exchange.status or 499,
                    exchange.bytes_out,
                    exchange.request_id,
                    seconds,
                    slot,
                    backend.label if backend is not None else b"-",
                    exchange.cut_off,
                )
            )

    def own(
        self,
        client: bytes,
        head: RequestHead | None,
        status: int,
        size: int,
        request_id: bytes,
        seconds: float,
        cut_off: bool,
    ) -> None:
        """One request was answered without a backend. `head` None: it could not be read."""
        line = self._line
        if line is not None:
            self._lines.append(line(client, head, status, size, request_id, seconds, b"-", b"-", cut_off))

    def flush(self) -> None:
        """Hands the lines to the writer, and looks at the time; called by the worker's clock."""
        now = self._clock()
        if self._combined_format:
            self._stamp = strftime(' - - [%d/%b/%Y:%H:%M:%S +0000] "', gmtime(now)).encode()
        else:
            self._stamp = f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(now))}.{int(now % 1 * 1000):03d}Z".encode()
        if self._lines and self._writer is not None:
            if not self._writer.put(b"".join(self._lines)):
                self.dropped += len(self._lines)
            self._lines.clear()

    def close(self) -> None:
        """Writes what is left, waiting at most two seconds for it."""
        self.flush()
        if self._writer is not None:
            self._writer.close()

    def _json(
        self, client: bytes, head: RequestHead | None, status: int, size: int, request_id: bytes, seconds: float,
        slot: bytes, backend: bytes, cut_off: bool,
    ) -> bytes:  # fmt: skip
        if head is None:
            method = target = b""
            tail = self._tail(b"", b"")
        else:
            method, target = head.method, head.target
            if b"\\" in target:
                target = target.replace(b"\\", b"\\\\")
            fields = head.fields
            tail = self._tails.get((fields.referer, fields.user_agent)) or self._tail(fields.referer, fields.user_agent)
        if cut_off:
            tail = b'"cut":true,' + tail
        return (
            b'{"time":"%b","id":"%b","client":"%b","method":"%b","target":"%b","status":%d,"bytes":%d,"ms":%.2f,'
            b'"slot":"%b","backend":"%b",%b'
        ) % (self._stamp, request_id, client, method, target, status, size, seconds * 1000, slot, backend, tail)

    def _combined(
        self, client: bytes, head: RequestHead | None, status: int, size: int, request_id: bytes, seconds: float,
        slot: bytes, backend: bytes, cut_off: bool,
    ) -> bytes:  # fmt: skip
        if head is None:
            return b'%b%b-" %d %d "-" "-"\n' % (client, self._stamp, status, size)
        fields = head.fields
        tail = self._tails.get((fields.referer, fields.user_agent)) or self._tail(fields.referer, fields.user_agent)
        middle = _MIDDLES[head.minor][status]
        return b"".join((client, self._stamp, head.method, b" ", head.target, middle, str(size).encode(), tail))

    def _tail(self, referer: bytes, agent: bytes) -> bytes:
        """The end of a line, from two fields that clients repeat and that may hold anything."""
        if self._combined_format:
            tail = b' "%b" "%b"\n' % (_quoted(referer) or b"-", _quoted(agent) or b"-")
        else:
            texts = (_quoted(referer).replace(b"\\", b"\\\\"), _quoted(agent).replace(b"\\", b"\\\\"))
            tail = b'"referer":"%b","agent":"%b"}\n' % texts
        if len(tail) <= MAX_TAIL:
            if len(self._tails) >= MAX_TAILS:
                self._tails.clear()
            self._tails[referer, agent] = tail
        return tail


def _quoted(value: bytes) -> bytes:
    """The value with what could break a line or a quoted string written as `\\xHH`, as nginx does."""
    return value[:MAX_SHOWN].decode("latin-1").translate(_ESCAPES).encode()


def _open(path: str) -> int:
    if path == "-":
        return os.dup(sys.stdout.fileno())
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as error:
        raise OperatorError(
            f"the access log {path} can't be opened: {error.strerror}",
            "make its directory writable, or set access_log.path",
        ) from error


class _Writer:
    """A thread that writes batches in order, and closes the descriptor at its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._batches: deque[bytes] = deque()
        self._unwritten = 0
        self._wanted = threading.Semaphore(0)
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def put(self, batch: bytes) -> bool:
        """False: too much is waiting already, and the batch is dropped."""
        if self._unwritten > MAX_UNWRITTEN:
            return False
        self._unwritten += len(batch)
        self._batches.append(batch)
        self._wanted.release()
        return True

    def close(self) -> None:
        self._ended = True
        self._wanted.release()
        self._thread.join(2.0)

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            if not self._batches:
                if self._ended:
                    os.close(self._fd)
                    return
                continue
            batch = self._batches.popleft()
            self._write(batch)
            self._unwritten -= len(batch)

    def _write(self, batch: bytes) -> None:
        rest = memoryview(batch)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except OSError:
                return  # a full disk or a reader that is gone must not end the worker; the next batch tries again
