"""What the shop's users conclude from an answer, and what their results file says."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Locust puts the folder of its locustfile on the path; the modules are imported as it imports them.
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from shop.load import session as judgement
from shop.load.client import Connection, ExchangeError, Reply
from shop.load.results import Report, Results
from shop.load.session import AnswerError, Asset, Session, SessionLostError, SessionTornError


def cart(counter: int, items: dict[str, int], user: str = "ada") -> Reply:
    document = {"version": "1", "user": user, "counter": counter, "items": items}
    return Reply(200, {}, json.dumps(document).encode())


def count(number: int) -> Reply:
    return Reply(200, {}, json.dumps({"counter": number}).encode())


def test_a_cart_that_grows_as_it_should_is_right() -> None:
    session = Session("ada")
    session.add("tea")
    session.judge_added(cart(1, {"tea": 1}))
    session.judge_cart(cart(1, {"tea": 1}))
    session.add("tea")
    session.judge_added(cart(2, {"tea": 2}))
    assert (session.counter, session.items, session.checked) == (2, {"tea": 2}, True)


@pytest.mark.parametrize(
    "wrong",
    [cart(0, {}), cart(2, {"tea": 1}), cart(1, {"jam": 1}), cart(1, {}), cart(1, {"tea": 1}, user="bob")],
)
def test_a_cart_that_lost_doubled_or_mixed_something_up_is_torn(wrong: Reply) -> None:
    session = Session("ada")
    session.add("tea")
    with pytest.raises(SessionTornError):
        session.judge_added(wrong)


@pytest.mark.parametrize("state", [cart(0, {}), cart(1, {"tea": 1})])
def test_after_a_request_without_answer_both_outcomes_are_right_and_then_only_that_one(state: Reply) -> None:
    session = Session("ada")
    session.add("tea")
    with pytest.raises(ValueError, match="tea is pending"):
        session.add("jam")
    session.judge_cart(state)
    session.judge_cart(state)
    assert session.pending is None
    with pytest.raises(SessionTornError):
        session.judge_cart(cart(2, {"tea": 2}))


def test_a_visit_counter_goes_up_by_one() -> None:
    session = Session("ada")
    for number in (1, 2):
        session.visit()
        session.judge_visit(count(number))
    session.visit()
    for wrong in (count(2), count(4), Reply(200, {}, b"{}")):
        with pytest.raises(SessionTornError):
            session.judge_visit(wrong)
    # The two visits above had no good answer, so the next may be counted as any of three.
    session.visit()
    session.judge_visit(count(4))
    assert session.visits == 4


@pytest.mark.parametrize(
    "reply", [Reply(401, {}, b"{}"), Reply(200, {}, b'{"counter":1}', cookies={"JSESSIONID": "another"})]
)
def test_a_session_that_the_server_does_not_know_is_lost(reply: Reply) -> None:
    session = Session("ada")
    session.visit()
    with pytest.raises(SessionLostError):
        session.judge_visit(reply)


def test_a_server_error_is_no_lost_session() -> None:
    with pytest.raises(AnswerError) as wrong:
        Session("ada").judge_cart(Reply(503, {}, b"no backend"))
    assert not isinstance(wrong.value, (SessionLostError, SessionTornError))
    assert "503" in str(wrong.value)


def page(version: str = "2", header: str = "2", assets: int = 3, end: str = "</html>\n") -> Reply:
    links = "".join(f'<link href="/static/app.{n:016x}.css">' for n in range(assets))
    body = f'<meta name="shop-version" content="{version}">{links}{end}'
    return Reply(200, {"x-shop-version": header}, body.encode())


def test_a_page_names_its_version_and_assets() -> None:
    read = judgement.read_page(page(), frozenset({"1", "2"}))
    assert read.version == "2"
    assert read.assets[1] == Asset("/static/app.0000000000000001.css", "0000000000000001", "2")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (page(version="3", header="3"), "not one of 1, 2"),
        (page(header="1"), "its header 1"),
        (page(assets=2), "2 assets"),
        (page(end=""), "no end"),
        (Reply(200, {}, b"<html></html>"), "names no version"),
        (Reply(404, {}, b""), "status 404"),
    ],
)
def test_a_page_that_is_wrong_says_how(reply: Reply, says: str) -> None:
    with pytest.raises(AnswerError, match=says):
        judgement.read_page(reply, frozenset({"1", "2"}))


def test_an_asset_must_have_the_digest_of_its_name() -> None:
    content = b"body { }"
    asset = Asset("/static/app.css", hashlib.sha256(content).hexdigest()[:16], "2")
    judgement.judge_asset(Reply(200, {}, content), asset)
    for wrong in (Reply(200, {}, content + b" "), Reply(404, {}, content), Reply(200)):
        with pytest.raises(AnswerError):
            judgement.judge_asset(wrong, asset)


def test_a_download_that_lacks_doubles_or_swaps_a_block_is_wrong() -> None:
    whole = judgement.download_content(5, 200_000)
    judgement.judge_download(Reply(200, {}, whole), 5, 200_000)
    first, second = whole[:65536], whole[65536:131072]
    wrongs = (whole[:-1], first + first + whole[131072:], second + first + whole[131072:])
    for wrong in (*wrongs, judgement.download_content(6, 200_000)):
        with pytest.raises(AnswerError):
            judgement.judge_download(Reply(200, {}, wrong), 5, 200_000)


def test_events_must_be_whole() -> None:
    events = "".join(f"id: {n}\ndata: {{}}\n\n" for n in (1, 2))
    judgement.judge_events(Reply(200, {}, f"{events}event: end\ndata: 2\n\n".encode()), 2)
    with pytest.raises(AnswerError):
        judgement.judge_events(Reply(200, {}, events.encode()), 2)


def test_the_results_file_keeps_counts_and_gives_windows(tmp_path: Path) -> None:
    results = Results(1000.0)
    for i in range(100):
        results.add_request("GET /", 1000.0 + i, float(i + 1))
    results.add_failure("GET /: no answer", "the connection broke", 1050.0)
    results.add_page("1", 1001.0)
    results.write(tmp_path / "deep" / "r.json", 1100.0)
    report = Report.load(tmp_path / "deep" / "r.json")
    assert report.facts["failed_by_name"] == {"GET /: no answer": 1}
    assert report.facts["longest"] == {"name": "GET /", "wait_ms": 100.0, "when": 1099.0}
    everything = report.window(1000.0, 1099.0)
    assert (everything.requests, everything.p50_ms, everything.p99_ms, everything.max_ms) == (100, 50, 99, 100)
    assert report.window(1010.0, 1010.0).max_ms == 11
    assert report.window(1200.0, 1300.0).requests == 0


def test_the_failures_kept_with_their_text_are_bounded_and_all_are_counted() -> None:
    results = Results(0.0)
    for i in range(1000):
        results.add_failure("GET /: no answer", f"failure {i}", float(i))
    document = results.document(1.0)
    assert document["failed"] == 1000
    assert [failure["what"] for failure in document["failures"]] == [f"failure {i}" for i in range(50)]


@pytest.mark.parametrize("text", ["[]", "{}", "not JSON"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ValueError, match=r"results file|Expecting value"):
        Report.load(tmp_path / "r.json")


class Script:
    """A server that answers each connection with the next byte strings and then closes it.

    `requests` has what it was sent; `closed` is released once for each connection that it closed.
    """

    def __init__(self, answers: list[list[bytes]]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.closed = threading.Semaphore(0)
        self.thread = threading.Thread(target=self.serve, args=(answers,), daemon=True)
        self.thread.start()

    def serve(self, answers: list[list[bytes]]) -> None:
        for connection in answers:
            peer, _ = self.listener.accept()
            with peer:
                for answer in connection:
                    self.requests.append(self.read_request(peer))
                    peer.sendall(answer)
            self.closed.release()

    def read_request(self, peer: socket.socket) -> bytes:
        request = b""
        end = b"\r\n\r\n"
        while not request.endswith(end):
            request += peer.recv(65536)
            end = b"\r\n0\r\n\r\n" if b"chunked" in request else end
        return request

    def close(self) -> None:
        self.thread.join(5)
        self.listener.close()


Connect = Callable[[list[list[bytes]]], tuple[Connection, Script]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    opened: list[Script | Connection] = []

    def make(answers: list[list[bytes]]) -> tuple[Connection, Script]:
        script = Script(answers)
        connection = Connection("127.0.0.1", script.port, 5)
        opened.extend((connection, script))
        return connection, script

    yield make
    for one in opened:
        one.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: JSESSIONID=abc; Path=/; HttpOnly\r\n\r\nok"


def test_a_connection_is_kept_and_one_that_the_server_closed_is_opened_again(connect: Connect) -> None:
    connection, script = connect([[OK, OK], [OK]])
    for _ in range(2):
        reply = connection.exchange("GET", "/", {"Cookie": "a=b"})
        assert (reply.status, reply.body, reply.cookies) == (200, b"ok", {"JSESSIONID": "abc"})
    assert connection.opened == 1
    assert script.closed.acquire(timeout=5)
    assert connection.exchange("GET", "/", {}).body == b"ok"
    assert connection.opened == 2
    assert b"\r\nCookie: a=b\r\n" in script.requests[0]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "within the answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "within the answer"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
    ],
)
def test_a_broken_answer_is_an_error_and_the_request_is_not_sent_again(
    connect: Connect, answer: bytes, says: str
) -> None:
    connection, script = connect([[answer]])
    with pytest.raises(ExchangeError, match=says):
        connection.exchange("GET", "/", {})
    script.close()
    assert len(script.requests) == 1
    with pytest.raises(ExchangeError, match="no connection"):
        connection.exchange("GET", "/", {})


def test_bodies_are_framed_by_length_or_in_chunks(connect: Connect) -> None:
    connection, script = connect([[OK, OK]])
    connection.exchange("POST", "/upload", {}, b"")
    connection.exchange("POST", "/upload", {}, b"xxxxx", 3)
    assert b"\r\nContent-Length: 0\r\n" in script.requests[0]
    assert b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxxx\r\n2\r\nxx\r\n0\r\n\r\n" in script.requests[1]
