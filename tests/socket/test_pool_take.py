"""A pool looks at a kept connection itself before it hands it out: the event loop may not have told yet what came."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from proxy.core.backends import Backend
from proxy.net.upstream import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def kept(listener: socket.socket) -> tuple[Pool, socket.socket]:
    """A pool with one idle connection, and the backend's end of it."""
    backend = Backend(f"127.0.0.1:{listener.getsockname()[1]}")
    pool = Pool(backend, asyncio.get_running_loop(), 0.0, connect_timeout=5, max_idle_age=30, max_fields=100)
    upstream = await pool.connect()
    end, _ = listener.accept()
    pool.put(upstream)
    return pool, end


async def test_a_quiet_connection_is_taken_again_and_again(listener: socket.socket) -> None:
    pool, end = await kept(listener)
    with end:
        for _ in range(3):
            upstream = pool.take()
            assert upstream is not None
            pool.put(upstream)
        pool.close_idle()


async def test_a_connection_that_the_backend_has_closed_is_not_taken(listener: socket.socket) -> None:
    pool, end = await kept(listener)
    end.close()
    assert pool.take() is None
    assert pool.idle == 0


async def test_a_response_without_a_request_is_not_left_for_the_next_one(listener: socket.socket) -> None:
    pool, end = await kept(listener)
    with end:
        end.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert pool.take() is None
        assert pool.idle == 0
