"""1xx responses (RFC 9110 section 15.2): forwarded in order, not to 1.0 clients, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbook import ABORTED, EOF, GET, Page, delivered, forwarded, head

if TYPE_CHECKING:
    from playbook import Peer, Site

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CONTINUE = head("HTTP/1.1 100 Continue")
EXPECTING = ("Host: shop.test", "Expect: 100-continue", "Content-Length: 5")


def test_expect_100_continue(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", *EXPECTING)
    site.backend << forwarded("POST / HTTP/1.1", *EXPECTING)
    site.backend >> CONTINUE
    client << CONTINUE
    client >> b"hello"
    site.backend << b"hello"
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    assert site.backend.open == 1


def test_expect_100_continue_declined(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", *EXPECTING)
    site.backend >> head("HTTP/1.1 413 Content Too Large", "Content-Length: 0")
    client << delivered("HTTP/1.1 413 Content Too Large", "Content-Length: 0", connection="close")
    site.backend << ABORTED


def test_a_client_that_expects_and_does_not_wait(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.1", *EXPECTING) + b"hello"
    site.backend << forwarded("POST / HTTP/1.1", *EXPECTING) + b"hello"
    site.backend >> CONTINUE + OK
    client << CONTINUE + delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_1_0_client_can_not_expect_and_gets_no_interim_response(site: Site, client: Peer) -> None:
    client >> head("POST / HTTP/1.0", *EXPECTING)
    site.backend << forwarded("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 5", via="1.0")
    client >> b"hello"
    site.backend >> CONTINUE + head("HTTP/1.1 103 Early Hints", "Link: </a>") + OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", connection="close") + b"ok"


def test_other_expectations_are_417(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.1", "Host: shop.test", "Expect: the-unexpected")
    client << Page(417, "the request", end=True)


def test_several_interim_responses_in_order(site: Site, client: Peer) -> None:
    hints = [head("HTTP/1.1 103 Early Hints", f"Link: </{name}>; rel=preload") for name in "abc"]
    client >> GET
    site.backend >> hints[0] + hints[1]
    client << hints[0] + hints[1]
    site.backend >> head("HTTP/1.1 102 Processing") + hints[2] + OK
    answer = delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    client << head("HTTP/1.1 102 Processing") + hints[2] + answer
    client >> GET
    site.backend >> OK
    assert len(site.backend.connections) == 1


def test_an_interim_response_claims_no_body(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> head("HTTP/1.1 103 Early Hints", "Content-Length: 5", "Connection: X-A", "X-A: 1", "X-B: 2") + OK
    answer = delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    client << head("HTTP/1.1 103 Early Hints", "X-B: 2") + answer


def test_a_flood_of_interim_responses_is_502(site: Site, client: Peer) -> None:
    client >> GET
    hint = head("HTTP/1.1 103 Early Hints", "Link: </a>")
    site.backend >> hint * 32
    client << hint * 32
    site.backend >> hint
    client << Page(502, "the application's response")
    site.backend << ABORTED


def test_interim_responses_alone_are_502(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> CONTINUE
    client << CONTINUE

    site.backend >> EOF
    client << Page(502, "the application's response")


def test_a_request_that_was_answered_in_part_is_not_sent_again(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> OK
    client.received()
    client >> GET
    site.backend >> head("HTTP/1.1 102 Processing")
    client << head("HTTP/1.1 102 Processing")
    site.backend >> EOF
    client << Page(502, "the application's response")
    assert len(site.backend.connections) == 1
