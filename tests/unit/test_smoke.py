"""Smoke tests against a small server: what passes, and how a failure explains itself."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from deployer.smoke import run_smoke

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Test:
    """One smoke test, as the settings have it."""

    __test__ = False
    path: str
    status: int = 200
    contains: str | None = None
    header: Mapping[str, str] | None = None
    max_time: float = 5.0


class App(BaseHTTPRequestHandler):
    """A small application; `failures`: how many requests to /flaky still fail."""

    failures = 0

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.server.stopped.wait(5)  # type: ignore[attr-defined]
        if self.path == "/flaky" and App.failures:
            App.failures -= 1
            self.answer(503, b"warming up")
        elif self.path == "/moved":
            self.answer(302, b"", Location="/login")
        elif self.path == "/error":
            self.answer(500, "<h1>Größe\n\x00</h1>".encode() + b"x" * 1000)
        elif self.path == "/torn":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"short")
        elif self.path == "/trickle":
            self.send_response(200)
            self.end_headers()
            while not self.server.stopped.wait(0.05):  # type: ignore[attr-defined]
                try:
                    self.wfile.write(b".")
                except OSError:
                    return
        else:
            self.answer(200, f"ok {self.path}".encode(), Server2="shop/2")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(OSError):
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), App) as server:
        server.stopped = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.stopped.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def run(url: str, *tests: Test, timeout: float = 5, attempts: int = 1) -> list[str]:
    return [str(result) for result in run_smoke(url, tests, timeout, attempts, sleep=lambda seconds: None)]


def test_what_passes(url: str) -> None:
    results = run_smoke(
        url,
        [
            Test("/health", contains="ok"),
            Test("/a?b=c", contains="/a?b=c"),
            Test("/moved", status=302, header={"location": "/login"}),
            Test("/x", header={"SERVER2": "shop/2"}),
        ],
        5,
    )
    assert [result.problem for result in results] == [""] * 4
    assert all(result.passed and result.attempts == 1 for result in results)
    assert str(results[0]).startswith("/health: 200 in ")


def test_failures_explain_themselves(url: str) -> None:
    assert run(url, Test("/moved"))[0] == "/moved: status 302 (to /login) instead of 200"
    assert run(url, Test("/health", contains="fine"))[0] == (
        "/health: the body does not contain 'fine'\n  body: ok /health"
    )
    assert run(url, Test("/health", header={"X-Version": "2"}))[0].startswith("/health: there is no header X-Version")
    assert "is 'shop/2', which does not contain '3'" in run(url, Test("/x", header={"Server2": "3"}))[0]


def test_an_error_pages_start_is_shown_in_one_line(url: str) -> None:
    text = run(url, Test("/error"))[0]
    assert text.startswith("/error: status 500 instead of 200\n  body: <h1>Größe  </h1>xxx")
    assert len(text) < 260


def test_a_torn_answer_fails(url: str) -> None:
    assert run(url, Test("/torn"))[0] == "/torn: no answer: IncompleteRead(5 bytes read, 95 more expected)"


def test_time_limits_hold_for_silence_and_for_a_trickle(url: str) -> None:
    assert run(url, Test("/slow", max_time=0.1))[0] == "/slow: no whole answer within 0.1 s"
    assert run(url, Test("/slow"), timeout=0.1)[0] == "/slow: no whole answer within 0.1 s"
    assert run(url, Test("/trickle", max_time=0.2))[0] == "/trickle: no whole answer within 0.2 s"


def test_attempts_help_what_recovers(url: str) -> None:
    App.failures = 2
    (result,) = run_smoke(url, [Test("/flaky")], 5, 3, sleep=lambda seconds: None)
    assert (result.passed, result.attempts) == (True, 3)
    App.failures = 2
    (result,) = run_smoke(url, [Test("/flaky")], 5, 2, sleep=lambda seconds: None)
    assert (result.passed, result.attempts, result.body) == (False, 2, "warming up")


def test_nobody_there(url: str) -> None:
    assert run("http://127.0.0.1:1", Test("/health"))[0].startswith("/health: no answer: ")
