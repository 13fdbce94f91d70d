"""With many busy connections a turn of the event loop stays short: what comes after the first is for the next turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import CLOSED, GET, delivered, forwarded, head

from proxy.net import server

if TYPE_CHECKING:
    from playbook import Peer, Site

pytestmark = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
AT_ONCE = 3


def came(client: Peer, data: bytes = GET) -> None:
    """It is read in this turn."""
    client.wire.incoming.append(data)
    client.wire.deliver()


@pytest.fixture
def crowd(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[Peer]:
    """Clients whose requests have come in one turn; but for the first of them, they are for the next one."""
    monkeypatch.setattr(server, "TURN_REQUESTS", AT_ONCE)
    site.server.turn_left = AT_ONCE
    clients = [site.client() for _ in range(3 * AT_ONCE)]
    for client in clients:
        came(client)
    return clients


def begun(site: Site) -> int:
    return site.app.snapshot()["slots"]["production"]["in_flight"]


def test_only_so_many_are_begun_in_a_turn(site: Site, crowd: list[Peer]) -> None:
    assert begun(site) == AT_ONCE
    site.settle()
    assert begun(site) == len(crowd)


def test_all_are_answered_in_the_order_in_which_they_came(site: Site, crowd: list[Peer]) -> None:
    for id, client in enumerate(crowd, 1):
        site.settle()
        connection = site.backend.connections[id - 1]
        connection << forwarded("GET / HTTP/1.1", "Host: shop.test", id=id)
        connection >> OK
        client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=id) + b"ok"


def test_the_next_turn_begins_as_many_at_once(site: Site, crowd: list[Peer]) -> None:
    site.settle()
    for connection in site.backend.connections:
        connection >> OK
    for client in crowd:
        came(client)
    assert begun(site) == AT_ONCE


def test_what_comes_after_a_deferred_request_stays_behind_it(site: Site, crowd: list[Peer]) -> None:
    last = crowd[-1]
    came(last, head("GET /second HTTP/1.1", "Host: shop.test"))
    site.settle()
    for _ in range(2):
        for connection in site.backend.connections:
            if connection.received():
                connection >> OK
    ids = (len(crowd), len(crowd) + 1)
    last << b"".join(delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=id) + b"ok" for id in ids)


def test_an_upload_whose_rest_will_not_come_is_not_begun(site: Site, crowd: list[Peer]) -> None:
    site.settle()
    site.server.turn_left = 0
    client = site.client()
    came(client, head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 10") + b"half")
    client.wire.incoming.append(None)
    client.wire.deliver()
    site.settle()
    assert begun(site) == len(crowd)
    client << CLOSED
    assert site.server.snapshot()["own"] == {"499": 1}


def test_a_client_that_ends_its_side_meanwhile_is_answered(site: Site, crowd: list[Peer]) -> None:
    crowd[-1].wire.incoming.append(None)
    crowd[-1].wire.deliver()
    site.settle()
    for connection in site.backend.connections:
        connection >> OK
    crowd[-1] << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=len(crowd)) + b"ok"
    crowd[-1] << CLOSED


def test_it_is_not_taken_for_idle(site: Site, crowd: list[Peer]) -> None:
    """Neither at the limit of connections nor when the worker stops."""
    deferred = crowd[AT_ONCE:]
    assert not any(client.wire.protocol.idle or client.wire.protocol.awaits_head for client in deferred)
    for client in deferred:
        client.wire.protocol.expired(site.loop.clock)
    site.server.stop()
    site.settle()
    assert begun(site) == len(crowd)
    for connection in site.backend.connections:
        connection >> OK
    for client in crowd:
        assert client.received().endswith(b"ok")
