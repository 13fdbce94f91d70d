"""Few connections to a backend are made at a time; who needs one waits for that, or for one that is free again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import GET, RESET, Page, delivered, forwarded, head

from proxy.net.pool import MAX_CONNECTING

if TYPE_CHECKING:
    from playbook import BackendScript, Peer, Site

    from proxy.net.pool import Pool

pytestmark = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def pool_of(site: Site) -> Pool:
    return next(iter(site.app.slots["production"].pools.values()))


def crowd(site: Site, count: int) -> list[Peer]:
    """So many clients, each with a request."""
    return [site.client() >> GET for _ in range(count)]


@pytest.fixture
def crowded(site: Site) -> list[Peer]:
    """The backend accepts nothing for now; all turns are taken, and three clients wait."""
    site.backend.hangs = True
    clients = crowd(site, MAX_CONNECTING + 3)
    assert site.backend.hanging == MAX_CONNECTING
    assert pool_of(site).waiting == 3
    return clients


def finish(backend: BackendScript) -> None:
    """The backend accepts all, and answers what it has not yet answered."""
    backend.hangs = False
    while backend.hanging:
        backend.accept(MAX_CONNECTING)
    for connection in backend.connections:
        if not connection.wire.lost and connection.received():
            connection >> OK


def test_a_made_connection_is_the_next_ones_turn(site: Site, crowded: list[Peer]) -> None:
    site.backend.accept()
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test")
    assert site.backend.hanging == MAX_CONNECTING
    assert pool_of(site).waiting == 2
    site.backend >> OK
    crowded[0] << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    finish(site.backend)


def test_a_connection_that_is_free_again_is_for_who_waits_longest(site: Site, crowded: list[Peer]) -> None:
    site.backend.accept()  # the first gets it, and the first of those who wait gets its turn
    for id in (1, MAX_CONNECTING + 2, MAX_CONNECTING + 3):
        site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=id)
        site.backend >> OK
        crowded[id - 1] << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=id) + b"ok"
    assert len(site.backend.connections) == 1
    assert pool_of(site).idle == 1
    finish(site.backend)


def test_all_are_served_in_the_end(site: Site, crowded: list[Peer]) -> None:
    more = crowd(site, 2 * MAX_CONNECTING)
    while site.backend.hanging:
        site.backend.accept()
        connection = site.backend.last
        if connection.received():
            connection >> OK
    finish(site.backend)
    assert all(client.received().endswith(b"ok") for client in crowded + more)


def test_refused_connections_are_answered_at_once_for_all(site: Site) -> None:
    site.backend.refuses = True
    for client in crowd(site, 3 * MAX_CONNECTING):
        client << Page(503, "the application")


def test_a_backend_that_accepts_nothing_ends_the_wait_of_all(site: Site, crowded: list[Peer]) -> None:
    site.wait(3)
    for client in crowded[:MAX_CONNECTING]:
        client << Page(504, "the application")
    for client in crowded[MAX_CONNECTING:]:
        client << Page(503, "the application")
    site.backend.hangs = False
    crowded[0] >> GET
    site.backend >> OK
    assert crowded[0].received().endswith(b"ok")


def test_the_wait_is_not_the_backend_s_failure(site: Site) -> None:
    """It was not asked for a connection. What is being made goes on, and has its own time."""
    site.backend.hangs = True
    clients = crowd(site, 2 * MAX_CONNECTING + 3)
    site.wait(1.75)
    site.backend.accept(MAX_CONNECTING)
    site.wait(0.75)
    for client in clients[-3:]:
        client << Page(503, "the application")
    finish(site.backend)
    assert all(client.received().endswith(b"ok") for client in clients[:-3])
    assert not pool_of(site).backend.troubled


def test_who_leaves_does_not_take_a_turn(site: Site, crowded: list[Peer]) -> None:
    crowded[MAX_CONNECTING] >> RESET
    assert pool_of(site).waiting == 2
    crowded[0] >> RESET  # its turn passes on
    assert site.backend.hanging == MAX_CONNECTING
    assert pool_of(site).waiting == 1
    finish(site.backend)
    assert all(client.received().endswith(b"ok") for client in crowded if not client.wire.lost)
