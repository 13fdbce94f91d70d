"""Real backends that fail in every way: the stated answer, and nothing left over."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest
from loopback import GET, OK, answer_all, head, read_message, reset

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from loopback import Script, Wired

POST = head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 3") + b"a=1"
BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"


def says(*answers: bytes, then: str = "close") -> Script:
    """A backend that reads one request, writes this, and ends the connection."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        await read_message(reader)
        for answer in answers:
            writer.write(answer)
            await writer.drain()
            await asyncio.sleep(0)
        if then == "reset":
            reset(writer)
        elif then == "wait":
            await reader.read()

    return script


async def resets_at_once(reader: StreamReader, writer: StreamWriter) -> None:
    reset(writer)


async def test_refused(wired: Wired) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        proxy = await wired.site(f"127.0.0.1:{nobody.getsockname()[1]}")
        client = await proxy.connect()
        assert [await client.request(), await client.request(POST), await client.request()] == [503, 503, 503]


async def test_refused_by_one_of_two(wired: Wired) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy = await wired.site(f"127.0.0.1:{nobody.getsockname()[1]}", await wired.backend())
        clients = [await proxy.connect() for _ in range(8)]
        answers = await asyncio.gather(*(client.request(POST) for client in clients))
        assert set(answers) == {200}


@pytest.mark.parametrize(
    ("script", "statuses"),
    [
        (says(then="close"), {502}),
        (says(then="reset"), {502}),
        (says(b"HTTP/1.1 2", then="close"), {502}),
        (says(b"HTTP/1.1 200 OK\r\nContent-", then="reset"), {502}),
        (says(b"garbage\r\n\r\n", then="wait"), {502}),
        (says(b"\x15\x03\x01\x00\x02\x02\x46", then="wait"), {502}),
        (says(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", then="wait"), {502}),
        (says(head("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3") + b"ok", then="wait"), {502}),
        (says(head("HTTP/1.1 101 Switching Protocols", "Upgrade: x", "Connection: Upgrade"), then="wait"), {502}),
        (says(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000, then="wait"), {502}),
        (resets_at_once, {502}),
    ],
    ids=[
        "close", "reset", "close-in-head", "reset-in-head", "garbage", "tls", "bare-lf", "two-lengths",
        "101", "endless-head", "reset-at-once",
    ],
)  # fmt: skip
async def test_no_response(wired: Wired, script: Script, statuses: set[int]) -> None:
    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    answers = {await client.request(request) for request in (GET, POST, GET, POST)}
    assert answers == statuses
    assert (await wired.finish()).keys() == statuses


async def test_a_flood_of_interim_responses(wired: Wired) -> None:
    hint = head("HTTP/1.1 103 Early Hints", "Link: </a>; rel=preload")
    proxy = await wired.proxy_to(says(hint * 10_000, then="wait"))
    client = await proxy.connect()
    await client.send(GET)
    statuses = [await client.status()]
    while statuses[-1] == 103:
        statuses.append(await client.status())
    assert statuses == [103] * 32 + [502]


async def test_silence_before_the_head(wired: Wired) -> None:
    proxy = await wired.proxy_to(says(then="wait"), timeouts={"response": 0.3})
    client, other = await proxy.connect(), await proxy.connect()
    assert await asyncio.gather(client.request(GET), other.request(POST)) == [504, 504]
    assert await client.request(GET) == 504


@pytest.mark.parametrize("then", ["close", "reset", "wait"])
@pytest.mark.parametrize(
    "answer",
    [
        head("HTTP/1.1 200 OK", "Content-Length: 100") + b"x" * 50,
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n",
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5\r\nhel",
        BIG + b"x" * 5_000_000,
    ],
    ids=["sized", "chunked", "in-a-chunk", "big"],
)
async def test_a_body_that_does_not_end(wired: Wired, answer: bytes, then: str) -> None:
    proxy = await wired.proxy_to(says(answer, then=then), timeouts={"response": 0.3})
    client = await proxy.connect()
    await client.send(GET)
    rest = b""
    try:
        rest = await client.rest()
    except ConnectionResetError:
        assert then != "close"
    assert not rest.endswith(b"0\r\n\r\n")
    assert len(rest) < len(answer) + 100
    assert await wired.finish() == {200: 1}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_until_close_body_that_is_reset_does_not_look_whole(wired: Wired, version: str) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        await read_message(reader)
        writer.write(head("HTTP/1.1 200 OK") + b"hello")
        await released.wait()
        reset(writer)

    released = asyncio.Event()
    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    await client.send(head(f"GET / HTTP/{version}", "Host: shop.test"))
    await client.reader.readuntil(b"hello")
    released.set()
    if version == "1.0":
        with pytest.raises(ConnectionResetError):
            await client.rest()
    else:
        assert b"0\r\n\r\n" not in await client.rest()


async def test_a_slow_body(wired: Wired) -> None:
    body = b"a slow body, byte by byte"
    pieces = [head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}"), *(bytes([byte]) for byte in body)]
    proxy = await wired.proxy_to(says(*pieces))
    client = await proxy.connect()
    await client.send(GET)
    assert (await client.receive())[1] == body


async def test_a_head_in_single_bytes(wired: Wired) -> None:
    answer = head("HTTP/1.1 200 OK", "X-A: b", "Content-Length: 2") + b"ok"
    proxy = await wired.proxy_to(says(*(bytes([byte]) for byte in answer)))
    client = await proxy.connect()
    await client.send(GET)
    assert (await client.receive())[1] == b"ok"


async def test_more_bytes_than_announced(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            await read_message(reader)
            writer.write(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
            await writer.drain()

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    for _ in range(20):
        await client.send(GET)
        assert (await client.receive())[1] == b"ok"
    assert wired.backends[0].accepted == 20


async def test_an_unsolicited_response_on_an_idle_connection(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        await read_message(reader)
        writer.write(OK)
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad")
        assert await reader.read() == b""
        closed.set()

    closed = asyncio.Event()
    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    await client.send(GET)
    assert (await client.receive())[1] == b"ok"
    async with asyncio.timeout(5):
        await closed.wait()


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_kept_connection_that_closes_as_the_request_is_sent(wired: Wired, end: str) -> None:
    """Each connection answers once and ends on its second request, unread: only what is idempotent is sent again."""
    served: list[bytes] = []

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        top, _ = await read_message(reader)
        served.append(top.split(b" ", 1)[0])
        writer.write(OK)
        top, _ = await read_message(reader)
        if end == "reset":
            reset(writer)

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    assert [await client.request() for _ in range(10)] == [200] * 10
    answers = [await client.request(POST) for _ in range(4)]
    assert answers == [502, 200, 502, 200]
    assert served.count(b"POST") == 2


async def test_idle_connections_that_the_backend_closes_are_not_used(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        await read_message(reader)
        writer.write(OK)
        await writer.drain()

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    for _ in range(20):
        assert await client.request(POST) == 200
        await wired.backends[0].empty()


@pytest.mark.parametrize("stale", [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", None], ids=["surplus", "end"])
async def test_what_came_on_an_idle_connection_with_the_next_request(wired: Wired, stale: bytes | None) -> None:
    """The loop learns of both in one turn, the request first. It must go to another connection, also a POST."""
    connections: list[StreamWriter] = []

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        connections.append(writer)
        await answer_all(reader, writer)

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    raw = client.writer.get_extra_info("socket")
    with socket.socket(fileno=os.dup(raw.fileno())) as sender:
        for turn in range(20):
            await client.send(GET)
            assert (await client.receive())[1] == b"ok"
            kept = connections[-1].get_extra_info("socket")
            with socket.socket(fileno=os.dup(kept.fileno())) as other_end:
                sender.send(POST)
                if stale is None:
                    other_end.shutdown(socket.SHUT_WR)
                else:
                    other_end.send(stale)
            top, body = await client.receive()
            assert (top.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"ok"), turn


@pytest.mark.parametrize("status", ["413 Content Too Large", "401 Unauthorized", "200 OK"])
@pytest.mark.parametrize("then", ["close", "wait"])
async def test_an_early_response_to_an_upload(wired: Wired, status: str, then: str) -> None:
    """It arrives whole although the client goes on sending."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head(f"HTTP/1.1 {status}", "Content-Length: 5") + b"early")
        await writer.drain()
        if then == "wait":
            await reader.read()

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    client.writer.write(head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 50000000"))
    client.writer.write(b"x" * 500_000)
    top, body = await client.receive()
    assert top.startswith(f"HTTP/1.1 {status}\r\n".encode())
    assert b"\r\nConnection: close\r\n" in top
    assert body == b"early"
    client.writer.write(b"x" * 300_000)
    assert await client.rest() == b""


async def test_a_backend_that_comes_back(wired: Wired) -> None:
    backend = await wired.backend(resets_at_once)
    proxy = await wired.site(backend)
    client = await proxy.connect()
    assert await client.request() == 502
    backend.script = answer_all
    assert [await client.request() for _ in range(5)] == [200] * 5
    assert backend.accepted == 2


async def test_other_clients_are_served_meanwhile(wired: Wired) -> None:
    """One backend is silent, floods or resets; a second client's requests to another are not touched."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            top, _ = await read_message(reader)
            if top.startswith(b"GET /silent"):
                await reader.read()
                return
            writer.write(OK)

    proxy = await wired.proxy_to(script)
    stuck = [await proxy.connect() for _ in range(20)]
    for client in stuck:
        await client.send(head("GET /silent HTTP/1.1", "Host: shop.test"))
    good = await proxy.connect()
    assert [await good.request() for _ in range(50)] == [200] * 50
    assert proxy.in_flight == 20
    for client in stuck:
        client.reset()


async def test_hung_connections_are_given_up_when_the_client_leaves(wired: Wired) -> None:
    """A listener whose queue is full: connecting takes as long as one lets it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        proxy = await wired.site(f"127.0.0.1:{address[1]}", timeouts={"connect": 0.4})
        leaving, staying = await proxy.connect(), await proxy.connect()
        await leaving.send(GET)
        await staying.send(POST)
        await asyncio.sleep(0.05)
        leaving.reset()
        assert await staying.status() == 504
        for filler in fillers:
            filler.close()
    assert await wired.finish() == {499: 1, 504: 1}
