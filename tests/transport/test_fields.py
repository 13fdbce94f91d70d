"""Fields on the way: what is removed, set and added, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import CLIENT, GET, Page, delivered, forwarded, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

OK = head("HTTP/1.1 200 OK", "Content-Length: 0")


def test_hop_by_hop_fields_of_the_request(site: Site, client: Peer) -> None:
    client >> head(
        "GET / HTTP/1.1",
        "Host: shop.test",
        "Connection: keep-alive, X-Mine",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eA==",
        "Proxy-Authenticate: Basic",
        "Proxy: http://evil.test",
        "TE: gzip",
        "Upgrade: h2c",
        "X-Mine: 1",
        "Accept: */*",
    )
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", "Accept: */*")


def test_te_trailers_is_passed_on(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.1", "Host: shop.test", "TE: gzip, trailers", "Connection: TE")
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", extra=("Connection: TE", "TE: trailers"))


def test_hop_by_hop_fields_of_the_response(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head(
        "HTTP/1.1 200 OK",
        "Connection: keep-alive, X-Mine",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Upgrade: h2",
        "X-Mine: 1",
        "X-Request-Id: theirs",
        "Content-Length: 0",
        "Server: one",
    )
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 0", "Server: one")


@pytest.mark.parametrize(
    "named",
    ["X-Forwarded-For", "Host", "Content-Length", "Via", "X-Request-Id", "Cookie", "Authorization", "close, Host"],
)
def test_connection_can_not_remove_what_the_proxy_sets_or_must_pass(site: Site, client: Peer, named: str) -> None:
    fields = ("Host: shop.test", "Cookie: a=b", "Authorization: Basic eA==", "Content-Length: 2")
    client >> head("POST / HTTP/1.1", *fields, f"Connection: {named}") + b"ab"
    site.backend << forwarded("POST / HTTP/1.1", *fields) + b"ab"


def test_set_cookie_and_other_lines_stay_as_they_are_and_in_order(site: Site, client: Peer) -> None:
    lines = ("Set-Cookie: a=1", "X-Empty:", "Set-Cookie: b=2; Path=/", "x-lower:  two  blanks ", "Content-Length: 0")
    client >> GET
    site.backend >> head("HTTP/1.1 200 OK", *lines)
    client << delivered("HTTP/1.1 200 OK", *lines)


@pytest.mark.parametrize(
    "spoofed",
    [
        "X-Forwarded-For: 10.0.0.1",
        "x-forwarded-for: 10.0.0.1",
        "X_Forwarded_For: 10.0.0.1",
        "X-Forwarded_For: 10.0.0.1",
        "X-Forwarded-Host: evil.test",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Server: evil",
        "X-Forwarded-Prefix: /evil",
        "Forwarded: for=10.0.0.1",
        "X-Real-IP: 10.0.0.1",
        "X_Real_IP: 10.0.0.1",
        "X-Request-Id: mine",
        "X_Request_Id: mine",
    ],
)
def test_what_an_untrusted_client_says_about_itself_is_dropped(site: Site, client: Peer, spoofed: str) -> None:
    client >> head("GET / HTTP/1.1", "Host: shop.test", spoofed)
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test")


def test_what_a_trusted_proxy_says_is_believed_and_added_to(build: Callable[..., Site]) -> None:
    site = build(trusted_proxies=["203.0.113.0/24"])
    client = site.client()
    client >> head(
        "GET / HTTP/1.1",
        "Host: shop.test",
        "X-Forwarded-For: 198.51.100.4, 198.51.100.5",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: www.shop.test",
        "X-Forwarded-Port: 443",
        "Forwarded: for=198.51.100.4;proto=https",
        "X-Real-IP: 198.51.100.4",
    )
    site.backend << head(
        "GET / HTTP/1.1",
        "Host: shop.test",
        f"X-Forwarded-For: 198.51.100.4, 198.51.100.5, {CLIENT}",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: www.shop.test",
        "X-Forwarded-Port: 443",
        f"Forwarded: for=198.51.100.4;proto=https, for={CLIENT}",
        "Via: 1.1 switchyard",
        "X-Request-Id: #1",
    )


def test_one_client_is_trusted_and_another_is_not(build: Callable[..., Site]) -> None:
    site = build(trusted_proxies=["203.0.113.7/32"])
    for address, chain in (("203.0.113.8", "203.0.113.8"), ("203.0.113.7", "10.0.0.1, 203.0.113.7")):
        site.client(address) >> head("GET / HTTP/1.1", "Host: shop.test", "X-Forwarded-For: 10.0.0.1")
        sent = site.backend.last.received()
        assert f"\r\nX-Forwarded-For: {chain}\r\n".encode() in sent


def test_the_second_request_of_a_connection_is_read_anew(site: Site, client: Peer) -> None:
    """Fields that repeat are remembered; these differ by one byte, or in their version only."""
    for id, lines in enumerate(
        (
            ("GET / HTTP/1.1", "Host: shop.test", "A: 1"),
            ("GET / HTTP/1.1", "Host: shop.test", "A: 2"),
            ("GET / HTTP/1.1", "Host: shop.test", "A: 2", "B: 3"),
            ("GET / HTTP/1.1", "Host: shop.test"),
        ),
        1,
    ):
        client >> head(*lines)
        site.backend << forwarded(*lines, id=id)
        site.backend >> OK
    client.received()
    client >> head("GET / HTTP/1.0", "Host: shop.test")
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=5, via="1.0")


def test_host_is_preserved(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.1", "Host: Shop.Test:8080")
    site.backend << forwarded("GET / HTTP/1.1", "Host: Shop.Test:8080", host="Shop.Test:8080")


def test_the_authority_of_an_absolute_target_replaces_host(site: Site, client: Peer) -> None:
    client >> head("GET http://shop.test/a?b HTTP/1.1", "Accept: */*", "Host: other.test")
    site.backend << forwarded("GET /a?b HTTP/1.1", "Host: shop.test", "Accept: */*")
    site.backend >> OK
    client.received()
    client >> head("GET http://third.test/a?b HTTP/1.1", "Accept: */*", "Host: other.test")
    site.backend << forwarded("GET /a?b HTTP/1.1", "Host: third.test", "Accept: */*", id=2, host="third.test")


def test_options_asterisk(site: Site, client: Peer) -> None:
    client >> head("OPTIONS * HTTP/1.1", "Host: shop.test")
    site.backend << forwarded("OPTIONS * HTTP/1.1", "Host: shop.test")
    site.backend >> OK
    client.received()
    client >> head("OPTIONS http://shop.test HTTP/1.1", "Host: shop.test")
    site.backend << forwarded("OPTIONS * HTTP/1.1", "Host: shop.test", id=2)


def test_max_forwards(site: Site, client: Peer) -> None:
    client >> head("OPTIONS /a HTTP/1.1", "Host: shop.test", "Max-Forwards: 2")
    sent = site.backend.last.received()
    assert b"\r\nMax-Forwards: 1\r\n" in sent
    assert sent.count(b"Max-Forwards") == 1
    site.backend >> OK
    client.received()
    client >> head("OPTIONS /a HTTP/1.1", "Host: shop.test", "Max-Forwards: 0")
    site.backend << b""
    answer = client.received()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
    client >> head("GET /a HTTP/1.1", "Host: shop.test", "Max-Forwards: 0")
    site.backend << forwarded("GET /a HTTP/1.1", "Host: shop.test", "Max-Forwards: 0", id=3)


def test_a_request_that_comes_back_again_and_again_is_508(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.1", "Host: shop.test", *["Via: 1.1 switchyard"] * 4)
    assert site.backend.last.received().count(b"Via: 1.1 switchyard\r\n") == 5
    site.backend >> OK
    client.received()
    client >> head("GET / HTTP/1.1", "Host: shop.test", "Via: " + ", ".join(["1.1 switchyard"] * 5))
    client << Page(508, "the request's way")
    client >> head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 5", *["Via: 1.1 switchyard"] * 5) + b"he"
    client << Page(508, "the request's way", end=True)
    assert len(site.backend.connections) == 1


def test_request_ids_are_the_proxy_s_and_the_same_on_both_sides(site: Site, client: Peer) -> None:
    for id in (1, 2):
        client >> head("GET / HTTP/1.1", "Host: shop.test", "X-Request-Id: mine")
        site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=id)
        site.backend >> head("HTTP/1.1 200 OK", "X-Request-Id: theirs", "Content-Length: 0")
        client << delivered("HTTP/1.1 200 OK", "Content-Length: 0", id=id)


def test_each_request_id_is_one_more_than_the_one_before(site: Site, client: Peer) -> None:
    for id in range(1, 260):
        client >> head("GET / HTTP/1.1", "Host: shop.test")
        site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=id)
        site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 0")
        client << delivered("HTTP/1.1 200 OK", "Content-Length: 0", id=id)


def test_no_app_for_the_host_is_404(build: Callable[..., Site], site: Site, client: Peer) -> None:
    only_shop = build(app={"hosts": ["shop.test"]})
    other = only_shop.client()
    other >> head("GET / HTTP/1.1", "Host: other.test")
    other << Page(404, "the address")
    other >> head("HEAD / HTTP/1.1", "Host: other.test")
    other << Page(404, head_only=True)
    other >> GET
    only_shop.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=3)
