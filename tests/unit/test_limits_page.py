"""docs/limits.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.control import listeners
from proxy.core import routes
from proxy.http1 import body, head
from proxy.net import accepting, downstream, exchange, pool, server, upstream
from proxy.settings import Limits, Timeouts

PAGE = (Path(__file__).parents[2] / "docs/limits.md").read_text()
KIB = 1024


def row(what: str) -> str:
    """The bound that the page states."""
    found = re.search(rf"^\| {re.escape(what)} \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE)
    assert found is not None, what
    return f"{found[1]} | {found[2]}"


@pytest.mark.parametrize(
    ("what", "stated"),
    [
        ("request line", f"{head.MAX_REQUEST_LINE:,} bytes"),
        ("a chunk's line", f"{body.MAX_CHUNK_LINE:,} bytes"),
        (
            "chunk extensions and superfluous zeros, together",
            f"{body.MAX_SURPLUS // KIB} KiB and a sixteenth of the payload; one zero is free",
        ),
        ("trailers", f"{body.MAX_TRAILERS // KIB} KiB, {body.MAX_TRAILER_FIELDS} fields"),
        ("passes through this proxy (`Via`)", f"{head.MAX_PASSES} |"),
        ("segments that may be read in two ways (`;`, `%2e`, `//`)", f"{routes.MAX_AMBIGUOUS} |"),
        ("connections, each worker", f"the {server.CLOSED_AT_LIMIT} that"),
        ("requests sent behind an open one", f"{downstream.MAX_PIPELINED // KIB} KiB and one read"),
        ("of these answered in a row", f"{downstream.PIPELINE_TURN} |"),
        ("connections whose requests are begun in one turn of the event loop", f"{server.TURN_REQUESTS:,} |"),
        ("clients accepted in one turn", f"{accepting.FEW}, and twice as many"),
        ("clients accepted in one turn", f"up to {accepting.MANY:,} |"),
        ("response that the client has not read", f"{downstream.WRITE_BUFFER // KIB} KiB and one read"),
        ("upload that the backend has not read", f"{upstream.WRITE_BUFFER // KIB} KiB and one read"),
        ("upload that waits for a switch or a connection", f"{exchange.MAX_REPLAY // KIB} KiB and one read"),
        (
            "upload that goes on after its response",
            f"{downstream.MAX_LINGER_BYTES // KIB // KIB} MiB, and {downstream.LINGER_SECONDS:.0f} s",
        ),
        (
            f"a connection that said nothing for {listeners.KEEPALIVE_IDLE} s",
            f"{listeners.KEEPALIVE_PROBES} probes, {listeners.KEEPALIVE_INTERVAL} s apart",
        ),
        ("head", f"{upstream.MAX_RESPONSE_HEAD // KIB} KiB | 502"),
        ("interim responses (1xx) before it", f"{upstream.MAX_INTERIM} |"),
        ("connections that are being made to one backend, each worker", f"{pool.MAX_CONNECTING} |"),
        ("attempts", f"at most {exchange.MAX_REPLAY // KIB} KiB"),
    ],
)
def test_a_fixed_bound_is_the_code_s(what: str, stated: str) -> None:
    rows = re.findall(rf"^\| {re.escape(what)} \| (.*) \|$", PAGE, re.MULTILINE)
    assert any(stated in text for text in rows), (stated, rows)


@pytest.mark.parametrize("what", ["silence in server-sent events", "silence in a tunnel (WebSocket)"])
def test_silence(what: str) -> None:
    assert downstream.TUNNEL_IDLE == 3600
    assert row(what).startswith("an hour")


def test_every_key_is_named_with_its_default() -> None:
    stated = {
        "limits.header_bytes": "32 KiB",
        "limits.headers": "100",
        "limits.body": "1 GiB",
        "limits.min_rate": "256 bytes a second",
        "limits.connections": "10,000",
        "limits.held": "10,000",
        "limits.hold": "10 s",
        "timeouts.header": "10 s",
        "timeouts.idle": "75 s",
        "timeouts.body": "60 s",
        "timeouts.connect": "2 s",
        "timeouts.response": "60 s",
        "timeouts.upstream_idle": "30 s",
    }
    units = {"KiB": KIB, "GiB": KIB**3, "bytes a second": 1, "s": 1, "": 1}
    for key, text in stated.items():
        assert f"`{key}`: {text}" in PAGE, key
        number, _, unit = text.partition(" ")
        part, name = key.split(".")
        assert (
            getattr(Limits() if part == "limits" else Timeouts(), name) == int(number.replace(",", "")) * units[unit]
        ), key
    keys = {f"limits.{name}" for name in Limits.model_fields}
    assert keys <= stated.keys()
