"""Connections: how many, who makes room, how a worker stops, and clients that leave at any point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLIENT, CLOSED, EOF, GET, RESET, End, Page, delivered, forwarded, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CHUNKED = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"2\r\nok\r\n0\r\n\r\n"


# --- the limit ------------------------------------------------------------------------------------------------------


def test_at_the_limit_the_oldest_idle_connections_make_room(build: Callable[..., Site]) -> None:
    site = build(limits={"connections": 20})
    clients = []
    for _ in range(20):
        clients.append(site.client())
        site.wait(0.5)
    clients[0] >> GET
    new = site.client()
    new >> GET
    assert [client.wire.end for client in clients] == ["open"] + ["closed"] * 16 + ["open"] * 3
    for connection in site.backend.connections:
        connection >> OK
    new << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


def test_at_the_limit_with_none_idle_the_new_one_goes(build: Callable[..., Site]) -> None:
    site = build(limits={"connections": 2})
    busy = [site.client(), site.client()]
    for client in busy:
        client >> GET
    new = site.client()
    site.settle()
    new << ABORTED
    for client, connection in zip(busy, site.backend.connections, strict=True):
        connection >> OK
        assert client.received().endswith(b"ok")


def test_with_none_idle_the_next_look_is_at_the_next_tick(build: Callable[..., Site]) -> None:
    """Else each of many that come at the limit would have all connections looked through."""
    site = build(limits={"connections": 1})
    client = site.client()
    client >> GET
    refused = site.client()
    site.settle()
    refused << ABORTED
    site.backend >> OK
    assert client.received().endswith(b"ok")
    also_refused = site.client()
    site.settle()
    also_refused << ABORTED
    site.wait(0.5)
    new = site.client()
    new >> GET
    client << CLOSED
    site.backend >> OK
    assert new.received().endswith(b"ok")


def test_a_head_in_progress_makes_room_only_when_none_is_idle(build: Callable[..., Site]) -> None:
    """A byte now and then must not keep others out."""
    site = build(limits={"connections": 18})
    begun = site.client()
    begun >> GET[:5]
    idle = [site.client() for _ in range(17)]
    site.wait(0.5)
    site.client()
    assert [client.wire.end for client in (begun, *idle)] == ["open"] + ["closed"] * 16 + ["open"]
    begun >> GET[5:]
    site.backend >> OK
    begun << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_heads_in_progress_make_room_the_oldest_first(build: Callable[..., Site]) -> None:
    site = build(limits={"connections": 18})
    begun = []
    for _ in range(18):
        begun.append(site.client() >> GET[:5])
        site.wait(0.5)
    new = site.client()
    assert [client.wire.end for client in begun] == ["closed"] * 16 + ["open"] * 2
    new >> GET
    site.backend >> OK
    new << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_who_has_asked_lately_is_not_the_oldest(build: Callable[..., Site]) -> None:
    site = build(limits={"connections": 18})
    idle = [site.client() for _ in range(18)]
    site.wait(10)
    for client in idle[:2]:
        client >> GET
        site.backend >> OK
        assert client.received().endswith(b"ok")
    site.client()
    assert [client.wire.end for client in idle] == ["open"] * 2 + ["closed"] * 16


# --- clients that leave ---------------------------------------------------------------------------------------------

UPLOAD = head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 5") + b"hello"


@pytest.mark.parametrize("end", [EOF, CLOSED, RESET])
@pytest.mark.parametrize("after", range(0, len(UPLOAD), 7))
def test_a_client_may_leave_at_any_byte_of_its_request(site: Site, client: Peer, end: End, after: int) -> None:
    client >> UPLOAD[:after]
    client >> end
    client << b""
    assert client.wire.closing
    assert site.server.connections == 0


@pytest.mark.parametrize("end", [CLOSED, RESET])
@pytest.mark.parametrize("after", range(0, len(CHUNKED), 5))
def test_a_client_may_leave_at_any_byte_of_its_response(site: Site, client: Peer, end: End, after: int) -> None:
    client >> GET
    site.backend >> CHUNKED[:after]
    client >> end
    if not site.backend.last.wire.closing:
        site.backend >> CHUNKED[after:]
    assert client.wire.closing
    lines = site.finish()
    assert len(lines) == 1


@pytest.mark.parametrize("end", [CLOSED, RESET])
def test_a_client_that_leaves_costs_the_backend_its_connection_only(site: Site, client: Peer, end: End) -> None:
    client >> GET
    client >> end
    other = site.client()
    if end is RESET:
        site.backend << ABORTED
    other >> GET
    site.backend >> OK
    other << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    if end is CLOSED:
        site.backend.connections[0] >> OK


def test_a_client_that_was_gone_before_it_was_asked_who_it_is(build: Callable[..., Site]) -> None:
    site = build(trusted_proxies=["203.0.113.0/24"])
    client = site.client(address=None)
    client >> RESET
    assert site.server.connections == 0


# --- stopping -------------------------------------------------------------------------------------------------------


def test_a_stopping_worker_answers_what_is_in_flight_and_closes(site: Site, client: Peer) -> None:
    client >> GET
    site.server.stop()
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", connection="close") + b"ok"
    client << CLOSED


def test_a_stopping_worker_takes_one_more_request_of_an_idle_connection(site: Site, client: Peer) -> None:
    """It may have been on its way; a connection closed under it would lose it."""
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    site.server.stop()
    site.wait(1)
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2, connection="close") + b"ok"
    client << CLOSED


def test_a_stopping_worker_closes_what_stays_idle(site: Site, client: Peer) -> None:
    site.server.stop()
    site.wait(3)
    client << CLOSED


def test_a_response_that_had_begun_when_the_worker_was_to_stop(site: Site, client: Peer) -> None:
    """Its head did not say that the connection would close, so the next request may be on its way."""
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    site.server.stop()
    site.backend >> b"llo"
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 5") + b"hello"
    assert client.wire.end == "open"
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2, connection="close") + b"ok"
    client << CLOSED


def test_a_response_that_had_begun_and_nothing_after_it(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    site.server.stop()
    site.backend >> b"llo"
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 5") + b"hello"
    site.wait(3)
    client << CLOSED


def test_pipelined_requests_when_the_worker_stops(site: Site, client: Peer) -> None:
    client >> GET + GET
    site.server.stop()
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", connection="close") + b"ok"
    client << EOF
    client >> EOF
    client << CLOSED
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test")


def test_an_upload_goes_on_while_the_worker_stops(site: Site, client: Peer) -> None:
    client >> UPLOAD[:-3]
    site.server.stop()
    site.wait(5)
    client >> UPLOAD[-3:]
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", connection="close") + b"ok"
    client << CLOSED


def test_a_worker_that_ends_now_ends_all(site: Site) -> None:
    idle, busy, partial, held = (site.client() for _ in range(4))
    busy >> GET
    partial >> GET[:10]
    site.hold()
    held >> GET
    site.server.abort()
    site.settle()
    for client in (idle, busy, partial, held):
        client << ABORTED
    assert site.server.connections == 0


def test_peers_are_told_apart(site: Site) -> None:
    first, second = site.client(CLIENT), site.client("2001:db8::7")
    first >> GET
    second >> GET
    one, two = (connection.received() for connection in site.backend.connections)
    assert f"X-Forwarded-For: {CLIENT}\r\n".encode() in one
    assert b"X-Forwarded-For: 2001:db8::7\r\n" in two


def test_a_page_for_who_asks_too_much(build: Callable[..., Site]) -> None:
    site = build(limits={"headers": 5, "header_bytes": 2048})
    client = site.client()
    client >> head("GET / HTTP/1.1", "Host: shop.test", *(f"X-{number}: y" for number in range(5)))
    client << Page(431, "the request", end=True)
