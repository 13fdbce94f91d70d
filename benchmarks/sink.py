"""A backend that takes uploads: counts the body in the kernel (MSG_TRUNC) and answers when it is complete."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from dataclasses import dataclass, field

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)\r\n", re.IGNORECASE)
SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked\r\n", re.IGNORECASE)
HEAD_LIMIT = 16 * 1024
CHUNK = 1 << 20
LONGEST_SIZE = 64
"""Bytes in which the line with a chunk's size must end."""
QUIET_SECONDS = 30.0
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"


@dataclass
class Sink:
    """Serves one connection at a time on a loopback port until it is closed; `bodies` are the lengths taken.

    With port 0 the kernel chooses one, and `port` is it once the sink is entered.
    """

    port: int
    bodies: list[int] = field(default_factory=list)

    def __enter__(self) -> Sink:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(QUIET_SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(QUIET_SECONDS)
            with connection:
                self._exchange(connection)

    def _exchange(self, connection: socket.socket) -> None:
        """One request; a body that is cut off is not counted."""
        try:
            data = b""
            while (end := data.find(b"\r\n\r\n")) < 0 and len(data) < HEAD_LIMIT:
                chunk = connection.recv(HEAD_LIMIT)
                if not chunk:
                    return
                data += chunk
            length = _take_body(connection, data[: end + 4], data[end + 4 :])
            if length is not None:
                self.bodies.append(length)
                text = b"%d" % length
                connection.sendall(ANSWER % (len(text), text))
        except OSError:
            return


def _take_body(connection: socket.socket, head: bytes, begun: bytes) -> int | None:
    """Discards the body, of which `begun` has come with the head; its length, or None when the peer closes before."""
    if CHUNKED.search(head):
        return take_chunks(connection, begun)
    match = LENGTH.search(head)
    length = int(match[1]) if match else 0
    return length if take(connection, length - len(begun)) else None


def take_chunks(connection: socket.socket, data: bytes) -> int | None:
    """Discards a body in chunked coding without trailers, of which `data` has come.

    Its length; None when the peer closes before its end, or it isn't chunked coding (RFC 9112 section 7.1).
    """
    total = 0
    while True:
        while b"\r\n" not in data and len(data) < LONGEST_SIZE:
            more = connection.recv(LONGEST_SIZE)
            if not more:
                return None
            data += more
        found = SIZE.match(data)
        if found is None:
            return None
        size, data = int(found[1], 16), data[found.end() :]
        if len(data) < size:
            if not take(connection, size - len(data)):
                return None
            data = b""
        else:
            data = data[size:]
        while len(data) < 2:
            more = connection.recv(2 - len(data))
            if not more:
                return None
            data += more
        if data[:2] != b"\r\n":
            return None
        data = data[2:]
        total += size
        if not size:
            return total


def take(connection: socket.socket, count: int) -> bool:
    """Discards `count` bytes; False when the peer closes before."""
    scratch = bytearray(CHUNK)
    while count > 0:
        taken = connection.recv_into(scratch, min(count, CHUNK), socket.MSG_TRUNC)
        if not taken:
            return False
        count -= taken
    return True


def upload(port: int, size: int, seconds: float, *, chunked: bool = False) -> int:
    """Posts `size` zero bytes over a new connection, sized or in chunks, and returns what the sink says it took.

    Raises OSError, http.client.HTTPException, and ValueError for an answer that isn't the sink's.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        chunk = bytes(CHUNK)
        body = (chunk[: size - start] for start in range(0, size, CHUNK))
        fields = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(size)}
        connection.request("POST", "/upload", body=body, headers=fields, encode_chunked=chunked)
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"the upload was answered {response.status}")
    return int(text)
