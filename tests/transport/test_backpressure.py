"""Slow peers: who is made to wait, how much piles up meanwhile, and that all goes on afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, GET, PACKET, RESET, Page, delivered, forwarded, head

from proxy.net.downstream import WRITE_BUFFER

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

pytestmark = pytest.mark.parametrize("piecewise", [False], ids=["whole"])

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
MIB = 1024 * 1024
BOUND = WRITE_BUFFER + PACKET
"""Bytes that wait for a peer: one packet comes after the buffer is almost full."""
FULL = PACKET  # with its head, a response of this size fills a client's buffer with its last packet
LEAST = 256 * 60  # what a reader must take in a minute
UPLOAD = head("PUT / HTTP/1.1", "Host: shop.test", f"Content-Length: {4 * MIB}")


@pytest.mark.parametrize("framing", [f"Content-Length: {4 * MIB}", "Connection: close"], ids=["sized", "until-close"])
def test_a_slow_reader_makes_the_backend_wait(site: Site, client: Peer, framing: str) -> None:
    client >> GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", framing)
    site.backend.last.flood(4 * MIB)
    assert not site.backend.last.is_read
    assert client.wire.most_unsent < BOUND
    taken = site.backend.last.untaken
    client.read_on(PACKET // 2)
    assert site.backend.last.untaken == taken, "reading goes on only when much of the buffer is empty"
    client.read_on()
    assert site.backend.last.is_read
    assert site.backend.last.untaken == 0
    assert client.wire.most_unsent < BOUND
    if framing == "Connection: close":
        site.backend >> CLOSED
    assert client.received().count(b"x") >= 4 * MIB


def test_a_kept_connection_is_read_again_after_a_slow_reader(site: Site, client: Peer) -> None:
    """The end of a response may be what fills the client's buffer. The next client must not pay for it."""
    size = FULL
    client >> GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {size}")
    site.backend.last.flood(size)
    assert site.backend.last.untaken == 0
    other = site.client()
    other >> GET
    assert len(site.backend.connections) == 1
    site.backend >> OK
    other << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    client.read_on()
    assert client.received().count(b"x") == size


def test_a_kept_connection_is_noticed_to_close_after_a_slow_reader(site: Site, client: Peer) -> None:
    size = FULL
    client >> GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {size}")
    site.backend.last.flood(size)
    site.backend >> CLOSED
    client.read_on()
    client >> GET
    assert len(site.backend.connections) == 2


def test_a_slow_backend_makes_the_uploader_wait(site: Site, client: Peer) -> None:
    client >> UPLOAD
    backend = site.backend.last
    backend.stop_reading()
    client.flood(4 * MIB)
    assert not client.is_read
    assert backend.wire.most_unsent < BOUND
    backend.read_on()
    assert client.is_read
    assert client.untaken == 0
    assert backend.wire.most_unsent < BOUND
    assert backend.received().endswith(b"x" * 1000)
    backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    client >> GET
    assert len(site.backend.connections) == 1


def test_an_upload_waits_for_the_connection(site: Site, client: Peer) -> None:
    site.backend.hangs = True
    client >> UPLOAD
    client.flood(4 * MIB)
    assert not client.is_read
    assert client.untaken >= 4 * MIB - PACKET
    site.wait(3)
    client << Page(504, "the application", end=True)
    assert client.is_read


def test_an_upload_waits_in_the_gate(site: Site, client: Peer) -> None:
    site.hold()
    client >> UPLOAD
    client.flood(4 * MIB)
    assert not client.is_read
    assert client.untaken >= 4 * MIB - PACKET
    site.switch("temp")
    assert client.untaken == 0
    site.temp >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_an_upload_that_came_at_once_waits_in_the_gate(site: Site, client: Peer) -> None:
    site.hold()
    client >> UPLOAD + b"x" * 100_000
    assert not client.is_read
    site.switch("temp")
    assert client.is_read
    client.flood(4 * MIB - 100_000)
    assert client.untaken == 0
    site.temp >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_whole_upload_that_waits_does_not_hide_that_its_client_leaves(site: Site, client: Peer) -> None:
    site.backend.hangs = True
    client >> head("PUT / HTTP/1.1", "Host: shop.test", "Content-Length: 100000") + b"x" * 50_000
    client >> b"x" * 50_000
    assert client.is_read
    site.backend.accept()
    assert site.backend.last.received().endswith(b"x" * 100_000)
    client >> RESET
    site.backend << ABORTED


def test_an_uploader_whose_backend_goes_away_is_read_again(site: Site, client: Peer) -> None:
    client >> UPLOAD
    site.backend.last.stop_reading()
    client.flood(4 * MIB)
    assert not client.is_read
    site.backend >> RESET
    client << Page(502, "the application", end=True)
    assert client.is_read


def test_a_backend_that_answers_without_reading_is_not_kept(site: Site, client: Peer) -> None:
    """Nor is it waited for: what it did not read would hold the connection, and the next request on it, for ever."""
    client >> UPLOAD
    site.backend.last.stop_reading()
    client.flood(4 * MIB)
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 0")
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 0", connection="close")
    site.backend << ABORTED


def test_a_backend_that_answers_before_it_has_read_the_end_is_not_kept(site: Site, client: Peer) -> None:
    size = FULL
    client >> head("PUT / HTTP/1.1", "Host: shop.test", f"Content-Length: {size}")
    site.backend.last.stop_reading()
    client.flood(size)
    assert client.untaken == 0
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 0")
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 0")
    site.backend << ABORTED
    client >> GET
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=2)


def test_a_reader_that_takes_nothing_is_cut_off(site: Site, client: Peer) -> None:
    client >> GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {4 * MIB}")
    site.backend.last.flood(4 * MIB)
    site.wait(59)
    assert client.wire.end == "open"
    site.wait(2)
    client << ABORTED
    site.backend << ABORTED


def test_a_reader_that_is_slow_but_reads_is_not_cut_off(site: Site, client: Peer) -> None:
    client >> GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {MIB}")
    site.backend.last.flood(MIB)
    while client.wire.unsent:
        site.wait(50)
        client.read_on(20_000)
    assert client.received().count(b"x") == MIB


def test_a_slow_reader_that_has_asked_for_more_is_judged_as_any_other(site: Site, client: Peer) -> None:
    """The answer is on its way, whole; the next request waits until it has been read."""
    client >> GET + GET
    client.stop_reading()
    size = 100 * 1024
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {size}") + b"x" * size
    for _ in range(3):
        site.wait(40)
        client.read_on(20_000)
    assert client.wire.end == "open"
    client.read_on()
    assert client.received().count(b"x") == size
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    assert client.received().endswith(b"ok")


def test_so_is_one_that_asks_for_more_while_it_reads(site: Site, client: Peer) -> None:
    client >> GET
    client.stop_reading()
    size = 100 * 1024
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {size}") + b"x" * size
    client >> GET[:9]
    for _ in range(3):
        site.wait(40)
        client.read_on(20_000)
    assert client.wire.end == "open"
    client >> GET[9:]
    client.read_on()
    assert client.received().count(b"x") == size
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    assert client.received().endswith(b"ok")


def test_one_that_asks_for_more_again_and_again_but_takes_nothing_is_cut_off(site: Site, client: Peer) -> None:
    client >> GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {FULL}") + b"x" * FULL
    for _ in range(6):
        client >> GET
        site.wait(10.5)
    client << ABORTED


def test_nor_is_one_that_has_asked_for_more_and_takes_nothing(site: Site, client: Peer) -> None:
    client >> GET + GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {FULL}") + b"x" * FULL
    site.wait(59)
    assert client.wire.end == "open"
    site.wait(2)
    client << ABORTED


@pytest.mark.parametrize(("least", "end"), [(LEAST, "aborted"), (None, "open")])
def test_a_reader_that_takes_a_few_bytes_a_minute_is_cut_off(
    build: Callable[..., Site], least: int | None, end: str
) -> None:
    site = build(limits={"min_rate": least and least // 60})
    client = site.client()
    client >> GET
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {MIB}")
    site.backend.last.flood(MIB)
    for taken in (LEAST, LEAST - 1):
        assert client.wire.end == "open"
        site.wait(30)
        client.read_on(taken)
        site.wait(31)
    assert client.wire.end == end


@pytest.mark.parametrize("request_lines", [("GET / HTTP/1.0",), ("GET / HTTP/1.1", "Connection: close")])
def test_a_slow_reader_of_a_connection_that_is_to_close_gets_all(
    site: Site, client: Peer, request_lines: tuple[str, ...]
) -> None:
    client >> head(*request_lines, "Host: shop.test")
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {FULL}")
    site.backend.last.flood(FULL)
    client << CLOSED
    while client.wire.unsent:
        site.wait(50)
        client.read_on(20_000)
    assert client.received().count(b"x") == FULL
    client << CLOSED


def test_a_reader_that_takes_nothing_of_a_connection_that_is_to_close(site: Site, client: Peer) -> None:
    client >> head("GET / HTTP/1.0", "Host: shop.test")
    client.stop_reading()
    site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {FULL}")
    site.backend.last.flood(FULL)
    client << CLOSED
    site.wait(61)
    site.wait(61)
    client << ABORTED


def test_pipelined_large_responses_to_a_slow_reader(site: Site, client: Peer) -> None:
    client.stop_reading()
    client >> GET * 20
    size = 200 * 1024
    for turn in range(20):
        while not (site.backend.connections and site.backend.last.wire.output):
            client.read_on(PACKET)
        site.backend.last.received()
        site.backend >> head("HTTP/1.1 200 OK", f"Content-Length: {size}")
        site.backend.last.flood(size)
        while site.backend.last.untaken:
            client.read_on(PACKET)
        assert client.wire.most_unsent < BOUND, turn
    client.read_on()
    assert client.received().count(b"x") == 20 * size


def test_memory_of_a_slow_uploader_behind_a_fast_one(build: Callable[..., Site]) -> None:
    site = build()
    slow, fast = site.client(), site.client()
    slow >> UPLOAD
    site.backend.last.stop_reading()
    slow.flood(4 * MIB)
    fast >> UPLOAD
    fast.flood(4 * MIB)
    assert fast.untaken == 0
    site.backend >> OK
    fast << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
