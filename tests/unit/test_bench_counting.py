"""What the benchmark counts itself: calls and bytecodes of a request, and visitors who come and stay."""

from __future__ import annotations

import contextlib
import dis
import socket
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks import servers, works
from benchmarks.browser import request
from benchmarks.bytecodes import Counting, count, per_request
from benchmarks.idle import Visitors, visit
from benchmarks.model import OURS
from benchmarks.processes import make_site, started
from proxy.http1.head import parse_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef"
COUNTED = """
def twice(text):
    return len(text) + len(text)

def request():
    return twice("a") + twice("b")
"""


def test_calls_and_bytecodes_are_those_of_the_counted_functions() -> None:
    functions: dict[str, Callable[[], int]] = {}
    exec(compile(COUNTED, "/home/x/proxy/net/example.py", "exec"), functions)
    request = functions["request"]
    before = sys.gettrace()
    with Counting() as counting:
        assert [request() for _ in range(10)] == [4] * 10
    assert sys.gettrace() is before
    rows = {row.function: row for row in per_request(counting, 10)}
    assert (rows["net/example.py request"].calls, rows["net/example.py twice"].calls) == (1, 2)
    assert (rows["net/example.py request"].c_calls, rows["net/example.py twice"].c_calls) == (0, 4)
    instructions = len([i for i in dis.get_instructions(request) if i.opname != "CACHE"])
    assert rows["net/example.py request"].bytecodes == pytest.approx(instructions, abs=2)
    assert next(iter(rows)) == "net/example.py twice"
    assert set(rows) == {"net/example.py request", "net/example.py twice", "(now and then)"}


def test_a_file_in_memory_takes_the_same_calls_each_time(tmp_path: Path) -> None:
    (work,), (server,) = works.choose(("static-10k",)), servers.choose((OURS,))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    site = make_site(tmp_path, sizes=(1024, 10 * 1024))
    rows = count(work, replace(server, port=port), tmp_path, site, requests=100)
    calls = {row.function: row.calls for row in rows}
    assert calls["net/downstream.py Downstream.data_received"] == 1
    assert calls["http1/head.py parse_request"] == 1
    assert "net/upstream.py Upstream.data_received" not in calls


def test_only_small_requests_are_counted(tmp_path: Path) -> None:
    (work,), (server,) = works.choose(("static-100m",)), servers.choose((OURS,))
    with pytest.raises(servers.BenchError, match="no small requests"):
        count(work, server, tmp_path, tmp_path)


def test_a_browsers_request_is_valid_as_long_as_a_real_one_and_his_own() -> None:
    heads = [request("/1k.bin", number) for number in range(200)]
    assert len(set(heads)) == 200
    assert {len(head) > 800 for head in heads} == {True}
    assert len({head.split(b" ")[1] for head in heads}) == 25
    for head in heads[:8]:
        parsed = parse_request(head)
        assert parsed is not None
        assert (parsed.method, parsed.end) == (b"GET", len(head))
    assert request("/1k.bin", 7) == heads[7]


def serve_two(listener: socket.socket, answered: int, done: threading.Event) -> None:
    """Takes a request on each of two connections, answers so many of them, and closes the others."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(listener.accept()[0]) for _ in range(2)]
        for number, connection in enumerate(connections):
            connection.recv(4096)
            if number < answered:
                connection.sendall(ANSWER)
            else:
                connection.close()
        done.wait(10)


@pytest.mark.parametrize(("answered", "errors", "left"), [(2, 0, [0, 1]), (1, 1, [0])])
def test_visitors_who_are_answered_stay_and_the_others_are_errors(answered: int, errors: int, left: list[int]) -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_two, args=(listener, answered, done))
        thread.start()
        visitors = Visitors(listener.getsockname()[1], "/1k.bin")
        visit(visitors, 2, time.monotonic() + 10)
        assert (visitors.answers, visitors.errors, list(visitors.connections)) == (answered, errors, left)
        assert visitors.received == answered * len(ANSWER)
        assert visitors.count_closed() == 0
        done.set()
        thread.join(10)
        assert visitors.count_closed() == answered
        visitors.close()


def test_a_server_is_not_started_where_another_one_would_be_measured(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = servers.Server("late", "", listener.getsockname()[1], ("true",), ("true",))
        with pytest.raises(servers.BenchError, match="is taken"), started(server, tmp_path, tmp_path, 1, ()):
            pass
