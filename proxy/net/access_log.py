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

_ESCAPES: Final = {byte: f"\\x{byte:02x}" for byte in [*range(0x20), 0x22, 0x5C, *range(0x7F, 0x100)]}


def _quoted(value: bytes) -> str:
    """The value with what could break a line or a quoted string escaped. In JSON, `\\` is doubled after this."""
    return value.decode("latin-1").translate(_ESCAPES)


class AccessLog:
    """One worker's log. `path` "-" is standard output; `format` is json, combined or off.

    Raises OperatorError when the file can't be opened. Fields in JSON: `time` (UTC, ISO 8601), `id`, `client`,
    `method`, `target`, `status`, `bytes` (of the body), `ms`, `slot`, `backend`, `referer`, `agent`.
    """

    def __init__(self, path: str, format: str, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._lines: list[str] = []
        self._second = -1
        self._stamp = ""
        self.dropped = 0
        self._format = {"json": _json, "combined": _combined, "off": None}[format]
        self._combined = format == "combined"
        self._writer = _Writer(_open(path)) if self._format is not None else None

    def __repr__(self) -> str:
        return f"<AccessLog {len(self._lines)} lines waiting, {self.dropped} dropped>"

    def exchange(self, exchange: Exchange, slot: str, seconds: float) -> None:
        """One exchange has ended."""
        backend = exchange.backend
        self.write(
            exchange.client.address,
            exchange.head,
            exchange.status or 499,
            exchange.bytes_out,
            exchange.request_id,
            seconds,
            slot,
            backend.address if backend is not None else "-",
        )

    def write(
        self, client: bytes, head: RequestHead | None, status: int, size: int, request_id: bytes, seconds: float,
        slot: str = "-", backend: str = "-",
    ) -> None:  # fmt: skip
        """One line. `head` None: the request could not be read. Status 499: the client left before a response."""
        if self._format is None:
            return
        now = self._clock()
        if int(now) != self._second:
            self._second = int(now)
            template = "%d/%b/%Y:%H:%M:%S +0000" if self._combined else "%Y-%m-%dT%H:%M:%S"
            self._stamp = strftime(template, gmtime(now))
        self._lines.append(
            self._format(
                self._stamp, now, client.decode(), head, status, size, request_id.decode(), seconds, slot, backend
            )
        )

    def flush(self) -> None:
        """Hands the lines to the writer; called by the worker's clock."""
        if self._lines and self._writer is not None:
            batch = "".join(self._lines).encode("latin-1", "replace")
            if not self._writer.put(batch):
                self.dropped += len(self._lines)
            self._lines.clear()

    def close(self) -> None:
        """Writes what is left, waiting at most two seconds for it."""
        self.flush()
        if self._writer is not None:
            self._writer.close()


def _json(
    stamp: str, now: float, client: str, head: RequestHead | None, status: int, size: int, request_id: str,
    seconds: float, slot: str, backend: str,
) -> str:  # fmt: skip
    if head is None:
        method = target = referer = agent = ""
    else:
        method, target = head.method.decode(), _json_text(head.target)
        referer, agent = _json_text(head.fields.referer), _json_text(head.fields.user_agent)
    return (
        f'{{"time":"{stamp}.{int(now % 1 * 1000):03d}Z","id":"{request_id}","client":"{client}","method":"{method}",'
        f'"target":"{target}","status":{status},"bytes":{size},"ms":{seconds * 1000:.2f},"slot":"{slot}",'
        f'"backend":"{backend}","referer":"{referer}","agent":"{agent}"}}\n'
    )


def _json_text(value: bytes) -> str:
    text = value.decode("latin-1")
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return _quoted(value).replace("\\", "\\\\")


def _combined(
    stamp: str, now: float, client: str, head: RequestHead | None, status: int, size: int, request_id: str,
    seconds: float, slot: str, backend: str,
) -> str:  # fmt: skip
    if head is None:
        return f'{client} - - [{stamp}] "-" {status} {size} "-" "-"\n'
    line = f"{head.method.decode()} {_quoted(head.target)} HTTP/1.{head.minor}"
    referer, agent = _quoted(head.fields.referer) or "-", _quoted(head.fields.user_agent) or "-"
    return f'{client} - - [{stamp}] "{line}" {status} {size} "{referer}" "{agent}"\n'


def _open(path: str) -> int:
    if path == "-":
        return sys.stdout.fileno()
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as error:
        raise OperatorError(
            f"the access log {path} can't be opened: {error.strerror}",
            "make its directory writable, or set access_log.path",
        ) from error


class _Writer:
    """A thread that writes batches in order."""

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
