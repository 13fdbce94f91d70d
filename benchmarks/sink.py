"""A backend that takes uploads: counts the body in the kernel (MSG_TRUNC) and answers when it is complete."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from dataclasses import dataclass, field

LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)\r\n", re.IGNORECASE)
HEAD_LIMIT = 16 * 1024
CHUNK = 1 << 20
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
            match = LENGTH.search(data[: end + 4])
            length = int(match[1]) if match else 0
            if take(connection, length - (len(data) - end - 4)):
                self.bodies.append(length)
                text = b"%d" % length
                connection.sendall(ANSWER % (len(text), text))
        except OSError:
            return


def take(connection: socket.socket, count: int) -> bool:
    """Discards `count` bytes; False when the peer closes before."""
    scratch = bytearray(CHUNK)
    while count > 0:
        taken = connection.recv_into(scratch, min(count, CHUNK), socket.MSG_TRUNC)
        if not taken:
            return False
        count -= taken
    return True


def upload(port: int, size: int, seconds: float) -> int:
    """Posts `size` zero bytes over a new connection and returns what the sink says it took.

    Raises OSError, http.client.HTTPException, and ValueError for an answer that isn't the sink's.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        chunk = bytes(CHUNK)
        body = (chunk[: size - start] for start in range(0, size, CHUNK))
        connection.request("POST", "/upload", body=body, headers={"Content-Length": str(size)})
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(f"the upload was answered {response.status}")
    return int(text)
