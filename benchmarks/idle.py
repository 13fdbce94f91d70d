"""Opens many connections, lets each be served, and keeps them open until standard input ends.

Run as `python -m benchmarks.idle --help`. Every connection is a browser with a session of its own. Fifty come at a
time, so that the first have not been idle for long when the last are served. Prints `READY` then and, when standard
input or the time ends, `SUMMARY {json}` with the fields of model.Load, in which a connection that the server has closed
meanwhile is an error.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

from benchmarks.browser import request
from benchmarks.download import HEAD_LIMIT, DownloadError, body_length
from benchmarks.model import Load

SPARE_FILES = 50
AT_ONCE = 50
"""Connections that ask at the same time: enough to keep a core busy, and fewer than any server's backlog."""


def raise_file_limit(wanted: int) -> None:
    """Raises this process's limit of open files to `wanted`. Raises ValueError or OSError when it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def receive(connection: socket.socket) -> int:
    """Takes one whole answer and returns its bytes. Raises OSError, DownloadError."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0 or len(data) < end + 4 + body_length(data[: end + 4]):
        chunk = connection.recv(HEAD_LIMIT)
        if not chunk:
            raise DownloadError("closed before the answer was complete")
        data += chunk
    return len(data)


@dataclass
class Visitors:
    """The open connections by their number, and what they saw: answers, bytes, errors."""

    port: int
    path: str
    connections: dict[int, socket.socket] = field(default_factory=dict)
    answers: int = 0
    received: int = 0
    errors: int = 0

    def open(self, numbers: range) -> None:
        """Opens a connection for each of the numbers."""
        for number in numbers:
            try:
                self.connections[number] = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            except OSError as error:
                self._failed(number, error)

    def ask(self, numbers: range) -> None:
        """Each of these visitors that has a connection asks once; all of them before the first answer is read."""
        asked = []
        for number in numbers:
            if connection := self.connections.get(number):
                try:
                    connection.sendall(request(self.path, number))
                    asked.append((number, connection))
                except OSError as error:
                    self._failed(number, error)
        for number, connection in asked:
            try:
                self.received += receive(connection)
                self.answers += 1
            except (OSError, DownloadError) as error:
                self._failed(number, error)

    def count_closed(self) -> int:
        """How many of the idle connections the server has closed (or sent something unasked)."""
        poll = select.poll()
        for connection in self.connections.values():
            poll.register(connection, select.POLLIN)
        return len(poll.poll(0))

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()

    def _failed(self, number: int, error: Exception) -> None:
        print(f"idle: visitor {number}: {error}", file=sys.stderr)
        self.errors += 1
        if connection := self.connections.pop(number, None):
            connection.close()


def visit(visitors: Visitors, count: int, until: float) -> None:
    """All visitors come and ask once; ends early after many errors, and at `until` (monotonic seconds)."""
    for start in range(0, count, AT_ONCE):
        if time.monotonic() > until or visitors.errors > SPARE_FILES:
            return
        numbers = range(start, min(start + AT_ONCE, count))
        visitors.open(numbers)
        visitors.ask(numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description="Opens idle keep-alive connections and holds them.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0, help="the longest to open them, and to hold them")
    arguments = parser.parse_args()
    raise_file_limit(arguments.connections + SPARE_FILES)
    begin = time.monotonic()
    visitors = Visitors(arguments.port, arguments.path)
    visit(visitors, arguments.connections, begin + arguments.seconds)
    seconds = time.monotonic() - begin
    print("READY", flush=True)
    select.select([sys.stdin], [], [], arguments.seconds)
    errors = arguments.connections - len(visitors.connections) + visitors.count_closed()
    print("SUMMARY " + json.dumps(asdict(Load(visitors.answers, seconds, visitors.received, errors))), flush=True)
    visitors.close()


if __name__ == "__main__":
    main()
