"""What the deployer sends over sockets: to the proxy's admin API, to slots, to the public address; and its hooks."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from deployer.checks import HttpChecks
from deployer.clock import SystemClock
from deployer.errors import DeployerError, ReleaseFailed
from deployer.following import follow_file
from deployer.hooks import ShellHooks
from deployer.proxy_client import AnswerLost, ProxyClient, ProxyDown, ProxyRefused, TokenRefused
from deployer.settings import HookSettings, SmokeTest
from deployer.warmup import warm_up
from proxy.wire import SwitchRequest

if TYPE_CHECKING:
    from pathlib import Path

CLOCK = SystemClock()
Answer = Callable[[BaseHTTPRequestHandler, bytes], tuple[int, bytes, dict[str, str]]]
APP = {"name": "shop", "active": "production", "epoch": 3, "held": 0, "switching": False, "slots": []}


@contextmanager
def serving(answer: Answer, server: ThreadingHTTPServer | None = None) -> Iterator[str]:
    """A server whose answers are (status, body, header fields); its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, payload, fields = answer(self, body)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    running = server or ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.RequestHandlerClass = Handler
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        address = running.server_address
        yield f"http://127.0.0.1:{address[1]}" if isinstance(address, tuple) else f"unix:{address}"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def ok(document: Mapping[str, object]) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps(document).encode(), {"Content-Type": "application/json"}


def client(url: str, token: Path | None = None, **changes: float) -> ProxyClient:
    return ProxyClient(url, "shop", token, CLOCK, **changes)


# --- the admin API ----------------------------------------------------------------------------------------


def test_the_app_is_asked_for_with_the_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> tuple[int, bytes, dict[str, str]]:
        seen.extend([handler.path, handler.headers["Authorization"]])
        return ok(APP)

    with serving(answer) as url:
        assert client(url, tmp_path / "token").app().epoch == 3
    assert seen == ["/v1/apps/shop", "Bearer s3cret"]


def test_it_speaks_over_a_unix_socket(tmp_path: Path) -> None:
    class UnixServer(ThreadingHTTPServer):
        address_family = socket.AF_UNIX

        def server_bind(self) -> None:
            self.socket.bind(self.server_address)
            self.server_name, self.server_port = "unix", 0

        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            return self.socket.accept()[0], ("unix", 0)

    path = str(tmp_path / "admin.sock")
    server = UnixServer(path, BaseHTTPRequestHandler)  # type: ignore[arg-type]
    with serving(lambda *_: ok(APP), server):
        assert client(f"unix:{path}").app().active == "production"


def test_a_switch_sends_what_is_asked_and_reads_its_report() -> None:
    bodies: list[dict[str, object]] = []
    report = {
        "app": "shop",
        "from": "production",
        "to": "temp",
        "epoch": 4,
        "workers": 2,
        "hold_ms": 1.0,
        "held": 2,
        "in_flight": 1,
        "barrier_sessions": 0,
        "drained": True,
        "drain_ms": 5.0,
        "tunnels": 0,
        "of a later proxy": 1,
    }

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        bodies.append(json.loads(body))
        return ok(report)

    with serving(answer) as url:
        done = client(url).switch(SwitchRequest(to="temp", expect_active="production", hold=2.0, drain=3.0))
    assert bodies == [{"to": "temp", "expect_active": "production", "hold": 2.0, "drain": 3.0}]
    assert (done.from_slot, done.to, done.held) == ("production", "temp", 2)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, TokenRefused, "proxy.token_file is not set"),
        (404, ProxyRefused, "does not know it: no such app"),
        (409, ProxyRefused, "refused (409): no such app"),
        (503, ProxyRefused, "refused (503)"),
    ],
)
def test_refusals_tell_the_proxys_own_words(status: int, kind: type[DeployerError], words: str) -> None:
    problem = json.dumps({"title": "Problem", "status": status, "detail": "no such app"}).encode()
    with serving(lambda *_: (status, problem, {})) as url, pytest.raises(kind) as error:
        client(url).app()
    assert words in str(error.value)


def test_something_else_on_the_port_is_said() -> None:
    with serving(lambda *_: (200, b"<html>hello", {})) as url, pytest.raises(DeployerError) as error:
        client(url).app()
    assert "something else: b'<html>hello'" in str(error.value)
    assert "proxy.url" in error.value.advice


def test_nobody_there_and_somebody_silent_are_two_errors() -> None:
    with pytest.raises(ProxyDown) as down:
        client("http://127.0.0.1:1").app()
    assert down.value.exit_code == 3
    assert "proxy run" in down.value.advice
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(AnswerLost, match="no answer in time"):
            client(url, timeout=0.2).set_release("temp", "abc")


def test_a_running_release_waits_for_a_proxy_that_comes_back() -> None:
    counts = iter(range(10))

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        return ok(APP) if next(counts) > 1 else (0, b"", {})

    with serving(answer) as url:
        assert client(url, patience=10.0).app().active == "production"


def test_a_switch_whose_answer_is_lost_is_not_sent_again() -> None:
    calls: list[str] = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        calls.append(handler.path)
        return 0, b"", {}

    with serving(answer) as url, pytest.raises(AnswerLost):
        client(url, patience=5.0).switch(SwitchRequest(to="temp"))
    assert calls == ["/v1/apps/shop/switch"]


def test_a_token_that_cannot_be_read(tmp_path: Path) -> None:
    with serving(lambda *_: ok(APP)) as url:
        with pytest.raises(TokenRefused, match="can't be read"):
            client(url, tmp_path / "none").app()
        (tmp_path / "token").write_text("a\nb")
        with pytest.raises(TokenRefused, match="holds no token"):
            client(url, tmp_path / "token").app()


# --- checks -----------------------------------------------------------------------------------------------


def checks(url: str | None = None, **changes: object) -> HttpChecks:
    values: dict[str, object] = {
        "tests": (SmokeTest(path="/health", contains="ok"), SmokeTest(path="/gone", status=404)),
        "warmup_requests": 20,
        "warmup_paths": ("/", "/cart"),
        "warmup_seconds": 5.0,
        "max_error_ratio": 0.02,
        "public_url": url,
        "health_path": "/health",
        "clock": CLOCK,
    }
    return HttpChecks(**{**values, **changes})  # type: ignore[arg-type]


def test_smoke_tests_name_each_failure() -> None:
    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> tuple[int, bytes, dict[str, str]]:
        return (404 if handler.path == "/gone" else 200), b"the schema is too old", {}

    with serving(answer) as url:
        with pytest.raises(ReleaseFailed) as error:
            checks().smoke(url)
        assert checks(tests=(SmokeTest(path="/gone", status=404),)).smoke(url) == "1 of 1 smoke tests passed"
    assert "1 of 2 smoke tests failed" in str(error.value)
    assert "the body does not contain 'ok'" in str(error.value)
    assert "the schema is too old" in str(error.value)


def test_warm_up_keeps_one_session_a_connection_and_spreads_over_the_paths() -> None:
    sessions: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> tuple[int, bytes, dict[str, str]]:
        sessions.append(handler.headers["Cookie"])
        fields = {} if handler.headers["Cookie"] else {"Set-Cookie": f"JSESSIONID=S{len(sessions)}; Path=/; HttpOnly"}
        return 200, b"page", fields

    with serving(answer) as url:
        done = warm_up(url, ("/", "/cart"), 20, 5.0, CLOCK)
    assert done.requests == 20
    assert {path: count for (path, _), count in done.answers.items()} == {"/": 10, "/cart": 10}
    assert sessions.count(None) == 2
    assert len(set(sessions)) == 3


def test_too_many_errors_in_the_warm_up_fail_it() -> None:
    counts = iter(range(1000))

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> tuple[int, bytes, dict[str, str]]:
        return (500 if next(counts) % 5 == 0 else 200), b"", {}

    with serving(answer) as url:
        with pytest.raises(ReleaseFailed, match=r"4 of 20 warm-up requests to .* failed \(20%, allowed 2%\)"):
            checks().warm_up(url, (), None, lambda _: None)
        assert "20 requests, 4 errors" in checks(max_error_ratio=0.2).warm_up(url, (), None, lambda _: None)


def by_path(statuses: Mapping[str, int], seen: list[str]) -> Answer:
    """Answers with the path's status, 200 for others, and notes `PATH COOKIE`."""

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> tuple[int, bytes, dict[str, str]]:
        seen.append(f"{handler.path} {handler.headers.get('Cookie', '')}".strip())
        return statuses.get(handler.path, 200), b"", {}

    return answer


def test_the_sample_is_compared_with_the_live_slot_and_differences_are_listed() -> None:
    new: list[str] = []
    old: list[str] = []
    sample = ("/a?x=1", "/moved", "/bad-on-both", "/gone")
    here = by_path({"/moved": 302, "/bad-on-both": 500, "/gone": 404}, new)
    live = by_path({"/bad-on-both": 503}, old)
    with serving(here) as url, serving(live) as live_url:
        said = checks(warmup_rate=1000.0).warm_up(url, sample, live_url, lambda _: None)
    first, *listed = said.splitlines()
    assert "20 requests, 0 errors" in first
    assert "WARNING: 3 of 4 addresses that users asked for of late answer otherwise:" in first
    assert listed == [
        "  /moved: 302, the live slot answers 200",
        "  /bad-on-both: 500, the live slot answers 503",
        "  /gone: 404, the live slot answers 200",
    ]
    assert old == list(sample), "the live slot is asked once for each, without cookies"
    assert set(new[4:]) == {"/", "/cart", "/a?x=1", "/moved", "/gone"}, "what fails on both warms nothing up"


def test_an_address_that_fails_on_the_new_slot_alone_fails_the_release() -> None:
    with serving(by_path({"/cart?item=3": 500}, [])) as url, serving(by_path({}, [])) as live_url:
        with pytest.raises(ReleaseFailed, match=r"1 of 2 addresses .* fail on .*\n  /cart\?item=3: 500, the live slot"):
            checks(warmup_rate=1000.0).warm_up(url, ("/", "/cart?item=3"), live_url, lambda _: None)
        said = checks(warmup_rate=1000.0).warm_up(url, ("/", "/x"), None, lambda _: None)
        assert "2 addresses that users asked for of late, compared with no slot" in said
        said = checks(warmup_rate=1000.0).warm_up(live_url, ("/", "/x"), live_url, lambda _: None)
        assert "2 addresses that users asked for of late answer as on the live slot" in said


def test_a_warm_up_ends_when_the_time_to_answer_has_settled() -> None:
    with serving(by_path({}, [])) as url:
        done = warm_up(url, ("/", "/cart"), 100_000, 60.0, CLOCK, rate=5000.0)
    assert 100 <= done.requests < 100_000


def test_a_warm_up_ends_in_time() -> None:
    gate = threading.Event()

    def answer(handler: BaseHTTPRequestHandler, _: bytes) -> tuple[int, bytes, dict[str, str]]:
        gate.wait(0.05)
        return 200, b"", {}

    with serving(answer) as url:
        assert warm_up(url, ("/",), 10_000, 0.3, CLOCK).requests < 100


def test_an_interrupt_ends_the_warm_up() -> None:
    class Interrupted:
        def time(self) -> float:
            return 0.0

        def monotonic(self) -> float:
            return 0.0

        def sleep(self, seconds: float) -> None:
            raise ReleaseFailed("interrupted")

    with serving(lambda *_: (200, b"", {})) as url, pytest.raises(ReleaseFailed, match="interrupted"):
        warm_up(url, ("/",), 100_000, 30.0, Interrupted())


@pytest.mark.parametrize(("status", "fine"), [(200, True), (404, True), (502, False)])
def test_the_public_address_must_answer(status: int, fine: bool) -> None:
    with serving(lambda *_: (status, b"", {})) as url:
        if fine:
            assert checks(url).public() == f"{url} answers {status}"
        else:
            with pytest.raises(ReleaseFailed, match=f"/health answers: {status}"):
                checks(url).public()


def test_a_public_address_where_nobody_listens() -> None:
    with pytest.raises(ReleaseFailed, match="refused") as error:
        checks("http://127.0.0.1:1").public()
    assert "proxy.public_url" in error.value.advice


# --- hooks and logs ---------------------------------------------------------------------------------------


def hooks(*commands: str, timeout: float = 10.0) -> ShellHooks:
    return ShellHooks({"smoke": [HookSettings(run=one, timeout=timeout) for one in commands]}, {"PATH": "/bin"}, CLOCK)


def test_hooks_get_their_environment_and_run_in_order(tmp_path: Path) -> None:
    said: list[str] = []
    done = hooks(f"echo $DEPLOYER_APP > {tmp_path}/a", f"echo second >> {tmp_path}/a").run(
        "smoke", {"DEPLOYER_APP": "shop"}, said.append
    )
    assert (tmp_path / "a").read_text() == "shop\nsecond\n"
    assert done == "hooks.smoke: 2 done"
    assert said[1] == f"runs echo second >> {tmp_path}/a"
    assert hooks().run("after_switch", {}, said.append) == "hooks.after_switch: 0 done"


def test_what_hooks_print_is_told_for_the_journal() -> None:
    done = hooks("echo one", "for i in $(/usr/bin/seq 100); do echo line $i; done").run("smoke", {}, lambda _: None)
    first, *rest = done.splitlines()
    assert first == "hooks.smoke: 2 done"
    assert rest == ["  one", *(f"  line {number}" for number in range(81, 101))]


def test_a_hook_that_fails_shows_the_end_of_its_output() -> None:
    with pytest.raises(ReleaseFailed) as error:
        hooks("for i in $(/usr/bin/seq 100); do echo line $i; done; exit 7").run("smoke", {}, lambda _: None)
    text = str(error.value)
    assert "ended with status 7" in text
    assert "line 100" in text
    assert "line 80\n" not in text


def test_a_hook_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    command = f"/bin/sleep 60 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(ReleaseFailed, match=r"took longer than 0\.5 s"):
        hooks(command, timeout=0.5).run("smoke", {}, lambda _: None)
    assert ended(int((tmp_path / "pid").read_text()))


def ended(pid: int) -> bool:
    """Whether the process has ended, or does within a few seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 5.0)[0])
    finally:
        os.close(descriptor)


def test_a_log_is_followed_from_now_on_and_over_its_replacement(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    following = follow_file(log, CLOCK)

    def later(text: str, *, replace: bool = False) -> str:
        if replace:
            log.rename(tmp_path / "log.1")
        timer = threading.Timer(0.1, lambda: log.open("a").close() or log.write_text(text))
        timer.start()
        try:
            return next(following)
        finally:
            timer.join()

    with log.open("a") as stream:
        timer = threading.Timer(0.1, lambda: (stream.write("now\n"), stream.flush()))
        timer.start()
        assert next(following) == "now\n"
        timer.join()
    assert later("new run\n", replace=True) == "new run\n"
    following.close()  # type: ignore[attr-defined]
