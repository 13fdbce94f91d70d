"""Upgrades (RFC 9110 section 7.8): what becomes a tunnel, what does not, and how a tunnel ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, PACKET, RESET, Page, delivered, forwarded, head

if TYPE_CHECKING:
    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
MIB = 1024 * 1024

UPGRADE = head(
    "GET /chat HTTP/1.1",
    "Host: shop.test",
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: k",
)
SENT = forwarded(
    "GET /chat HTTP/1.1", "Host: shop.test", "Sec-WebSocket-Key: k", extra=("Connection: Upgrade", "Upgrade: websocket")
)
SWITCHING = head(
    "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: a"
)
SWITCHED = head(
    "HTTP/1.1 101 Switching Protocols",
    "Sec-WebSocket-Accept: a",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "X-Request-Id: #1",
)


@pytest.fixture
def tunnel(site: Site, client: Peer) -> Peer:
    client >> UPGRADE
    site.backend << SENT
    site.backend >> SWITCHING
    client << SWITCHED
    return client


def test_bytes_go_both_ways(site: Site, tunnel: Peer) -> None:
    tunnel >> b"\x81\x02hi"
    site.backend << b"\x81\x02hi"
    site.backend >> b"\x81\x02yo"
    tunnel << b"\x81\x02yo"
    assert site.stats()["tunnels"] == 1


def test_bytes_behind_the_101_on_either_side(site: Site, client: Peer) -> None:
    client >> UPGRADE + b"early client"
    site.backend << SENT
    site.backend >> SWITCHING + b"early backend"
    client << SWITCHED + b"early backend"
    site.backend << b"early client"


def test_half_close_by_the_client(site: Site, tunnel: Peer) -> None:
    tunnel >> b"last words"
    tunnel >> EOF
    site.backend << b"last words"
    site.backend << EOF
    site.backend >> b"still here"
    tunnel << b"still here"
    site.backend >> EOF
    tunnel << CLOSED
    site.backend << CLOSED


def test_half_close_by_the_backend(site: Site, tunnel: Peer) -> None:
    site.backend >> b"last words"
    site.backend >> EOF
    tunnel << b"last words"
    tunnel << EOF
    tunnel >> b"still here"
    site.backend << b"still here"
    tunnel >> EOF
    site.backend << CLOSED
    tunnel << CLOSED


def test_a_client_that_ended_its_side_before_the_101(site: Site, client: Peer) -> None:
    client >> UPGRADE
    client >> EOF
    site.backend >> SWITCHING
    client << SWITCHED
    site.backend << EOF
    site.backend >> b"still here"
    client << b"still here"
    site.backend >> EOF
    client << CLOSED


def test_a_reset_of_the_client_ends_the_backend_s_side(site: Site, tunnel: Peer) -> None:
    tunnel >> RESET
    site.backend << ABORTED
    assert site.stats()["tunnels"] == 0


def test_a_reset_of_the_backend_ends_the_client_s_side(site: Site, tunnel: Peer) -> None:
    site.backend >> RESET
    tunnel << CLOSED


@pytest.mark.parametrize("side", ["client", "backend"])
def test_a_tunnel_stays_open_while_it_is_used(site: Site, tunnel: Peer, side: str) -> None:
    for _ in range(3):
        site.wait(3000)
        (tunnel if side == "client" else site.backend) >> b"ping"
    assert tunnel.wire.end == "open"


def test_a_tunnel_that_is_silent_for_too_long_ends(site: Site, tunnel: Peer) -> None:
    site.wait(3599)
    tunnel << b""
    assert tunnel.wire.end == "open"
    site.wait(2)
    tunnel << ABORTED
    site.backend << ABORTED


@WHOLE
@pytest.mark.parametrize("slow", ["client", "backend"])
def test_a_slow_side_makes_the_other_wait(site: Site, tunnel: Peer, slow: str) -> None:
    backend = site.backend.last
    reader, writer = (tunnel, backend) if slow == "client" else (backend, tunnel)
    reader.stop_reading()
    writer.flood(4 * MIB)
    assert not writer.is_read
    assert writer.untaken > 3 * MIB
    assert reader.wire.most_unsent < MIB
    reader.read_on()
    assert writer.untaken == 0
    assert reader.received() == b"x" * 4 * MIB


@WHOLE
def test_a_tunnel_may_be_idle_after_a_slow_reader_has_read_all(site: Site, tunnel: Peer) -> None:
    tunnel.stop_reading()
    site.backend.last.flood(PACKET)
    assert site.backend.last.untaken == 0
    tunnel.read_on()
    assert len(tunnel.received()) == PACKET
    site.wait(1000)
    assert tunnel.wire.end == "open"


@WHOLE
def test_a_client_that_sends_but_does_not_read_is_cut_off(site: Site, tunnel: Peer) -> None:
    tunnel.stop_reading()
    site.backend.last.flood(4 * MIB)
    for _ in range(2):
        site.wait(29)
        tunnel >> b"ping"
    assert tunnel.wire.end == "open"
    site.wait(3)
    tunnel << ABORTED
    site.backend << ABORTED


@WHOLE
def test_a_tunnel_s_last_bytes_reach_a_slow_client(site: Site, tunnel: Peer) -> None:
    tunnel.stop_reading()
    site.backend.last.flood(300_000)
    tunnel.read_on(250_000)
    site.backend >> CLOSED
    tunnel >> EOF
    tunnel.read_on()
    assert len(tunnel.received()) == 300_000
    tunnel << CLOSED


def test_an_upgrade_that_is_declined_is_a_plain_response(site: Site, client: Peer) -> None:
    client >> UPGRADE
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    client >> GET
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    assert len(site.backend.connections) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET,
        head("GET /chat HTTP/1.0", "Host: shop.test", "Connection: Upgrade", "Upgrade: websocket"),
        head("GET /chat HTTP/1.1", "Host: shop.test", "Upgrade: websocket"),
        head(
            "GET /chat HTTP/1.1",
            "Host: shop.test",
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: x",
        ),
        head("GET /chat HTTP/1.1", "Host: shop.test", "Connection: Upgrade", "Upgrade: ,"),
    ],
    ids=["none", "1.0", "not-in-connection", "h2c", "empty-list"],
)
def test_a_101_that_nobody_asked_for_is_502(site: Site, client: Peer, request_bytes: bytes) -> None:
    client >> request_bytes
    sent = site.backend.last.received().lower()
    assert b"upgrade" not in sent
    assert b"http2-settings" not in sent
    site.backend >> SWITCHING + b"tunnelled"
    answer = client.received()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"tunnelled" not in answer
    site.backend << ABORTED


@pytest.mark.parametrize(
    "answer",
    [
        head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade"),
        head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket"),
        head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c"),
        head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket, chat"),
        head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: ,"),
    ],
    ids=["no-upgrade", "not-in-connection", "another-protocol", "one-more", "empty-list"],
)
def test_a_101_to_something_else_is_502(site: Site, client: Peer, answer: bytes) -> None:
    client >> UPGRADE
    site.backend >> answer
    client << Page(502, "the application's response")
    site.backend << ABORTED


def test_a_101_to_an_empty_list_is_502(site: Site, client: Peer) -> None:
    """The request offered nothing, and a list without a member is nothing: yet the two are not an agreement."""
    client >> GET
    site.backend >> head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: ,")
    client << Page(502, "the application's response")
    site.backend.last.received()
    site.backend << ABORTED


def test_one_of_several_offers_may_be_taken(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.1", "Host: shop.test", "Connection: upgrade", "Upgrade: chat/2, WebSocket")
    site.backend >> head("HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: websocket")
    assert client.received().startswith(b"HTTP/1.1 101 ")
    client >> b"x"
    assert site.backend.last.received().endswith(b"x")


def test_an_upgrade_with_a_body_is_a_plain_request(site: Site, client: Peer) -> None:
    (
        client
        >> head("POST / HTTP/1.1", "Host: shop.test", "Connection: Upgrade", "Upgrade: x", "Content-Length: 2") + b"ab"
    )
    site.backend << forwarded("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 2") + b"ab"


def test_an_interim_response_before_the_101(site: Site, client: Peer) -> None:
    client >> UPGRADE
    site.backend >> head("HTTP/1.1 103 Early Hints", "Link: </a>") + SWITCHING
    client << head("HTTP/1.1 103 Early Hints", "Link: </a>") + SWITCHED


def test_a_tunnel_is_counted_and_logged_once(site: Site, tunnel: Peer) -> None:
    tunnel >> b"12345"
    site.backend >> b"123"
    site.backend >> CLOSED
    tunnel >> CLOSED
    assert site.stats()["status"] == [1, 0, 0, 0, 0]
    assert site.stats()["bytes_in"] == 5
    assert site.stats()["bytes_out"] == 3
    assert '"status":101,"bytes":3,' in site.finish()[0]
