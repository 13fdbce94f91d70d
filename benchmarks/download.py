"""A load of large downloads that costs little: bodies are discarded in the kernel (MSG_TRUNC, man 7 tcp).

wrk reads 8 KiB at a time and parses each; at gigabytes a second it would be what is measured. Run as
`python -m benchmarks.download --help`; prints one line, `SUMMARY {json}`, with the fields of model.Load.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from benchmarks.model import Load

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_LIMIT = 16 * 1024
SWALLOW = 4 * 1024 * 1024
STALL = 20.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)\r\n", re.IGNORECASE)


class DownloadError(Exception):
    """The server's answer is not what was asked for; the message says how."""


def body_length(head: bytes) -> int:
    """The body's length in bytes from a response head that ends in an empty line.

    Raises DownloadError unless the status is 200 and the length is announced.
    """
    status, length = STATUS.match(head), LENGTH.search(head)
    if status is None or status[1] != b"200":
        raise DownloadError(f"the answer is not 200: {head[:60]!r}")
    if length is None:
        raise DownloadError("the answer has no Content-Length")
    return int(length[1])


@dataclass
class Client:
    """One keep-alive connection, which asks for the same path again and again."""

    connection: socket.socket
    request: bytes
    size: int
    clock: Callable[[], float]
    scratch: bytearray
    head: bytes = b""
    remaining: int = 0
    started: float = 0.0
    received: int = 0
    times: list[float] = field(default_factory=list)

    def close(self) -> None:
        self.connection.close()

    def ask(self) -> None:
        self.head = b""
        self.remaining = 0
        self.started = self.clock()
        self.connection.send(self.request)

    def readable(self) -> bool:
        """Takes what has come; True when the answer is complete. Raises DownloadError or OSError."""
        if not self.remaining:
            return self._read_head()
        count = self.connection.recv_into(self.scratch, min(self.remaining, SWALLOW), socket.MSG_TRUNC)
        if not count:
            raise DownloadError(f"closed with {self.remaining} bytes to come")
        return self._took(count)

    def _read_head(self) -> bool:
        chunk = self.connection.recv(HEAD_LIMIT)
        if not chunk:
            raise DownloadError("closed before the head was complete")
        self.head += chunk
        end = self.head.find(b"\r\n\r\n")
        if end < 0:
            if len(self.head) > HEAD_LIMIT:
                raise DownloadError("the head is too long")
            return False
        self.remaining = body_length(self.head[: end + 4])
        if self.remaining != self.size:
            raise DownloadError(f"announces {self.remaining} bytes, not {self.size}")
        self.received += end + 4
        return self._took(len(self.head) - end - 4)

    def _took(self, count: int) -> bool:
        self.received += count
        self.remaining -= count
        if self.remaining < 0:
            raise DownloadError("more bytes than announced")
        if self.remaining:
            return False
        self.times.append(self.clock() - self.started)
        return True


def percentile(times: list[float], share: float) -> float:
    """The time, in microseconds, that `share` (0 to 1) of the times do not exceed; 0 for no times."""
    if not times:
        return 0.0
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1e6


def connect(host: str, port: int, path: str, size: int, clock: Callable[[], float]) -> Client:
    connection = socket.create_connection((host, port), timeout=10)
    connection.setblocking(False)
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: bench\r\n\r\n".encode()
    return Client(connection, request, size, clock, bytearray(SWALLOW))


def run(clients: list[Client], seconds: float, max_requests: int, clock: Callable[[], float]) -> Load:
    """Downloads until the time or the number of requests is used up, and lets the last ones finish.

    A connection that fails is an error and isn't opened again; nothing received for 20 s ends the run.
    """
    begin = clock()
    errors = 0
    asked = len(clients)
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.connection, selectors.EVENT_READ, client)
            client.ask()
        while selector.get_map():
            ready = selector.select(STALL)
            if not ready:
                errors += len(selector.get_map())
                break
            for key, _ in ready:
                client = key.data
                try:
                    complete = client.readable()
                    if not complete:
                        continue
                    if clock() - begin < seconds and asked < max_requests:
                        client.ask()
                        asked += 1
                        continue
                except BlockingIOError:
                    continue
                except (DownloadError, OSError) as error:
                    print(f"download: {error}", file=sys.stderr)
                    errors += 1
                selector.unregister(client.connection)
    times = [time for client in clients for time in client.times]
    return Load(
        requests=len(times),
        seconds=clock() - begin,
        received=sum(client.received for client in clients),
        errors=errors,
        p50_us=percentile(times, 0.5),
        p99_us=percentile(times, 0.99),
        max_us=percentile(times, 1.0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Downloads one path over keep-alive connections.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--size", type=int, required=True, help="the body's length in bytes")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--max-requests", type=int, required=True)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(arguments.connections):
            clients.append(connect("127.0.0.1", arguments.port, arguments.path, arguments.size, time.monotonic))
            stack.callback(clients[-1].close)
        load = run(clients, arguments.seconds, arguments.max_requests, time.monotonic)
    print("SUMMARY " + json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
