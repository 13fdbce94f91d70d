"""Framed messages over a real socket pair."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.errors import LinkError
from proxy.net.channel import MAX_MESSAGE, Channel


class End:
    """A channel's owner that notes what it hears."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def open(self, sock: socket.socket) -> Channel:
        return await Channel.open(sock, self.messages.put_nowait, self.closed.set_result)


async def test_messages_arrive_whole_and_in_order() -> None:
    left, right = socket.socketpair()
    near, far = End(), End()
    sender, receiver = await near.open(left), await far.open(right)
    sent = [b"", b"a", b"x" * 1_000_000, *(str(number).encode() for number in range(1000))]
    for message in sent:
        sender.send(message)
    assert [await far.messages.get() for _ in sent] == sent
    receiver.send(b"back")
    assert await near.messages.get() == b"back"
    sender.close()
    assert await far.closed is None
    assert await near.closed is None
    receiver.send(b"dropped")
    assert receiver.closed


async def test_messages_arrive_byte_by_byte() -> None:
    left, right = socket.socketpair()
    far = End()
    receiver = await far.open(right)
    for byte in b"\0\0\0\2ab\0\0\0\0\0\0\0\1c":
        left.send(bytes([byte]))
        await asyncio.sleep(0)
    assert [await far.messages.get() for _ in range(3)] == [b"ab", b"", b"c"]
    left.close()
    await far.closed
    assert receiver.closed


async def test_an_end_inside_a_message_is_an_error() -> None:
    left, right = socket.socketpair()
    far = End()
    await far.open(right)
    left.send(b"\0\0\0\5abc")
    left.close()
    assert isinstance(await far.closed, LinkError)
    assert far.messages.empty()


async def test_a_message_that_is_too_long_closes_the_link() -> None:
    left, right = socket.socketpair()
    near, far = End(), End()
    sender = await near.open(left)
    with pytest.raises(LinkError):
        sender.send(bytes(MAX_MESSAGE + 1))
    sender.close()
    await near.closed
    right.close()

    left, right = socket.socketpair()
    await far.open(right)
    left.send(b"\xff\xff\xff\xff")
    assert isinstance(await far.closed, LinkError)
    left.close()


async def test_a_peer_that_does_not_read_is_bounded() -> None:
    left, right = socket.socketpair()
    near = End()
    sender = await near.open(left)
    for _ in range(5):
        sender.send(bytes(MAX_MESSAGE))
    assert isinstance(await near.closed, LinkError)
    assert sender.closed
    right.close()


async def test_a_handler_that_refuses_a_message_closes_the_link() -> None:
    left, right = socket.socketpair()
    far = End()

    def refuse(payload: bytes) -> None:
        raise LinkError(f"no {payload!r}")

    await Channel.open(right, refuse, far.closed.set_result)
    left.send(b"\0\0\0\1a\0\0\0\1b")
    assert str(await far.closed) == "no b'a'"
    left.close()


async def test_what_the_other_end_said_before_it_died_is_heard_though_a_write_fails_first() -> None:
    ours, theirs = socket.socketpair()
    heard: list[bytes] = []
    closed: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    channel = await Channel.open(ours, heard.append, closed.set_result)
    with theirs:
        theirs.sendall(b"\0\0\0\6orders\0\0\0\4more")
    channel.send(b"an answer to the dead")
    assert isinstance(await asyncio.wait_for(closed, 5), BrokenPipeError | None)
    assert heard == [b"orders", b"more"]
