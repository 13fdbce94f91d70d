"""Backends that fail: what the client gets, what is tried again, and what must never be sent twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, RESET, End, Page, delivered, forwarded, head

from proxy.core.backends import SLOW_START

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
POST = head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 3") + b"a=1"
ONE, TWO = "192.0.2.11:80", "192.0.2.12:80"


def warm(site: Site, client: Peer) -> Peer:
    """Leaves a used connection in the pool; returns it."""
    client >> GET
    site.backend >> OK
    assert client.received().endswith(b"ok")
    return site.backend.last


def two_backends(build: Callable[..., Site], **settings: Any) -> Site:
    return build(slots={"production": (ONE, TWO)}, **settings)


# --- connections that can't be made ---------------------------------------------------------------------------------


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
def test_refused_everywhere(site: Site, client: Peer, request_bytes: bytes) -> None:
    site.backend.refuses = True
    client >> request_bytes
    client << Page(503, "the application", end=site.piecewise and request_bytes is POST)


def test_no_connection_in_time(site: Site, client: Peer) -> None:
    site.backend.hangs = True
    client >> GET
    site.wait(1)
    client << b""
    site.wait(2)
    client << Page(504, "the application")
    site.backend.hangs = False
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
def test_a_backend_that_accepts_nothing_leaves_the_request_to_another(
    build: Callable[..., Site], fault: str, request_bytes: bytes
) -> None:
    site = two_backends(build)
    setattr(site.backends[ONE], fault, True)
    client = site.client()
    client >> request_bytes
    site.wait(3)
    assert site.backends[ONE].connections == []
    site.backends[TWO] >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    assert len(site.backends[TWO].connections) == 1


def test_a_failing_backend_is_left_out_for_a_while(build: Callable[..., Site]) -> None:
    site = two_backends(build)
    site.backends[ONE].refuses = True
    for turn in range(2):
        client = site.client()
        client >> GET
        site.backends[TWO] >> OK
        client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=turn + 1) + b"ok"
    site.backends[ONE].refuses = False
    busy, other = site.client(), site.client()
    busy >> GET
    other >> GET
    assert site.backends[ONE].connections == []
    site.wait(1.5)
    site.client() >> GET
    assert site.backends[ONE].connections == [], "back in its turn, but slowly, however little it has to do"
    site.wait(SLOW_START)
    site.client() >> GET
    assert len(site.backends[ONE].connections) == 1


def test_a_client_that_leaves_while_a_connection_is_made(site: Site, client: Peer) -> None:
    site.backend.hangs = True
    client >> GET
    client >> RESET
    assert site.stats()["aborted"] == 1
    assert '"status":499' in site.finish()[0]


# --- reused connections ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [EOF, RESET])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_an_idempotent_request_is_sent_once_more_when_a_kept_connection_closes(
    site: Site, client: Peer, end: End, method: str
) -> None:
    first = warm(site, client)
    client >> head(f"{method} /a HTTP/1.1", "Host: shop.test")
    first << forwarded("GET / HTTP/1.1", "Host: shop.test") + forwarded(
        f"{method} /a HTTP/1.1", "Host: shop.test", id=2
    )
    first >> end
    client << b""
    assert len(site.backend.connections) == 2
    site.backend << forwarded(f"{method} /a HTTP/1.1", "Host: shop.test", id=2)
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 0")
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 0", id=2)


@WHOLE
def test_an_idempotent_request_with_its_body_in_hand_is_sent_once_more(site: Site, client: Peer) -> None:
    first = warm(site, client)
    client >> head("PUT /a HTTP/1.1", "Host: shop.test", "Content-Length: 3") + b"abc"
    first >> EOF
    site.backend << forwarded("PUT /a HTTP/1.1", "Host: shop.test", "Content-Length: 3", id=2) + b"abc"
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


def test_a_body_that_has_gone_by_can_not_be_sent_once_more(site: Site, client: Peer) -> None:
    first = warm(site, client)
    client >> head("PUT /a HTTP/1.1", "Host: shop.test", "Content-Length: 3") + b"ab"
    client >> b"c"
    first >> EOF
    client << Page(502, "the application")
    assert len(site.backend.connections) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
def test_other_requests_are_never_sent_twice(site: Site, client: Peer, method: str) -> None:
    first = warm(site, client)
    client >> head(f"{method} /a HTTP/1.1", "Host: shop.test")
    first >> EOF
    client << Page(502, "the application")
    assert len(site.backend.connections) == 1
    client >> GET
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=3)


def test_the_second_attempt_is_the_last(site: Site, client: Peer) -> None:
    first = warm(site, client)
    client >> GET
    first >> EOF
    site.backend >> EOF
    client << Page(502, "the application")
    assert len(site.backend.connections) == 2


def test_the_second_attempt_is_on_a_new_connection(site: Site, client: Peer) -> None:
    other = site.client()
    client >> GET
    other >> GET
    for connection in site.backend.connections:
        connection >> OK
    idle, used = site.backend.connections
    client.received()
    client >> GET
    used >> EOF
    assert len(site.backend.connections) == 3
    idle << forwarded("GET / HTTP/1.1", "Host: shop.test")
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=3)


def test_the_second_attempt_finds_nobody(site: Site, client: Peer) -> None:
    first = warm(site, client)
    site.backend.refuses = True
    client >> GET
    first >> EOF
    client << Page(503, "the application")


def test_a_new_connection_that_closes_at_once_is_502(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> EOF
    client << Page(502, "the application")
    assert len(site.backend.connections) == 1


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_a_response_that_has_begun_is_not_asked_for_again(site: Site, client: Peer, begun: bytes) -> None:
    first = warm(site, client)
    client >> GET
    first >> begun
    first >> EOF
    answer = client.received()
    assert b"HTTP/1.1 502 Bad Gateway\r\n" in answer
    assert len(site.backend.connections) == 1


# --- faults on the way ----------------------------------------------------------------------------------------------


def test_a_backend_that_is_silent_is_504(site: Site, client: Peer) -> None:
    client >> GET
    site.wait(59)
    client << b""
    site.wait(2)
    client << Page(504, "the application")
    site.backend << ABORTED
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"


def test_a_backend_that_is_silent_before_it_has_read_a_post_is_504(site: Site, client: Peer) -> None:
    client >> POST
    site.wait(61)
    client << Page(504, "the application")


def test_a_backend_that_falls_silent_in_its_body_is_an_abort(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    for _ in range(3):
        site.wait(50)
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    client << ABORTED
    site.backend << ABORTED


def test_a_slow_backend_may_take_as_long_as_it_goes_on(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5")
    for byte in (b"h", b"e", b"l", b"l", b"o"):
        site.wait(50)
        site.backend >> byte
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 5") + b"hello"
    client >> GET
    site.backend >> OK


def test_a_backend_that_reads_nothing_more_and_half_closes(site: Site, client: Peer) -> None:
    """Its FIN is the answer, even while bytes for it wait."""
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 1000000")
    backend = site.backend.last
    backend.stop_reading()
    client.flood(300_000)
    backend >> EOF
    client << Page(502, "the application", end=True)
    backend << ABORTED


def test_bytes_before_the_request_are_no_response(site: Site, client: Peer) -> None:
    """A backend that speaks first: what it said is not taken for the answer to the request that comes after."""
    site.backend.greeting = OK
    client >> GET
    client << Page(502, "the application")
    site.backend << CLOSED


def test_a_backend_that_resets_as_soon_as_it_has_accepted(site: Site, client: Peer) -> None:
    site.backend.resets = True
    client >> GET
    client << Page(502, "the application")


@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
def test_nothing_was_sent_on_a_connection_that_was_gone_before(
    build: Callable[..., Site], request_bytes: bytes
) -> None:
    """So another backend may have it, whatever the method."""
    site = two_backends(build)
    site.backends[ONE].resets = True
    client = site.client()
    client >> request_bytes
    site.backends[TWO] >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_every_failure_is_counted_and_logged_with_its_status(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> EOF
    site.backend.refuses = True
    client >> GET
    assert site.stats()["status"] == [0, 0, 0, 0, 2]
    assert [line.split('"status":')[1][:3] for line in site.finish()] == ["502", "503"]
