"""What clients do with a real Tomcat behind a real proxy process: tunnels, streams, uploads, and Tomcat's own HTTP."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from wired_war import STATIC, post_json, start_tomcat, wait_until_served

from tests.fuzz.corpus.request_cases import REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

pytestmark = pytest.mark.tomcat

ROOT = Path(__file__).resolve().parents[2]
PORT, ADMIN, PRODUCTION, TEMP = 19600, 19601, 19602, 19603
MIB = 1 << 20
UPLOAD = 200 * MIB
MAX_GROWTH = 16 * MIB
"""Of a worker's memory while an upload passes: twice its buffers of 256 KiB, and room for the allocator."""


class Client:
    """A raw connection to the proxy."""

    def __init__(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=30)
        self.reader = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, *lines: str, body: bytes = b"") -> None:
        self.socket.sendall("\r\n".join((*lines, "Host: shop.test", "", "")).encode() + body)

    def head(self) -> tuple[int, dict[str, str]]:
        """The status and the fields, their names in lower case."""
        status = int(self.reader.readline().split(b" ")[1])
        fields = {}
        while line := self.reader.readline().rstrip(b"\r\n"):
            name, _, value = line.decode("latin-1").partition(": ")
            fields[name.lower()] = value
        return status, fields

    def chunk(self) -> bytes:
        """The next chunk; the last one is empty, and then come trailers."""
        data = self.reader.read(int(self.reader.readline(), 16))
        if data:
            assert self.reader.readline() == b"\r\n"
        return data

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, fields = self.head()
        if "transfer-encoding" not in fields:
            return status, fields, self.reader.read(int(fields["content-length"]))
        chunks = list(iter(self.chunk, b""))
        assert self.reader.readline() == b"\r\n"
        return status, fields, b"".join(chunks)

    def at_end(self) -> bool:
        return self.reader.read(1) == b""


@pytest.fixture(scope="module")
def tomcat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its directory."""
    directory = tmp_path_factory.mktemp("tomcat") / "base"
    process = start_tomcat(directory, (PRODUCTION, TEMP))
    yield directory
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The proxy's."""
    return tmp_path_factory.mktemp("proxy")


@pytest.fixture(scope="module")
def proxy(tomcat: Path, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    slots = {"production": {"backends": [f"127.0.0.1:{PRODUCTION}"]}, "temp": {"backends": [f"127.0.0.1:{TEMP}"]}}
    settings = {
        "listen": [f"http://127.0.0.1:{PORT}"],
        "workers": 1,
        "admin": {"listen": f"http://127.0.0.1:{ADMIN}"},
        "access_log": {"path": str(directory / "access.log")},
        "apps": {"shop": {"slots": slots}},
    }
    (directory / "proxy.yaml").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "run", "-c", str(directory / "proxy.yaml")],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        wait_until_served(f"http://127.0.0.1:{PORT}/health", process)
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its workers would serve on without it
        process.wait()


@pytest.fixture
def client(proxy: subprocess.Popen[bytes]) -> Iterator[Client]:
    with Client() as client:
        yield client


def switch(to: str) -> Any:
    return post_json(f"http://127.0.0.1:{ADMIN}/v1/apps/shop/switch", {"to": to, "drain": "500ms"})


def publish(text: str, end: bool = False) -> int:
    """How many were waiting for it."""
    with Client() as client:
        client.send(f"GET /publish?text={text}{'&end=1' if end else ''} HTTP/1.1")
        return int(client.answer()[2])


def worker_memory(proxy: subprocess.Popen[bytes]) -> int:
    """The most that the one worker has had resident so far, in bytes."""
    (worker,) = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


# --- tunnels and streams --------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def websocket() -> Any:
    url = f"ws://127.0.0.1:{PORT}/echo"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as connection:
        yield connection


async def test_a_websocket_echoes_text_and_bytes_small_and_large(proxy: object) -> None:
    async with websocket() as connection:
        for text in ("grüße", "x" * 300_000):
            await connection.send_str(text)
            assert await connection.receive_str(timeout=20) == text
        for size in (0, 1, 125, 126, 65_535, 65_536, 5 * MIB):
            body = os.urandom(size)
            await connection.send_bytes(body)
            assert await connection.receive_bytes(timeout=20) == body


async def test_a_websocket_closed_by_the_client(proxy: object) -> None:
    async with websocket() as connection:
        await connection.close(code=4002)
        assert connection.close_code == 4002, "Tomcat answers with the same code"


async def test_a_websocket_closed_by_the_application(proxy: object) -> None:
    async with websocket() as connection:
        await connection.send_str("close")
        message = await connection.receive(timeout=20)
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "as you wish")


async def test_a_websocket_across_a_switch_is_told_to_come_again(proxy: object, client: Client) -> None:
    async with websocket() as connection:
        await connection.send_str("before")
        assert await connection.receive_str(timeout=20) == "before"
        switching = threading.Thread(target=switch, args=("temp",))
        switching.start()
        message = await connection.receive(timeout=20)
        switching.join()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.SERVICE_RESTART)
    async with websocket() as connection:
        await connection.send_str("after")
        assert await connection.receive_str(timeout=20) == "after"
    switch("production")
    client.send("GET /closes HTTP/1.1")
    assert b"1001" in client.answer()[2].split(b","), "the application was told, too"


def test_events_arrive_one_by_one(client: Client) -> None:
    """Each is read before the next is published: nothing between holds one back."""
    client.send("GET /wait?events=1 HTTP/1.1")
    status, fields = client.head()
    assert (status, fields["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert fields["transfer-encoding"] == "chunked"
    for number in range(20):
        assert publish(f"event-{number}") == 1
        assert client.chunk() == f"event-{number}".encode()
    assert publish("last", end=True) == 1
    assert client.chunk() == b"last"
    assert client.chunk() == b""


def test_a_long_poll(client: Client) -> None:
    client.send("GET /wait HTTP/1.1")
    while not publish("at-last", end=True):  # Tomcat does not tell when the request has come
        pass
    assert client.answer()[::2] == (200, b"at-last")
    client.send("GET /health HTTP/1.1")
    assert client.answer()[::2] == (200, b"ok")


# --- uploads --------------------------------------------------------------------------------------------------------


def test_100_continue(client: Client) -> None:
    """Nothing of the body is sent before Tomcat's own 100 has come."""
    client.send("POST /upload HTTP/1.1", "Expect: 100-continue", "Content-Length: 5")
    assert client.head() == (100, {})
    client.socket.sendall(b"hello")
    status, _, body = client.answer()
    assert status == 200
    assert body.startswith(f"5 {hashlib.sha256(b'hello').hexdigest()} 100-continue null".encode())
    client.send("GET /health HTTP/1.1")
    assert client.answer()[0] == 200


@pytest.mark.parametrize("status", [401, 413, 417])
@pytest.mark.parametrize("framing", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_final_response_in_place_of_100(client: Client, status: int, framing: str) -> None:
    """The client sends no body, and where its next request would begin nobody can know: the connection ends."""
    client.send(f"POST /refuse?status={status} HTTP/1.1", "Expect: 100-continue", framing)
    answered, fields, body = client.answer()
    assert (answered, body, fields["connection"]) == (status, b"no", "close")
    assert client.at_end()


def test_another_expectation_is_417_and_reaches_no_tomcat(client: Client) -> None:
    client.send("POST /upload HTTP/1.1", "Expect: the-moon", "Content-Length: 5")
    status, fields, body = client.answer()
    assert (status, fields["connection"]) == (417, "close")
    assert b"Part that failed: the request." in body


def blocks() -> Iterator[bytes]:
    block = bytearray(os.urandom(MIB))
    for number in range(UPLOAD // MIB):
        block[:8] = number.to_bytes(8, "big")
        yield bytes(block)


def in_chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("framing", [f"Content-Length: {UPLOAD}", "Transfer-Encoding: chunked"])
def test_a_large_upload_arrives_whole_in_bounded_memory(
    proxy: subprocess.Popen[bytes], client: Client, framing: str
) -> None:
    before = worker_memory(proxy)
    client.send("PUT /upload HTTP/1.1", framing)
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for block in blocks():
            digest.update(block)
            yield block

    for data in in_chunks(hashed()) if "chunked" in framing else hashed():
        client.socket.sendall(data)
    status, _, body = client.answer()
    assert status == 200
    assert body.split()[:2] == [str(UPLOAD).encode(), digest.hexdigest().encode()]
    assert worker_memory(proxy) - before < MAX_GROWTH


def test_an_upload_that_is_answered_in_the_middle(client: Client) -> None:
    """Tomcat answers without reading; the answer comes through, however much the client goes on to send."""
    client.send("PUT /refuse?status=413 HTTP/1.1", f"Content-Length: {UPLOAD}")
    with contextlib.suppress(ConnectionError):
        for block in blocks():
            client.socket.sendall(block)
            if client.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                break
    assert client.answer()[::2] == (413, b"no")


def test_a_chunked_upload_with_trailers(client: Client) -> None:
    body = b"5;note=x\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\nX-More: yes\r\n\r\n"
    client.send("POST /upload HTTP/1.1", "Transfer-Encoding: chunked", "Trailer: X-Sum, X-More", body=body)
    status, _, answer = client.answer()
    assert status == 200
    digest = hashlib.sha256(b"hello world").hexdigest()
    assert answer == f"11 {digest} null chunked {{X-More=yes, X-Sum=42}}".encode()


def test_trailers_that_frame_or_route_do_not_reach_tomcat(client: Client) -> None:
    body = b"5\r\nhello\r\n0\r\nX-Sum: 42\r\nContent-Length: 100\r\n\r\n"
    client.send("POST /upload HTTP/1.1", "Transfer-Encoding: chunked", body=body)
    assert client.answer()[2].endswith(b" null chunked {}")
    client.send("GET /health HTTP/1.1")
    assert client.answer()[::2] == (200, b"ok")


def test_trailers_of_a_response(client: Client) -> None:
    client.send("GET /trailers HTTP/1.1", "TE: trailers", "Connection: TE")
    status, fields = client.head()
    assert (status, fields["transfer-encoding"]) == (200, "chunked")
    assert b"".join(iter(client.chunk, b"")) == b"first second"
    assert client.reader.readline() == b"X-Sum: 42\r\n"
    assert client.reader.readline() == b"\r\n"


# --- Tomcat's own files ---------------------------------------------------------------------------------------------


def test_head_says_what_get_says_and_no_more(client: Client) -> None:
    client.send("GET /static.bin HTTP/1.1")
    _, of_get, body = client.answer()
    assert body == STATIC
    client.send("HEAD /static.bin HTTP/1.1")
    status, of_head = client.head()
    for fields in (of_get, of_head):
        del fields["date"], fields["x-request-id"]
    assert (status, of_head) == (200, of_get)
    client.send("GET /health HTTP/1.1")
    assert client.answer()[::2] == (200, b"ok"), "no byte of a body was between"


def test_conditional_requests(client: Client) -> None:
    client.send("GET /static.bin HTTP/1.1")
    fields = client.answer()[1]
    for condition in (f"If-None-Match: {fields['etag']}", f"If-Modified-Since: {fields['last-modified']}"):
        client.send("GET /static.bin HTTP/1.1", condition)
        status, of_304 = client.head()
        assert (status, of_304["etag"]) == (304, fields["etag"])
    client.send("GET /static.bin HTTP/1.1", 'If-Match: "other"')
    assert client.answer()[0] == 412


def test_ranges(client: Client) -> None:
    client.send("GET /static.bin HTTP/1.1", "Range: bytes=1000-1999")
    status, fields, body = client.answer()
    assert (status, body) == (206, STATIC[1000:2000])
    assert fields["content-range"] == f"bytes 1000-1999/{len(STATIC)}"
    client.send("GET /static.bin HTTP/1.1", "Range: bytes=0-9,-10")
    status, fields, body = client.answer()
    assert (status, fields["content-type"].partition(";")[0]) == (206, "multipart/byteranges")
    assert STATIC[:10] in body
    assert STATIC[-10:] in body
    client.send("GET /static.bin HTTP/1.1", f"Range: bytes={len(STATIC)}-")
    assert client.answer()[0] == 416


# --- hostile requests -----------------------------------------------------------------------------------------------


def in_both_logs(tomcat: Path, directory: Path) -> tuple[list[str], list[str]]:
    """The ids of the requests that the proxy sent to Tomcat, and of those that Tomcat got; without the probes."""
    lines = [json.loads(line) for line in (directory / "access.log").read_text().splitlines()]
    sent = [line["id"] for line in lines if line["backend"] != "-"]
    lines_of_tomcat = (tomcat / "logs" / "access.log").read_text().splitlines()
    return sorted(sent), sorted(line.split(" ")[0] for line in lines_of_tomcat if line != "- GET /health")


def test_tomcat_gets_no_request_that_the_proxy_has_not_sent(
    proxy: subprocess.Popen[bytes], tomcat: Path, directory: Path
) -> None:
    """The whole corpus, with another request behind each. One that was smuggled would be in Tomcat's log alone.

    What Tomcat refuses by its own, narrower grammar stands there without an id.
    """
    for case in REQUESTS:
        with Client() as client, contextlib.suppress(ConnectionError):
            client.socket.sendall(case.data + b"GET /closes HTTP/1.1\r\nHost: a\r\n\r\n")
            client.socket.shutdown(socket.SHUT_WR)
            while client.reader.read(65536):
                pass
    deadline = time.monotonic() + 30
    while True:
        sent, got = in_both_logs(tomcat, directory)
        if len(sent) == len(got) or time.monotonic() > deadline:
            break
        time.sleep(0.1)  # both are written a little later
    unnamed = [id for id in got if id == "-"]
    assert len(got) == len(sent)
    assert len(set(got)) == len(got) - max(len(unnamed) - 1, 0)
    assert set(got) - {"-"} <= set(sent)
    assert len(sent) > len(REQUESTS) // 2
    assert len(unnamed) < len(REQUESTS) // 10


# --- sessions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "cookies", "seen"),
    [
        ("/session;jsessionid=ab12", "", "ab12"),
        ("/session;v=1;jsessionid=ab12;w=2?jsessionid=other", "", "ab12"),
        ("/session;jsessionid=other;jsessionid=ab12", "", "ab12"),
        ("/session;jsessionid=other", "JSESSIONID=ab12", "ab12"),
        ("/session", 'a=b; JSESSIONID="ab12"', "ab12"),
        ("/session;xjsessionid=ab12", "", "null"),
        ("/session?a=;jsessionid=ab12", "", "null"),
    ],
)
def test_tomcat_reads_the_session_where_the_barrier_does(client: Client, target: str, cookies: str, seen: str) -> None:
    """proxy.core.sessions reads the same; tests/unit/test_sessions.py has these cases too."""
    client.send(f"GET {target} HTTP/1.1", *([f"Cookie: {cookies}"] if cookies else []))
    assert client.answer()[::2] == (200, seen.encode())
