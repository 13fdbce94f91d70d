"""What a client has not taken yet, as far as this end can know."""

from __future__ import annotations

import asyncio
import socket

import uvloop

from proxy.net.unread import unread

SENT = 4 * 1024 * 1024


async def left_after(*reads: int) -> list[int]:
    """What is left of SENT bytes, at first and after the client has read so many each time."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=listener.accept()[0])
        transport.write(bytes(SENT))
        left = [unread(transport)]
        for count in reads:
            taken = 0
            while taken < count:
                taken += len(await loop.sock_recv(client, min(65536, count - taken)))
            left.append(unread(transport))
        transport.abort()
        await asyncio.sleep(0)
        return left


def test_what_the_kernel_holds_is_not_yet_taken() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        at_first, after_some, after_most = runner.run(left_after(SENT // 4, SENT // 2))
    assert at_first > SENT - 256 * 1024, "but for what the client's own buffer holds"
    assert at_first > after_some > after_most
    assert SENT // 4 - 256 * 1024 < after_most <= SENT // 4
