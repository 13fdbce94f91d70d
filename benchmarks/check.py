"""Is the server under test doing what the others do? Asked before anything is measured."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING

from benchmarks.model import BODY_NAMES, KB, Source
from benchmarks.servers import BenchError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.processes import Backend, Running

REQUESTS = 40
NEW_CONNECTIONS = 3
LOG_SECONDS = 4.0


def ask_often(port: int, path: str, count: int) -> tuple[set[bytes], bool]:
    """The different bodies of `count` GETs on one connection, and whether it was the same one to the end.

    Raises BenchError for a status that isn't 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    bodies: set[bytes] = set()
    try:
        connection.connect()
        first = connection.sock
        for _ in range(count):
            connection.request("GET", path)
            response = connection.getresponse()
            bodies.add(response.read())
            if response.status != 200:
                raise BenchError(f"port {port} answers {response.status} to {path}")
        return bodies, connection.sock is first
    finally:
        connection.close()


def wait_for_lines(running: Running, wanted: int) -> int:
    """How many lines the access log has, once it has `wanted` or four seconds later (some write in batches)."""
    deadline = time.monotonic() + LOG_SECONDS
    while (lines := running.log_lines()) < wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    return lines


def check(running: Running, backend: Backend, site: Path) -> None:
    """Raises BenchError unless the server proxies and serves files right, keeps connections alive, and logs."""
    server = running.server
    running.empty_log()
    lines = running.log_lines()
    accepted_before, _ = backend.counters()
    expected = 0
    for source, size in ((Source.PROXIED, KB), (Source.STATIC, 10 * KB)):
        if source not in server.serves:
            continue
        name = BODY_NAMES[size]
        path = f"/static/{name}" if source is Source.STATIC else f"/{name}"
        bodies, same = ask_often(server.port, path, REQUESTS)
        expected += REQUESTS
        if bodies != {(site / name).read_bytes()}:
            raise BenchError(f"{server.name} sends something else than {name} for {path}")
        if not same:
            raise BenchError(f"{server.name} doesn't keep its client's connection alive")
    accepted_after, _ = backend.counters()
    if accepted_after - accepted_before > NEW_CONNECTIONS:
        new = accepted_after - accepted_before
        raise BenchError(f"{server.name} opened {new} connections to the backend for {REQUESTS} requests in a row")
    logged = wait_for_lines(running, lines + expected) - lines
    if logged < expected:
        raise BenchError(f"{server.name} logged {logged} of {expected} requests in {running.log}")
