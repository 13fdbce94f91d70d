"""One keep-alive HTTP/1.1 connection of a simulated user.

Locust's own clients repeat a GET whose connection broke, silently. That is what a release must not cause, so this
client sends every request once and reports what became of it. Under Locust the sockets are gevent's.
"""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import Iterable

READ_BYTES = 65536
MAX_BODY = 64 << 20


class ExchangeError(Exception):
    """A request got no whole answer. The message says how far it came."""


@dataclass
class Reply:
    """A whole answer. `headers` has lower-case names; of a repeated header it has the last value."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cookies: dict[str, str] = field(default_factory=dict)


class _Reading:
    """Collects what the parser reports about one answer (the protocol object of httptools)."""

    def __init__(self) -> None:
        self.reply = Reply()
        self.complete = False
        self.keep = False
        self._parser = httptools.HttpResponseParser(self)
        self._length = 0
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Raises ExchangeError when the data is not HTTP or the body is too long."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as e:
            cause = e.__context__ if isinstance(e.__context__, ExchangeError) else None
            raise cause or ExchangeError(f"the answer is not HTTP: {e}") from e

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.reply.headers[key] = text
        if key == "set-cookie":
            cookie, _, content = text.split(";", 1)[0].partition("=")
            self.reply.cookies[cookie.strip()] = content

    def on_body(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > MAX_BODY:
            raise ExchangeError(f"the body is longer than {MAX_BODY} bytes")
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        self.reply.body = b"".join(self._pieces)
        self.reply.status = self._parser.get_status_code()
        # Asked here, because the parser forgets it with the end of the message.
        self.keep = self._parser.should_keep_alive()
        self.complete = True


class Connection:
    """A connection to one server, opened when needed. Not for use by two greenlets at a time.

    `opened` counts the connections made so far.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._address = (host, port)
        self._host_header = f"{host}:{port}"
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self.opened = 0

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "open"
        return f"<Connection to {self._host_header}, {state}, opened {self.opened} times>"

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def exchange(self, method: str, path: str, headers: dict[str, str], body: bytes = b"", chunk: int = 0) -> Reply:
        """Sends one request, once, and returns the whole answer.

        With `chunk` above 0 the body goes out in chunks of that many bytes. Raises ExchangeError when the connection
        cannot be opened, breaks, times out, or carries what is not HTTP.
        """
        sock = self._ready_socket()
        try:
            for piece in self._request(method, path, headers, body, chunk):
                sock.sendall(piece)
            reading = self._read(sock)
        except OSError as e:
            self.close()
            raise ExchangeError(f"the connection broke: {e or type(e).__name__}") from e
        except BaseException:
            self.close()
            raise
        if not reading.keep:
            self.close()
        return reading.reply

    def _ready_socket(self) -> socket.socket:
        # A server may close an idle connection; that is seen here before a request is risked on it.
        if self._socket is not None and _has_news(self._socket):
            self.close()
        if self._socket is None:
            try:
                self._socket = socket.create_connection(self._address, self._timeout)
            except OSError as e:
                raise ExchangeError(f"no connection to {self._host_header}: {e}") from e
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.opened += 1
        return self._socket

    def _request(self, method: str, path: str, headers: dict[str, str], body: bytes, chunk: int) -> Iterable[bytes]:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if chunk:
            lines.append("Transfer-Encoding: chunked")
        elif body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        if not chunk:
            yield head + body
            return
        yield head
        for at in range(0, len(body), chunk):
            piece = body[at : at + chunk]
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"

    def _read(self, sock: socket.socket) -> _Reading:
        reading = _Reading()
        received = 0
        while not reading.complete:
            data = sock.recv(READ_BYTES)
            if not data:
                if received == 0:
                    raise ExchangeError("the connection was closed without an answer")
                raise ExchangeError(f"the connection was closed within the answer, after {received} bytes")
            received += len(data)
            reading.feed(data)
        return reading


def _has_news(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
