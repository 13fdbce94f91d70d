"""A backend that answers an upload early and closes: the reset must not hide its answer (case 13)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from asking import Asking

from proxy.core.backends import Backend
from proxy.net.pool import Pool

if TYPE_CHECKING:
    from proxy.errors import RequestError
    from proxy.http1.head import ResponseHead

ANSWER = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
SIZED = ANSWER + b"Content-Length: 9\r\n\r\ntoo large"
CHUNKED = ANSWER + b"Transfer-Encoding: chunked\r\n\r\n9\r\ntoo large\r\n0\r\n\r\n"


class Sink:
    """Notes what becomes of an exchange whose request has not been sent to its end."""

    method = b"POST"
    request_sent = False
    decode_chunks = True

    def __init__(self) -> None:
        self.status = 0
        self.content = b""
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def response(self, head: ResponseHead, has_body: bool, body: bytes, *, whole: bool = False) -> None:
        self.status = head.status
        self.content += body
        if whole:
            self.response_ended()

    def body(self, data: bytes) -> None:
        self.content += data

    def response_ended(self) -> None:
        self.ended.set_result("whole")

    def failed(self, error: RequestError) -> None:
        self.ended.set_result(str(error))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was not expected")


async def outcome(answer: bytes) -> tuple[str, int, bytes]:
    """What the exchange gets when the answer and the reset are there before the next write."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        backend = Backend(f"127.0.0.1:{listener.getsockname()[1]}")
        loop = asyncio.get_running_loop()
        pool = Pool(backend, loop, 0.0, connect_timeout=5, max_idle_age=30, max_fields=100)
        upstream = await Asking(pool).told
        end, _ = listener.accept()
        sink = Sink()
        upstream.start(sink, b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        end.sendall(answer)
        end.close()  # with the request unread, so it is reset
        for _ in range(3):  # nothing here lets the event loop read
            upstream.write(b"x" * 1000)
        return await asyncio.wait_for(sink.ended, 10), sink.status, sink.content


@pytest.mark.parametrize("answer", [SIZED, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_the_answer_is_read(answer: bytes, loop: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(outcome(answer)) == ("whole", 413, b"too large")


@pytest.mark.parametrize(
    "answer", [b"", SIZED[:20], SIZED[:-1], CHUNKED[:-2]], ids=["none", "head", "sized", "chunked"]
)
def test_what_is_not_whole_stays_so(answer: bytes) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        how, _, _ = runner.run(outcome(answer))
    assert how in ("the response was cut off", "the connection was closed before a response came")
