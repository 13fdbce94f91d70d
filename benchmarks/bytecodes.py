"""Calls and bytecodes a request, counted by the interpreter's own tracing in a worker that serves in this process.

Only the worker's thread is counted, and only while requests are on their way on one connection; the client is another
thread. The numbers are those of the code and of the Python's version, whatever the machine is doing; only what the
worker's clock does now and then differs from run to run.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.idle import receive
from benchmarks.in_process import worker_here
from benchmarks.model import Kind, Work
from benchmarks.processes import configure
from benchmarks.report import table
from benchmarks.servers import BenchError, Server
from proxy.config_file import load

if TYPE_CHECKING:
    from pathlib import Path
    from types import CodeType, FrameType

WARM_REQUESTS = 200
REQUESTS = 2000
SELDOM = 0.05
"""Calls a request below which a function counts as one that runs now and then."""
CLIENT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class FunctionCount:
    """One Python function's calls and bytecodes, and its calls of functions written in C, each per request."""

    function: str
    calls: float
    bytecodes: float
    c_calls: float


class Counting:
    """Counts what the thread that entered it runs, by code object, until it is left; not in frames that run already."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.bytecodes: Counter[CodeType] = Counter()
        self.c_calls: Counter[CodeType] = Counter()

    def __repr__(self) -> str:
        return f"<Counting {self.calls.total()} calls, {self.bytecodes.total()} bytecodes>"

    def __enter__(self) -> Counting:
        self._before = sys.gettrace(), sys.getprofile()
        sys.setprofile(self._profile)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        trace, profile = self._before
        sys.settrace(trace)
        sys.setprofile(profile)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if event != "call":
            return None
        self.calls[frame.f_code] += 1
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._inside

    def _inside(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            self.bytecodes[frame.f_code] += 1
        return self._inside

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if event == "c_call":
            self.c_calls[frame.f_code] += 1


def name_of(code: CodeType) -> str:
    """`net/exchange.py Exchange.claim` for a function of the proxy, "" for any other."""
    _, package, path = code.co_filename.rpartition("/proxy/")
    return f"{path} {code.co_qualname}" if package else ""


def per_request(counting: Counting, requests: int) -> tuple[FunctionCount, ...]:
    """The functions that requests call, those with the most bytecodes first, and all the rest in one row."""
    rows = []
    seldom = [0, 0, 0]
    for code, calls in counting.calls.items():
        name, counts = name_of(code), (calls, counting.bytecodes[code], counting.c_calls[code])
        if name and calls / requests >= SELDOM:
            rows.append(FunctionCount(name, *(count / requests for count in counts)))
        else:
            seldom = [sum(pair) for pair in zip(seldom, counts, strict=True)]
    rows.sort(key=lambda row: -row.bytecodes)
    return (*rows, FunctionCount("(now and then)", *(count / requests for count in seldom)))


def ask(connection: socket.socket, request: bytes, count: int) -> None:
    """Sends a request so many times, each after the last answer. Raises OSError, DownloadError."""
    for _ in range(count):
        connection.sendall(request)
        receive(connection)


async def counted(config: Path, port: int, request: bytes, requests: int) -> Counting:
    async with worker_here(load(str(config)), port):
        with socket.create_connection(("127.0.0.1", port), timeout=CLIENT_SECONDS) as connection:
            await asyncio.to_thread(ask, connection, request, WARM_REQUESTS)
            with Counting() as counting:
                await asyncio.to_thread(ask, connection, request, requests)
    return counting


def count(
    work: Work, server: Server, directory: Path, site: Path, requests: int = REQUESTS
) -> tuple[FunctionCount, ...]:
    """Counts what a request of the work costs a worker of `server`, ours; the backend runs, if the work needs it.

    Raises BenchError for a work whose answers are not small.
    """
    if work.kind is not Kind.REQUESTS:
        raise BenchError(f"{work.name} has no small requests to count", "choose a work such as proxied-1k")
    config = configure(server, directory, site, 1).config
    request = f"GET {work.path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    return per_request(uvloop.run(counted(config, server.port, request, requests)), requests)


def summary(rows: tuple[FunctionCount, ...]) -> str:
    """The sums in a sentence; without the last row, which is the worker's clock more than the requests."""
    each = rows[:-1]
    calls, bytecodes, c_calls = (sum(getattr(row, kind) for row in each) for kind in ("calls", "bytecodes", "c_calls"))
    most = max(each, key=lambda row: row.bytecodes)
    share = most.bytecodes / bytecodes
    return (
        f"A request takes {calls:.1f} calls of Python functions with {bytecodes:,.0f} bytecodes, and {c_calls:.1f} "
        f"calls of functions written in C. {most.function} has the most bytecodes, {share:.0%} of them."
    )


def to_markdown(rows: tuple[FunctionCount, ...]) -> str:
    """The sums, and the table by function."""
    counts = table(
        ("function", "calls a request", "bytecodes", "calls of C functions"),
        [(r.function, f"{r.calls:.2f}", f"{r.bytecodes:.1f}", f"{r.c_calls:.2f}") for r in rows],
    )
    return f"{summary(rows)}\n\n{counts}"
