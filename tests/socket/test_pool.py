"""What a pool hands out: it looks at a kept connection itself, as the event loop may not have told yet what came."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from proxy.core.backends import Backend
from proxy.net import pool as pools
from proxy.net.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.net.upstream import Upstream


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


async def taken(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> tuple[Pool, socket.socket, Upstream]:
    """A pool whose one connection is taken, and without a turn to make another: who needs one waits."""
    pool, end = await kept(listener)
    upstream = pool.take()
    assert upstream is not None
    monkeypatch.setattr(pools, "MAX_CONNECTING", 0)
    return pool, end, upstream


async def waiting(pool: Pool, *, fresh: bool = False) -> asyncio.Task[Upstream]:
    task = asyncio.create_task(pool.connect(fresh=fresh))
    await asyncio.sleep(0)
    assert pool.waiting == 1
    return task


async def test_who_waits_gets_what_is_put_back(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, end, upstream = await taken(listener, monkeypatch)
    with end:
        task = await waiting(pool)
        pool.put(upstream)
        assert await task is upstream
        assert (pool.idle, pool.waiting, pool.connecting) == (0, 0, 0)
        upstream.close()


async def test_one_that_became_idle_before_the_wait_began_is_taken(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, end, upstream = await taken(listener, monkeypatch)
    with end:
        task = asyncio.create_task(pool.connect())
        pool.put(upstream)
        assert await task is upstream
        upstream.close()


async def test_the_bound_is_kept_when_what_is_free_again_is_of_no_use(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, first = await kept(listener)
    first.close()
    pool.close_idle()
    monkeypatch.setattr(pools, "MAX_CONNECTING", 2)
    most = 0

    async def use() -> None:
        nonlocal most
        upstream = await pool.connect()
        end, _ = listener.accept()
        end.close()
        most = max(most, pool.connecting)
        pool.put(upstream)

    await asyncio.gather(*(use() for _ in range(50)))
    assert most == 2
    assert (pool.waiting, pool.connecting) == (0, 0)


async def test_a_connection_that_ended_meanwhile_is_replaced(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, end, upstream = await taken(listener, monkeypatch)
    task = await waiting(pool)
    end.close()
    pool.put(upstream)
    monkeypatch.setattr(pools, "MAX_CONNECTING", 1)
    other = await task
    assert other is not upstream
    assert (pool.idle, pool.waiting, pool.connecting) == (0, 0, 0)
    other.close()


async def test_who_needs_a_new_connection_leaves_the_kept_one(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, end, upstream = await taken(listener, monkeypatch)
    with end:
        task = await waiting(pool, fresh=True)
        pool.put(upstream)
        monkeypatch.setattr(pools, "MAX_CONNECTING", 1)
        other = await task
        assert other is not upstream
        assert (pool.idle, pool.waiting, pool.connecting) == (1, 0, 0)
        other.close()
        pool.close_idle()


async def test_one_that_was_given_to_who_has_left_is_for_the_next(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, end, upstream = await taken(listener, monkeypatch)
    with end:
        first = await waiting(pool)
        second = asyncio.create_task(pool.connect())
        await asyncio.sleep(0)
        pool.put(upstream)
        first.cancel()
        assert await second is upstream
        assert (pool.idle, pool.waiting, pool.connecting) == (0, 0, 0)
        upstream.close()


async def test_one_that_was_given_to_the_last_who_has_left_is_closed(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, end, upstream = await taken(listener, monkeypatch)
    with end:
        task = await waiting(pool)
        pool.put(upstream)
        assert pool.idle == 0
        pool.close_idle()  # the backend is to be stopped
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (pool.idle, pool.waiting, pool.connecting) == (0, 0, 0)
        assert upstream.transport.is_closing()
