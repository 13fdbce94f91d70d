"""WebSockets at a drain's deadline: a close frame with 1012 between two frames, spread over time, then the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbook import ABORTED, CLOSED, EOF, head

from proxy.core import orders
from proxy.net.app import CLOSE_SECONDS, FRAME_SECONDS

if TYPE_CHECKING:
    from playbook import Peer, Site

UPGRADE = head("GET /chat HTTP/1.1", "Host: shop.test", "Connection: Upgrade", "Upgrade: websocket")
SWITCHING = head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
TEXT = b"\x81\x05hello"
LONG = b"\x82\x7e\x01\x00" + b"x" * 256
MASKED = b"\x81\x82\x01\x02\x03\x04ab"
CLOSE = b"\x88\x02\x03\xf4"
GONE = b"\x88\x02\x03\xe9"


def unmasked(frame: bytes) -> bytes:
    """A client's close frame without its mask."""
    assert frame[:2] == b"\x88\x82"
    assert len(frame) == 8
    return b"\x88\x02" + bytes(byte ^ key for byte, key in zip(frame[6:], frame[2:4], strict=True))


def open_socket(site: Site, client: Peer) -> Peer:
    """Returns the backend's end."""
    client >> UPGRADE
    backend = site.backend.last
    backend >> SWITCHING
    client.received()
    backend.received()
    return backend


def leave(site: Site) -> None:
    site.hold()
    site.switch("temp")
    site.drain("production")
    site.cut("production")
    site.settle()


def drained(site: Site) -> int:
    return sum(isinstance(event, orders.Drained) for event in site.told)


def test_both_ends_are_told(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    backend >> TEXT
    client << TEXT
    client >> MASKED
    backend << MASKED
    leave(site)
    client << CLOSE
    client << EOF
    assert unmasked(backend.received()) == GONE
    backend << CLOSED
    assert drained(site) == 1
    client >> b"\x88\x82\x01\x02\x03\x04\x02\xf6"
    client >> EOF
    client << CLOSED
    assert '"status":101' in site.finish()[0]


def test_a_frame_that_has_begun_is_finished_first(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    backend >> LONG[:100]
    client << LONG[:100]
    leave(site)
    client << b""
    assert unmasked(backend.received()) == GONE, "the other direction need not wait"
    assert drained(site) == 0
    backend >> LONG[100:] + TEXT
    client << LONG[100:] + CLOSE
    client << EOF
    assert drained(site) == 1


def test_the_client_s_frame_is_finished_first(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    client >> MASKED[:3]
    backend << MASKED[:3]
    leave(site)
    client << CLOSE
    backend << b""
    client >> MASKED[3:] + MASKED
    data = backend.received()
    assert data[: len(MASKED) - 3] == MASKED[3:]
    assert unmasked(data[len(MASKED) - 3 :]) == GONE
    assert drained(site) == 1


def test_a_frame_that_does_not_end_is_cut_off(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    backend >> LONG[:5]
    client << LONG[:5]
    leave(site)
    site.wait(CLOSE_SECONDS + FRAME_SECONDS + 0.5)
    client << b""
    client << ABORTED
    assert drained(site) == 1


def test_who_has_sent_a_close_frame_gets_no_second_one_after_it(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    backend >> b"\x88\x02\x03\xe8"
    client << b"\x88\x02\x03\xe8"
    leave(site)
    client << b""
    client << EOF
    assert unmasked(backend.received()) == GONE
    assert drained(site) == 1


def test_they_are_spread_over_time(site: Site) -> None:
    clients = [site.client() for _ in range(10)]
    for client in clients:
        open_socket(site, client)
        site.loop.clock += 0.001
    leave(site)
    told = [bool(client.received()) for client in clients]
    assert told == [True] + [False] * 9
    site.loop.clock += 0.1
    site.settle()
    told = [bool(client.received()) for client in clients[1:]]
    assert 2 <= sum(told) <= 6, "some more, in their order"
    assert told == sorted(told, reverse=True)
    site.wait(1)
    assert all(client.received() == CLOSE for client, already in zip(clients[1:], told, strict=True) if not already)
    assert drained(site) == 1


def test_however_many_there_are_the_last_comes_within_the_bound(site: Site) -> None:
    clients = [site.client() for _ in range(300)]
    for client in clients:
        open_socket(site, client)
    leave(site)
    site.wait(CLOSE_SECONDS + 0.5)
    assert [client.received() for client in clients] == [CLOSE] * 300
    assert drained(site) == 1


def test_other_tunnels_are_closed_at_once(site: Site, client: Peer) -> None:
    client >> head("GET /x HTTP/1.1", "Host: shop.test", "Connection: Upgrade", "Upgrade: custom/1")
    site.backend >> head("HTTP/1.1 101 Switching Protocols", "Upgrade: custom/1", "Connection: Upgrade")
    client.received()
    leave(site)
    client << b""
    client << ABORTED
    assert drained(site) == 1


# --- the worker's own stop ---------------------------------------------------------------------------------------


def test_a_stop_closes_those_of_all_slots_and_nothing_else(site: Site) -> None:
    first, second, plain = site.client(), site.client(), site.client()
    open_socket(site, first)
    site.hold()
    site.switch("temp")
    second >> UPGRADE
    site.temp >> SWITCHING
    second.received()
    plain >> head("GET /slow HTTP/1.1", "Host: shop.test")
    site.app.close_websockets(10.0)
    site.wait(0.5)
    assert first.received() == second.received() == CLOSE
    assert plain.received() == b""
    site.temp >> head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    assert plain.received().endswith(b"ok")


def test_a_stop_spreads_them_within_its_bound(site: Site) -> None:
    clients = [site.client() for _ in range(200)]
    for client in clients:
        open_socket(site, client)
        site.loop.clock += 0.001
    site.app.close_websockets(1.0)
    site.settle()
    site.loop.clock += 0.5
    site.settle()
    told = [bool(client.received()) for client in clients]
    assert 80 <= sum(told) <= 120, "half of them in half of the time"
    assert told == sorted(told, reverse=True), "the oldest first"
    site.loop.clock += 0.5
    site.settle()
    assert all(client.received() == CLOSE for client, already in zip(clients, told, strict=True) if not already)


def test_a_stop_tells_nobody_twice(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    site.app.close_websockets(1.0)
    site.app.close_websockets(0.0)
    site.settle()
    client << CLOSE
    assert unmasked(backend.received()) == GONE


def test_who_was_told_the_end_gets_no_frame_after_it(site: Site, client: Peer) -> None:
    """One side has ended its direction before the drain; the other is closed politely."""
    backend = open_socket(site, client)
    client >> EOF
    backend << EOF
    leave(site)
    client << CLOSE
    assert drained(site) == 1


def test_a_backend_that_has_ended_its_side_is_still_told(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    backend >> EOF
    client << EOF
    leave(site)
    assert unmasked(backend.received()) == GONE
    assert drained(site) == 1


def test_an_end_in_a_frame_that_has_begun_is_the_last(site: Site, client: Peer) -> None:
    backend = open_socket(site, client)
    backend >> LONG[:100]
    client << LONG[:100]
    leave(site)
    assert unmasked(backend.received()) == GONE
    backend >> EOF
    assert drained(site) == 1
