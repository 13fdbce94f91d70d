"""A client that ends its side and still reads.

TCP can't tell it from one that has closed. nginx gives its request up at once (499), HAProxy goes on with it unless
`option abortonclose` is set. This proxy goes on: a whole request is answered, within the time limits that all have. A
stream of events alone loses its long patience, as a browser that leaves such a page also sends no more than this.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, Page, delivered, head

if TYPE_CHECKING:
    from playbook import Peer, Site

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
EVENTS = head("HTTP/1.1 200 OK", "Content-Type: text/event-stream")
EVENTS_BEGUN = delivered("HTTP/1.1 200 OK", "Content-Type: text/event-stream", chunked=True)


def test_a_whole_request_is_answered(site: Site, client: Peer) -> None:
    client >> GET
    client >> EOF
    site.wait(50)
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    client << CLOSED


def test_a_silent_backend_s_time_limit_ends_it(site: Site, client: Peer) -> None:
    client >> GET
    client >> EOF
    site.wait(59)
    client << b""
    site.wait(2)
    client << Page(504, "the application")
    client << CLOSED
    site.backend << ABORTED


@pytest.mark.parametrize("request_bytes", [GET[:-2], head("POST / HTTP/1.1", "Host: a", "Content-Length: 3") + b"ab"])
def test_half_a_request_is_none(site: Site, client: Peer, request_bytes: bytes) -> None:
    client >> request_bytes
    client >> EOF
    client << b""
    client << CLOSED
    assert site.app.gate.active.outstanding == set()


def test_silent_events_end_with_the_time_limit_of_other_responses(site: Site, client: Peer) -> None:
    client >> GET
    site.backend >> EVENTS
    client << EVENTS_BEGUN
    client >> EOF
    site.wait(59)
    assert client.wire.end == "open"
    site.backend >> b"data: 1\n\n"
    site.wait(59)
    assert client.wire.end == "open", "each event begins it anew"
    site.wait(2)
    client << ABORTED
    site.backend << ABORTED
    (line,) = site.finish()
    assert json.loads(line)["cut"] is True


def test_pipelined_requests_are_answered_too(site: Site, client: Peer) -> None:
    client >> GET + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
    client >> EOF
    site.backend >> OK
    assert client.received().endswith(b"ok")
    site.backend >> OK
    assert client.received().endswith(b"ok")
    client << CLOSED
