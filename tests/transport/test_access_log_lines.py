"""The access log: one line per request, that a machine can read whatever clients send."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playbook import EOF, GET, RESET, head

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

WHOLE = pytest.mark.parametrize("piecewise", [False], ids=["whole"])
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
_QUOTED = r'"(?:[^"\\]|\\x[0-9a-f]{2})*"'
COMBINED = re.compile(rf'\S+ - - \[[^\]]+\] "[^"]*" (\d{{3}}) \d+ {_QUOTED} {_QUOTED}')


def parsed(site: Site) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.finish()]


def test_a_line_says_all_about_its_request(site: Site, client: Peer) -> None:
    client >> head("GET /a?b=c HTTP/1.1", "Host: shop.test", "Referer: http://r.test/", "User-Agent: browser/1")
    site.loop.clock += 0.0125
    site.backend >> OK
    (line,) = parsed(site)
    assert re.fullmatch("[0-9a-f]{18}", line.pop("id"))
    assert line == {
        "time": "2023-11-14T22:13:20.000Z",
        "client": "203.0.113.7",
        "method": "GET",
        "target": "/a?b=c",
        "status": 200,
        "bytes": 2,
        "ms": 12.5,
        "slot": "production",
        "backend": "192.0.2.81:8080",
        "referer": "http://r.test/",
        "agent": "browser/1",
    }


HOSTILE = [
    b'"',
    b"\\",
    b'\\"',
    b'","status":200,"x":"',
    b"\xff\xfe",
    b"\xc3\xa9",
    b"a\tb",
    b"%00 %n",
    b"\xe2\x80\xa8",
]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", [b"Referer", b"User-Agent"])
def test_hostile_fields_in_json(site: Site, client: Peer, field: bytes, value: bytes) -> None:
    client >> b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b": x" + value + b"y\r\n\r\n"
    site.backend >> OK
    (line,) = parsed(site)
    assert set(line) == {
        "time", "id", "client", "method", "target", "status", "bytes", "ms", "slot", "backend", "referer", "agent"
    }  # fmt: skip
    shown = line["referer" if field == b"Referer" else "agent"]
    assert re.fullmatch(r"x(?:[ -~])+y", shown)
    assert line["status"] == 200


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", [b"Referer", b"User-Agent"])
def test_hostile_fields_in_combined(build: Callable[..., Site], field: bytes, value: bytes) -> None:
    site = build(format="combined")
    client = site.client()
    client >> b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b": x" + value + b"y\r\n\r\n"
    site.backend >> OK
    (line,) = site.finish()
    match = COMBINED.fullmatch(line)
    assert match, line
    assert match[1] == "200"


@pytest.mark.parametrize("target", ["/a?b=\\", "/a?b={}`", "/a'b", "/?" + "x" * 5000])
def test_hostile_targets(build: Callable[..., Site], target: str) -> None:
    for format in ("json", "combined"):
        site = build(format=format)
        site.piecewise = False
        client = site.client()
        client >> head(f"GET {target} HTTP/1.1", "Host: a")
        site.backend >> OK
        (line,) = site.finish()
        if format == "json":
            assert json.loads(line)["target"] == target
        else:
            assert COMBINED.fullmatch(line), line


def test_the_combined_format(build: Callable[..., Site]) -> None:
    site = build(format="combined")
    client = site.client()
    client >> head("GET /a HTTP/1.0", "Host: a", "Referer: http://r.test/", "User-Agent: browser/1")
    site.backend >> OK
    assert site.finish() == [
        '203.0.113.7 - - [14/Nov/2023:22:13:20 +0000] "GET /a HTTP/1.0" 200 2 "http://r.test/" "browser/1"'
    ]


@pytest.mark.parametrize("format", ["json", "combined"])
def test_every_kind_of_end_has_its_line(build: Callable[..., Site], format: str) -> None:
    site = build(format=format)
    ends: list[int] = []

    def client_of(status: int) -> Peer:
        ends.append(status)
        return site.client()

    client_of(200) >> GET
    site.backend >> OK
    client_of(400) >> b"\0garbage"
    client_of(405) >> head("TRACE / HTTP/1.1", "Host: a")
    client_of(502) >> GET
    site.backend >> EOF  # of a kept connection, so it is sent once more
    site.backend >> EOF
    client_of(499) >> GET
    site.clients[-1] >> RESET
    client_of(200) >> GET
    site.backend >> head("HTTP/1.1 200 OK", "Content-Length: 5") + b"he"
    site.backend >> EOF
    site.backend.refuses = True
    client_of(503) >> GET
    lines = site.finish()
    if format == "json":
        shown = [json.loads(line) for line in lines]
        assert [line["status"] for line in shown] == ends
        assert len({line["id"] for line in shown}) == len(ends)
        assert shown[1]["method"] == shown[1]["target"] == ""
        assert [line["backend"] for line in shown][-1] == "-"
    else:
        assert [int(line.split('" ')[1][:3]) for line in lines] == ends


def test_a_response_that_did_not_reach_its_client_whole_says_so(site: Site, client: Peer) -> None:
    """Whoever cut it off. A page in place of a response, a request without an answer and a tunnel's end are no cuts."""
    sized = head("HTTP/1.1 200 OK", "Content-Length: 5")
    upgrade = head("GET / HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: x")
    client >> GET
    site.backend >> sized + b"he"
    site.backend >> EOF
    leaving = site.client()
    leaving >> GET
    site.backend >> sized + b"he"
    leaving >> RESET
    whole = site.client()
    whole >> GET
    site.backend >> sized + b"hello"
    whole >> GET
    site.backend >> b"garbage\r\n\r\n"
    whole >> GET
    whole >> RESET
    tunnel = site.client()
    tunnel >> upgrade
    site.backend >> head("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: x")
    tunnel >> RESET
    lines = parsed(site)
    assert [(line["status"], line.get("cut")) for line in lines] == [
        (200, True), (200, True), (200, None), (502, None), (499, None), (101, None)
    ]  # fmt: skip
    assert [line["bytes"] for line in lines] == [2, 2, 5, 0, 0, 0]


@WHOLE
def test_long_fields_are_cut_and_not_remembered(site: Site, client: Peer, piecewise: bool) -> None:
    """Each byte of them may take five in the log, and a head may be all one field."""
    for letter in (b"a", b"b"):
        client >> b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + letter + b"\xff" * 30_000 + b"\r\n\r\n"
        site.backend >> OK
    first, second = site.finish()
    assert json.loads(first)["agent"] == "a" + r"\xff" * 4095
    assert json.loads(second)["agent"] == "b" + r"\xff" * 4095
    assert len(first) < 21_000
