"""Hold, switch, drain and cut, with exchanges of every kind under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playbook import ABORTED, CLOSED, EOF, GET, RESET, Page, delivered, forwarded, head

from proxy.core import orders
from proxy.core.sessions import session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
UPLOAD = head("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 10") + b"hello"
UPGRADE = head("GET /chat HTTP/1.1", "Host: shop.test", "Connection: Upgrade", "Upgrade: websocket")
SWITCHING = head("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
WITH_SESSION = head("GET / HTTP/1.1", "Host: shop.test", "Cookie: JSESSIONID=one")


def told(site: Site, kind: type) -> list[object]:
    return [event for event in site.told if isinstance(event, kind)]


def test_a_held_request_goes_to_the_new_slot(site: Site, client: Peer) -> None:
    site.hold()
    client >> GET
    client << b""
    assert site.backend.connections == []
    site.loop.clock += 0.004
    site.switch("temp")
    site.temp << forwarded("GET / HTTP/1.1", "Host: shop.test")
    site.temp >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
    (ack,) = told(site, orders.SwitchAck)
    assert isinstance(ack, orders.SwitchAck)
    assert ack.held == 1
    assert ack.hold_ms == pytest.approx(4)


def test_a_hold_that_is_abandoned(site: Site, client: Peer) -> None:
    site.hold()
    client >> GET
    site.app.release_hold(orders.ReleaseHold(app="shop", epoch=1, attempt=1))
    site.settle()
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_hold_that_nobody_ends(site: Site, client: Peer) -> None:
    site.hold(1)
    client >> GET
    site.wait(2)
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_request_held_for_too_long_is_503(build: Callable[..., Site]) -> None:
    site = build(limits={"hold": 1})
    client = site.client()
    site.hold(60)
    client >> GET
    site.wait(2)
    answer = client.received()
    Page(503, "the wait for a release").check(answer)
    assert b"\r\nRetry-After: 2\r\n" in answer


def test_too_many_held_requests_are_503(build: Callable[..., Site]) -> None:
    site = build(limits={"held": 2})
    site.hold()
    waiting = [site.client(), site.client()]
    for client in waiting:
        client >> GET
    late = site.client()
    late >> GET
    answer = late.received()
    Page(503, "the queue of waiting requests").check(answer)
    assert b"\r\nRetry-After: 2\r\n" in answer
    site.switch("temp")
    for connection in site.temp.connections:
        connection >> OK
    assert all(client.received().endswith(b"ok") for client in waiting)


def test_a_held_client_that_leaves(site: Site, client: Peer) -> None:
    site.hold()
    client >> GET
    client >> RESET
    assert site.app.gate.held == 0
    site.switch("temp")
    assert site.temp.connections == []
    assert '"status":499' in site.finish()[0]


def test_a_held_upload_keeps_what_has_come(site: Site, client: Peer) -> None:
    site.hold()
    client >> UPLOAD
    client >> b"wor"
    site.switch("temp")
    top = forwarded("POST / HTTP/1.1", "Host: shop.test", "Content-Length: 10")
    site.temp << top + b"hellowor"
    client >> b"ld"
    site.temp << b"ld"
    site.temp >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_what_has_begun_ends_where_it_began(site: Site) -> None:
    upload, download, plain = site.client(), site.client(), site.client()
    upload >> UPLOAD
    download >> GET
    plain >> GET
    first, second, third = site.backend.connections
    second >> head("HTTP/1.1 200 OK", "Content-Length: 10") + b"hello"
    site.hold()
    site.switch("temp")
    site.drain("production")
    assert told(site, orders.Drained) == []
    upload >> b"world"
    first >> OK
    second >> b"world"
    assert told(site, orders.Drained) == []
    third >> OK
    assert told(site, orders.Drained) == [orders.Drained(app="shop", epoch=1, slot="production")]
    assert all(client.received().endswith((b"ok", b"helloworld")) for client in (upload, download, plain))
    assert site.backend.open == 0, "an idle connection would make the old Tomcat's stop take its whole grace"
    for client in (upload, download, plain):
        client >> GET
    assert len(site.temp.connections) == 3
    assert len(site.backend.connections) == 3


def test_no_request_goes_to_the_old_slot_after_the_switch(site: Site, client: Peer) -> None:
    client >> GET + GET
    site.hold()
    site.switch("temp")
    site.backend >> OK
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test")
    site.temp << forwarded("GET / HTTP/1.1", "Host: shop.test", id=2)


def test_a_second_attempt_belongs_to_the_slot_of_the_first(site: Site, client: Peer) -> None:
    """Its ticket is for that slot, and the drain waits for it."""
    client >> GET
    site.backend >> OK
    client.received()
    client >> GET
    site.hold()
    site.switch("temp")
    site.drain("production")
    site.backend >> EOF
    assert told(site, orders.Drained) == []
    site.backend << forwarded("GET / HTTP/1.1", "Host: shop.test", id=2)
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    assert len(told(site, orders.Drained)) == 1


def test_cut_ends_what_is_still_there_and_lists_it(site: Site) -> None:
    upload, silent, download, events, socket, kept = (site.client() for _ in range(6))
    upload >> UPLOAD
    for client in (silent, download, events):
        client >> GET
    socket >> UPGRADE
    site.backend.connections[2] >> head("HTTP/1.1 200 OK", "Content-Length: 10") + b"hello"
    site.backend.connections[3] >> head("HTTP/1.1 200 OK", "Content-Type: text/event-stream") + b"data: 1\n\n"
    site.backend.connections[4] >> SWITCHING
    for client in (download, events, socket):
        client.received()
    site.hold()
    site.switch("temp")
    site.drain("production")
    kept >> GET
    site.wait(10)
    site.cut("production")
    (report,) = told(site, orders.CutReport)
    assert isinstance(report, orders.CutReport)
    assert sorted((item.method, item.path, item.tunnel) for item in report.exchanges) == [
        ("GET", "/", False),
        ("GET", "/", False),
        ("GET", "/", False),
        ("GET", "/chat", True),
        ("POST", "/", False),
    ]
    assert all(item.age_ms == pytest.approx(10_000) for item in report.exchanges)
    upload << Page(503, "the release that this request began on", end=True)
    silent << Page(503, "the release that this request began on")
    for client in (download, events):
        client << b""
        client << ABORTED
    socket << b"\x88\x02\x03\xf4"
    socket << EOF
    assert told(site, orders.Drained) == [orders.Drained(app="shop", epoch=1, slot="production")]
    assert site.backend.open == 0
    site.temp >> OK
    assert kept.received().endswith(b"ok")


def test_cut_while_a_connection_is_made(site: Site, client: Peer) -> None:
    site.backend.hangs = True
    client >> GET
    site.hold()
    site.switch("temp")
    site.drain("production")
    site.cut("production")
    client << Page(503, "the release that this request began on")
    assert len(told(site, orders.Drained)) == 1


def test_an_old_cut_cuts_nothing(site: Site, client: Peer) -> None:
    client >> GET
    site.app.cut(orders.Cut(app="shop", epoch=7, slot="production"))
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


@pytest.mark.parametrize("first_knows_it_by", ["cookie", "path"])
def test_a_session_is_never_on_both_slots(site: Site, first_knows_it_by: str) -> None:
    by_path = head("GET /cart;jsessionid=one?a=b HTTP/1.1", "Host: shop.test")
    first, second, other = site.client(), site.client(), site.client()
    first >> (WITH_SESSION if first_knows_it_by == "cookie" else by_path)
    site.hold()
    (ack,) = told(site, orders.HoldAck)
    assert isinstance(ack, orders.HoldAck)
    session = session_of(b"JSESSIONID=one", b"/", "JSESSIONID")
    assert ack.busy == (session,)
    assert ack.in_flight == 1
    site.switch("temp", busy={str(session): 1})
    second >> (by_path if first_knows_it_by == "cookie" else WITH_SESSION)
    other >> GET
    assert len(site.temp.connections) == 1, "only the other one goes on at once"
    site.temp >> OK
    assert other.received().endswith(b"ok")
    site.backend >> OK
    assert first.received().endswith(b"ok")
    site.wait(0.6)
    (ended,) = told(site, orders.SessionsEnded)
    assert isinstance(ended, orders.SessionsEnded)
    assert ended.sessions == (session,)
    site.app.sessions_ended(ended)
    site.settle()
    site.temp >> OK
    assert second.received().endswith(b"ok")


def test_the_barrier_ends_when_nobody_ends_it(site: Site) -> None:
    first, second = site.client(), site.client()
    first >> WITH_SESSION
    site.hold()
    session = str(session_of(b"JSESSIONID=one", b"/", "JSESSIONID"))
    site.switch("temp", busy={session: 1})
    second >> WITH_SESSION
    assert site.temp.connections == []
    site.wait(2.5)
    site.temp >> OK
    assert second.received().endswith(b"ok")
    site.backend >> OK


def test_a_hold_and_a_barrier_that_end_in_the_same_moment_wake_once(site: Site, client: Peer) -> None:
    session = str(session_of(b"JSESSIONID=one", b"/", "JSESSIONID"))
    site.hold()
    site.switch("temp", busy={session: 1})
    site.hold(2)
    client >> WITH_SESSION
    site.loop.clock += 10
    site.settle()
    assert len(site.temp.connections) == 1
    site.temp >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def test_a_slot_may_get_other_backends_while_requests_are_under_way(site: Site, client: Peer) -> None:
    other = site.client()
    other >> GET
    site.backend >> OK
    other.received()
    client >> GET
    site.settle()
    state = orders.SlotState(backends={"192.0.2.99:80": True})
    site.add_backend("192.0.2.99:80")
    site.app.slot_changed(orders.SlotChanged(app="shop", slot="production", state=state), None)
    site.backend >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=2) + b"ok"
    assert site.backend.open == 0
    client >> GET
    site.backends["192.0.2.99:80"] >> OK
    client << delivered("HTTP/1.1 200 OK", "Content-Length: 2", id=3) + b"ok"


def test_a_tunnel_keeps_its_slot(site: Site, client: Peer) -> None:
    client >> UPGRADE
    site.backend >> SWITCHING
    client.received()
    site.hold()
    (ack,) = told(site, orders.HoldAck)
    assert isinstance(ack, orders.HoldAck)
    assert (ack.in_flight, ack.tunnels) == (1, 1)
    site.switch("temp")
    site.drain("production")
    client >> b"ping"
    assert site.backend.last.received().endswith(b"ping")
    client >> EOF
    site.backend >> EOF
    client << CLOSED
    assert len(told(site, orders.Drained)) == 1


def test_what_is_under_way_is_listed(site: Site, client: Peer) -> None:
    client >> head("GET /slow?token=secret HTTP/1.1", "Host: shop.test")
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    site.loop.clock += 1.5
    (item,), truncated = site.app.inflight(10)
    assert (item.slot, item.method, item.path, item.bytes, item.tunnel) == ("production", "GET", "/slow", 2, False)
    assert item.age_ms == pytest.approx(1500)
    assert item.client == "203.0.113.7"
    assert not truncated
