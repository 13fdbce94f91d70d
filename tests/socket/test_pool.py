"""What a pool hands out: it looks at a kept connection itself, as the event loop may not have told yet what came."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from asking import Asking

from proxy.core.backends import Backend
from proxy.net import pool as pools
from proxy.net.pool import CrowdedError, Pool
from proxy.net.upstream import ConnectError, Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def pool_for(listener: socket.socket) -> Pool:
    backend = Backend(f"127.0.0.1:{listener.getsockname()[1]}")
    return Pool(backend, asyncio.get_running_loop(), 0.0, connect_timeout=5, max_idle_age=30, max_fields=100)


async def kept(listener: socket.socket) -> tuple[Pool, socket.socket]:
    """A pool with one idle connection, and the backend's end of it."""
    pool = pool_for(listener)
    upstream = await Asking(pool).told
    end, _ = listener.accept()
    pool.put(upstream)
    return pool, end


def counts(pool: Pool) -> tuple[int, int, int]:
    return pool.idle, pool.waiting, pool.connecting


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


async def test_a_refusal_is_told(listener: socket.socket) -> None:
    pool = pool_for(listener)
    listener.close()
    with pytest.raises(ConnectError):
        await Asking(pool).told
    assert counts(pool) == (0, 0, 0)


@pytest.fixture
async def pool(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pool]:
    """No turn is free: who needs a connection waits. In the end nobody does."""
    pool = pool_for(listener)
    monkeypatch.setattr(pools, "MAX_CONNECTING", 0)
    yield pool
    assert counts(pool) == (0, 0, 0)


@pytest.fixture
async def ends(pool: Pool, listener: socket.socket) -> AsyncIterator[tuple[Upstream, socket.socket]]:
    """The connection that is in use, and the backend's end of it."""
    loop = asyncio.get_running_loop()
    _, upstream = await loop.create_connection(lambda: Upstream(pool), *listener.getsockname())
    end, _ = listener.accept()
    with end:
        yield upstream, end
        upstream.close()


async def test_who_waits_gets_what_is_put_back(pool: Pool, ends: tuple[Upstream, socket.socket]) -> None:
    upstream, _ = ends
    first, second = Asking(pool), Asking(pool)
    assert counts(pool) == (0, 2, 0)
    pool.put(upstream)
    assert await first.told is upstream
    assert not second.told.done()
    pool.put(upstream)
    assert await second.told is upstream


async def test_one_that_has_ended_is_not_passed_on(pool: Pool, ends: tuple[Upstream, socket.socket]) -> None:
    upstream, end = ends
    asking = Asking(pool)
    end.close()
    pool.put(upstream)
    assert counts(pool) == (0, 1, 0)
    assert upstream.transport.is_closing()
    asking.leave()


async def test_who_needs_a_new_connection_leaves_the_kept_one(pool: Pool, ends: tuple[Upstream, socket.socket]) -> None:
    upstream, _ = ends
    new, any_one = Asking(pool, fresh=True), Asking(pool)
    pool.put(upstream)
    assert await any_one.told is upstream
    pool.put(upstream)
    assert not new.told.done()
    assert counts(pool) == (1, 1, 0)
    assert pool.take() is upstream
    new.leave()


async def test_who_has_left_gets_nothing(pool: Pool, ends: tuple[Upstream, socket.socket]) -> None:
    upstream, _ = ends
    first, second = Asking(pool), Asking(pool)
    first.leave()
    pool.put(upstream)
    assert await second.told is upstream
    assert not first.told.done()


async def test_who_waits_on_a_retired_pool_is_for_another_and_its_connections_are_closed(
    pool: Pool, ends: tuple[Upstream, socket.socket]
) -> None:
    upstream, _ = ends
    asking, new = Asking(pool), Asking(pool, fresh=True)
    pool.retire()
    for told in (asking.told, new.told):
        with pytest.raises(CrowdedError, match="have changed"):
            await told
    pool.put(upstream)
    assert upstream.transport.is_closing()


async def test_the_wait_ends(pool: Pool) -> None:
    """At the second look after its end: what came before that was read meanwhile."""
    asking, new = Asking(pool), Asking(pool, fresh=True)
    pool.look(5.1)
    later = Asking(pool)
    assert counts(pool) == (0, 3, 0)
    pool.look(5.2)
    for told in (asking.told, new.told):
        with pytest.raises(CrowdedError):
            await told
    assert counts(pool) == (0, 1, 0)
    later.leave()


async def test_a_turn_is_for_who_needs_a_new_one_and_then_for_who_waits_longest(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_for(listener)
    monkeypatch.setattr(pools, "MAX_CONNECTING", 1)
    asking = [Asking(pool), Asking(pool), Asking(pool), Asking(pool, fresh=True)]
    assert counts(pool) == (0, 3, 1)
    asking[0].leave()
    assert counts(pool) == (0, 2, 1)
    order = []
    for one in (3, 1, 2):
        asking[one].told.add_done_callback(lambda _, one=one: order.append(one))  # type: ignore[misc]
    for upstream in await asyncio.gather(*(asking[one].told for one in (3, 1, 2))):
        upstream.close()
    assert order == [3, 1, 2]
    assert counts(pool) == (0, 0, 0)


async def test_the_bound_is_kept_when_what_is_free_again_is_of_no_use(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_for(listener)
    monkeypatch.setattr(pools, "MAX_CONNECTING", 2)
    most = 0

    async def use() -> None:
        nonlocal most
        upstream = pool.take() or await Asking(pool).told
        end, _ = listener.accept()
        end.close()
        most = max(most, pool.connecting)
        pool.put(upstream)

    await asyncio.gather(*(use() for _ in range(50)))
    assert most == 2
    assert (pool.waiting, pool.connecting) == (0, 0)
    pool.close_idle()
