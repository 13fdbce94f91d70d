"""Opens many connections, lets each be served once, and keeps them open until standard input ends.

Run as `python -m benchmarks.idle --help`. Prints `READY` when all are open and, when standard input or the time
ends, `SUMMARY {json}` with the fields of model.Load: a request is a connection, and one that the server has
closed meanwhile is an error.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import sys
import time
from dataclasses import asdict

from benchmarks.download import HEAD_LIMIT, DownloadError, body_length
from benchmarks.model import Load

SPARE_FILES = 50


def raise_file_limit(wanted: int) -> None:
    """Raises this process's limit of open files to `wanted`. Raises ValueError or OSError when it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def open_one(port: int, path: str) -> tuple[socket.socket, int]:
    """One connection that has served one request, and the bytes that came. Raises OSError, DownloadError."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0 or len(data) < end + 4 + body_length(data[: end + 4]):
        chunk = connection.recv(HEAD_LIMIT)
        if not chunk:
            raise DownloadError("closed before the answer was complete")
        data += chunk
    return connection, len(data)


def count_closed(connections: list[socket.socket]) -> int:
    """How many of these idle connections the server has closed (or sent something unasked)."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return len(poll.poll(0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Opens idle keep-alive connections and holds them.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0, help="the longest to open them, and to hold them")
    arguments = parser.parse_args()
    raise_file_limit(arguments.connections + SPARE_FILES)
    begin = time.monotonic()
    connections: list[socket.socket] = []
    received = errors = 0
    for _ in range(arguments.connections):
        if time.monotonic() - begin > arguments.seconds:
            break
        try:
            connection, count = open_one(arguments.port, arguments.path)
        except (OSError, DownloadError) as error:
            print(f"idle: {error}", file=sys.stderr)
            errors += 1
            if errors > SPARE_FILES:
                break
            continue
        connections.append(connection)
        received += count
    seconds = time.monotonic() - begin
    print("READY", flush=True)
    select.select([sys.stdin], [], [], arguments.seconds)
    errors += count_closed(connections)
    print("SUMMARY " + json.dumps(asdict(Load(len(connections), seconds, received, errors))), flush=True)
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    main()
