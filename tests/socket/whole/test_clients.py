"""Real clients: slow, hostile, leaving at any point. What they cost is theirs alone."""

from __future__ import annotations

import asyncio
import hashlib
import random
from typing import TYPE_CHECKING

import pytest
from loopback import GET, OK, head, read_message

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

    from loopback import Client, Script, Wired

MIB = 1 << 20
POST = head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 3") + b"a=1"


async def test_keep_alive(wired: Wired) -> None:
    proxy = await wired.proxy_to()
    clients = [await proxy.connect() for _ in range(20)]

    async def use(client: Client) -> None:
        for _ in range(20):
            assert await client.request() == 200

    await asyncio.gather(*map(use, clients))
    assert wired.backends[0].accepted <= 20
    assert await wired.finish() == {200: 400}


async def test_pipelining(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            top, _ = await read_message(reader)
            path = top.split(b" ")[1]
            writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {len(path)}") + path)

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    paths = [f"/{number}".encode() for number in range(3000)]
    requests = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: shop.test\r\n\r\n" for path in paths)
    sending = asyncio.create_task(client.send(requests))
    assert [(await client.receive())[1] for _ in paths] == paths
    await sending
    assert wired.backends[0].accepted == 1


async def test_single_bytes(wired: Wired) -> None:
    proxy = await wired.proxy_to()
    client = await proxy.connect()
    for byte in POST + GET:
        await client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert [await client.status(), await client.status()] == [200, 200]


async def test_http_1_0(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            await read_message(reader)
            writer.write(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    await client.send(head("GET / HTTP/1.0"))
    assert (await client.rest()).endswith(b"\r\n\r\nhello")


async def test_half_closed_clients_get_their_answers(wired: Wired) -> None:
    proxy = await wired.proxy_to()
    client = await proxy.connect()
    client.writer.write(GET + POST + GET)
    client.writer.write_eof()
    assert (await client.rest()).count(b"HTTP/1.1 200 OK") == 3


async def test_slow_heads_bodies_and_readers(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        await read_message(reader)
        writer.write(head("HTTP/1.1 200 OK", "Content-Length: 50000000") + b"x" * 50_000_000)
        await writer.drain()
        await reader.read()

    proxy = await wired.proxy_to(script, timeouts={"header": 0.3, "body": 0.3, "idle": 0.3})
    idle, heads, body, reader = [await proxy.connect(receive_buffer=65536) for _ in range(4)]
    await heads.send(GET[:20])
    await body.send(POST[:-2])
    await reader.send(GET)
    assert await idle.rest() == b""
    assert await heads.status() == 408
    assert await body.status() == 408
    await asyncio.sleep(1.5)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.receive()
    assert await wired.finish() == {408: 2, 200: 1}


async def test_garbage(wired: Wired) -> None:
    proxy = await wired.proxy_to()
    for garbage, status in (
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /" + b"x" * 100_000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 100_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 10_000, 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ):
        client = await proxy.connect()
        client.writer.write(garbage)
        assert await client.status() == status
        assert await client.rest() == b""
    assert wired.backends[0].accepted == 0


async def test_413_reaches_a_client_that_goes_on_sending(wired: Wired) -> None:
    proxy = await wired.proxy_to(limits={"body": 1000})
    for _ in range(10):
        client = await proxy.connect()
        client.writer.write(head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 900000") + b"x" * 900_000)
        assert await client.status() == 413
        assert await client.rest() == b""
    assert wired.backends[0].accepted == 0


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_clients_that_leave_at_random_moments(wired: Wired, how: str) -> None:
    """Uploads, downloads and tunnels, cut anywhere; then all is as before, and the next client is served."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            top, _ = await read_message(reader)
            if b"Upgrade: x" in top:
                writer.write(head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: x"))
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                return
            writer.write(head("HTTP/1.1 200 OK", "Content-Length: 300000"))
            for _ in range(10):
                writer.write(b"x" * 30_000)
                await writer.drain()
                await asyncio.sleep(0)

    proxy = await wired.proxy_to(script)
    requests = (
        GET,
        head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 300000") + b"x" * 300_000,
        head("GET / HTTP/1.1", "Host: shop.test", "Connection: Upgrade", "Upgrade: x") + b"hello" * 1000,
    )
    chance = random.Random(7)

    async def leave(number: int) -> None:
        client = await proxy.connect()
        request = requests[number % 3]
        client.writer.write(request[: chance.randrange(len(request) + 1)])
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        if how == "reset":
            client.reset()
        else:
            client.writer.close()

    for batch in range(12):
        await asyncio.gather(*(leave(batch * 20 + number) for number in range(20)))
    client = await proxy.connect()
    await client.send(GET)
    assert len((await client.receive())[1]) == 300_000


async def test_clients_that_are_gone_before_they_are_accepted(wired: Wired) -> None:
    proxy = await wired.proxy_to(trusted_proxies=["127.0.0.0/8"])
    for _ in range(50):
        client = await proxy.connect()
        client.reset()
    assert await (await proxy.connect()).request() == 200


async def test_clients_that_leave_while_their_backend_is_connected(wired: Wired) -> None:
    proxy = await wired.proxy_to()
    for turns in range(12):
        for _ in range(8):
            client = await proxy.connect()
            client.writer.write(GET)
            for _ in range(turns):
                await asyncio.sleep(0)
            client.reset()
    assert await (await proxy.connect()).request() == 200


async def test_a_thousand_idle_connections(wired: Wired) -> None:
    proxy = await wired.proxy_to(limits={"connections": 1000})
    idle = [await proxy.connect() for _ in range(1000)]
    client = await proxy.connect()
    assert [await client.request() for _ in range(20)] == [200] * 20
    assert proxy.server.connections <= 1000
    assert await idle[0].rest() == b""
    assert await idle[-1].request() == 200


# --- backpressure ---------------------------------------------------------------------------------------------------


async def test_a_download_by_a_slow_reader(wired: Wired) -> None:
    size = 48 * MIB
    block = bytes(range(256)) * 1024
    written = 0

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal written
        writer.transport.set_write_buffer_limits(0)
        while True:
            await read_message(reader)
            writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {size}"))
            for _ in range(size // len(block)):
                writer.write(block)
                await writer.drain()
                written += len(block)

    proxy = await wired.proxy_to(script)
    client = await proxy.connect(receive_buffer=65536)
    await client.send(GET)
    await client.reader.readuntil(b"\r\n\r\n")
    before = -1
    while written != before:
        before = written
        await asyncio.sleep(0.1)
    assert written < 24 * MIB, "the kernel's buffers fill up, the proxy's do not"
    seen = hashlib.sha256()
    left = size
    while left:
        data = await client.reader.read(MIB)
        seen.update(data)
        left -= len(data)
    assert seen.digest() == hashlib.sha256(block * (size // len(block))).digest()


async def test_an_upload_to_a_slow_backend(wired: Wired) -> None:
    size = 48 * MIB
    block = bytes(range(256)) * 1024
    go = asyncio.Event()
    digest = b""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal digest
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        seen = hashlib.sha256()
        left = size
        while left:
            data = await reader.read(MIB)
            seen.update(data)
            left -= len(data)
        digest = seen.digest()
        writer.write(OK)

    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    written = 0

    async def upload() -> None:
        nonlocal written
        client.writer.transport.set_write_buffer_limits(0)
        client.writer.write(head("PUT / HTTP/1.1", "Host: shop.test", f"Content-Length: {size}"))
        for _ in range(size // len(block)):
            client.writer.write(block)
            await client.writer.drain()
            written += len(block)

    uploading = asyncio.create_task(upload())
    before = -1
    while written != before:
        before = written
        await asyncio.sleep(0.1)
    assert written < 24 * MIB
    go.set()
    await uploading
    assert await client.status() == 200
    assert digest == hashlib.sha256(block * (size // len(block))).digest()


async def test_a_kept_connection_after_a_slow_reader(wired: Wired) -> None:
    """The response's end may find the client's buffer full; the connection is then read again for the next client."""

    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            top, _ = await read_message(reader)
            size = int(top.split(b"/", 1)[1].split(b" ")[0])
            writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {size}") + b"x" * size)

    proxy = await wired.proxy_to(script)
    slow = await proxy.connect(receive_buffer=4096)
    for size in range(2_400_000, 5_600_000, 400_000):
        await slow.send(head(f"GET /{size} HTTP/1.1", "Host: shop.test"))
        await asyncio.sleep(0.03)
        other = await proxy.connect()
        await other.send(head("GET /2 HTTP/1.1", "Host: shop.test"))
        assert (await other.receive())[1] == b"xx"
        assert len((await slow.receive())[1]) == size


# --- tunnels --------------------------------------------------------------------------------------------------------

UPGRADE = head("GET /chat HTTP/1.1", "Host: shop.test", "Connection: Upgrade", "Upgrade: websocket")
SWITCHING = head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    """Sends back what comes, and ends its side when the client has ended its own."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(SWITCHING + b"welcome")
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"goodbye")


async def test_a_tunnel_with_bytes_behind_both_heads_and_a_half_close(wired: Wired) -> None:
    proxy = await wired.proxy_to(echo)
    client = await proxy.connect()
    client.writer.write(UPGRADE + b"early ")
    payload = random.Random(7).randbytes(4 * MIB)

    async def talk() -> None:
        client.writer.write(payload)
        await client.writer.drain()
        client.writer.write_eof()

    talking = asyncio.create_task(talk())
    top = await client.reader.readuntil(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 101 ")
    assert await client.rest() == b"welcome" + b"early " + payload + b"goodbye"
    await talking
    assert await wired.finish() == {101: 1}


async def test_a_tunnel_whose_backend_ends_first(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING + b"that is all")
        writer.write_eof()
        heard.set_result(await reader.read())

    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    proxy = await wired.proxy_to(script)
    client = await proxy.connect()
    await client.send(UPGRADE)
    await client.reader.readuntil(b"\r\n\r\n")
    assert await client.rest() == b"that is all"
    await client.send(b"still here")
    client.writer.write_eof()
    assert await heard == b"still here"


async def test_a_tunnel_under_backpressure(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        writer.transport.set_write_buffer_limits(0)
        for _ in range(48):
            writer.write(b"x" * MIB)
            await writer.drain()
            written += 1

    written = 0
    proxy = await wired.proxy_to(script)
    client = await proxy.connect(receive_buffer=65536)
    await client.send(UPGRADE)
    await client.reader.readuntil(b"\r\n\r\n")
    before = -1
    while written != before:
        before = written
        await asyncio.sleep(0.1)
    assert written < 24
    client.writer.write_eof()
    assert len(await client.rest()) == 48 * MIB


# --- switches -------------------------------------------------------------------------------------------------------


async def test_switches_under_load(wired: Wired) -> None:
    """No failed, doubled or misplaced request; after a switch the old slot gets no new one."""
    active = "production"
    misplaced: list[str] = []

    def serving(slot: str) -> Script:
        async def script(reader: StreamReader, writer: StreamWriter) -> None:
            while True:
                top, body = await read_message(reader)
                if slot != active and b"\r\nX-Epoch: %d\r\n" % proxy.epoch in top:
                    misplaced.append(slot)
                await asyncio.sleep(0)
                token = top.split(b" ")[1] + body
                writer.write(head("HTTP/1.1 200 OK", f"Content-Length: {len(token)}") + token)

        return script

    production = await wired.backend(serving("production"))
    temp = await wired.backend(serving("temp"))
    proxy = await wired.site(production, temp=temp)
    stop = asyncio.Event()
    done = 0

    async def shop(number: int) -> None:
        nonlocal done
        client = await proxy.connect()
        turn = 0
        while not stop.is_set():
            turn += 1
            token = f"/{number}-{turn}"
            epoch = f"X-Epoch: {proxy.epoch}"
            if turn % 3:
                await client.send(head(f"GET {token} HTTP/1.1", "Host: shop.test", epoch))
                expected = token.encode()
            else:
                await client.send(
                    head(f"POST {token} HTTP/1.1", "Host: shop.test", epoch, "Content-Length: 4") + b"body"
                )
                expected = token.encode() + b"body"
            assert (await client.receive())[1] == expected
            done += 1

    shoppers = [asyncio.create_task(shop(number)) for number in range(16)]
    for turn in range(100):
        await asyncio.sleep(0.005)
        active = "temp" if turn % 2 == 0 else "production"
        proxy.hold_and_switch(active)
    stop.set()
    await asyncio.gather(*shoppers)
    assert misplaced == []
    assert await wired.finish() == {200: done}


async def test_a_drained_slot_has_no_connection_left(wired: Wired) -> None:
    production, temp = await wired.backend(), await wired.backend()
    proxy = await wired.site(production, temp=temp)
    clients = [await proxy.connect() for _ in range(10)]
    await asyncio.gather(*(client.request() for client in clients))
    assert production.open > 0
    proxy.hold_and_switch("temp")
    proxy.drain("production")
    await production.empty()
    assert await asyncio.gather(*(client.request() for client in clients)) == [200] * 10
    assert production.open == 0


async def test_a_worker_that_stops_loses_nothing(wired: Wired) -> None:
    async def script(reader: StreamReader, writer: StreamWriter) -> None:
        while True:
            await read_message(reader)
            await asyncio.sleep(0.05)
            writer.write(OK)

    proxy = await wired.proxy_to(script)
    busy = [await proxy.connect() for _ in range(10)]
    idle = [await proxy.connect() for _ in range(10)]
    for client in busy:
        await client.send(GET)
    await asyncio.sleep(0.02)
    proxy.server.stop()
    for client in idle[:5]:
        await client.send(GET)
    tops = [(await client.receive())[0] for client in busy + idle[:5]]
    assert all(b"\r\nConnection: close\r\n" in top for top in tops)
    for client in busy + idle:
        assert await client.rest() == b""
    assert await wired.finish() == {200: 15}
