"""Hostile bytes from both sides at once, in any pieces: nothing breaks, all is counted, no request is smuggled."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from playbook import CLOSED, EOF, GET, RESET, head

from tests.fuzz import mutate, readers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playbook import Peer, Site

SEEDS = range(40)
CLIENTS = 25
TURNS = 6
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"


def in_pieces(source: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(source.randrange(len(data) + 1) for _ in range(source.choice((0, 0, 1, 3))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if start < end]


def say(source: random.Random, peer: Peer, make: Callable[[random.Random], bytes], good: bytes) -> None:
    """A message or two, good or broken anywhere; then perhaps the end."""
    messages = [good if source.random() < 0.6 else mutate.mutated(source, make(source)) for _ in range(2)]
    data = b"".join(messages[: source.choice((1, 1, 2))])
    for piece in in_pieces(source, data):
        if not peer.ended and not peer.wire.lost:
            peer >> piece
    if not peer.wire.lost and source.random() < 0.05:
        peer >> (RESET if peer.ended else source.choice((EOF, CLOSED, RESET)))


def requests_in(data: bytes) -> list[bytes]:
    """The ids of the requests that a strict reader finds, up to one that is not whole or may become a tunnel."""
    ids = []
    while data:
        message = readers.h11_request(data)
        if message is None:
            break
        names = [name for name, _ in message.fields]
        assert b"via" in names, "it did not come from the proxy"
        ids += [value for name, value in message.fields if name == b"x-request-id"]
        if b"upgrade" in names:
            break  # what follows may be a tunnel's
        data = data[message.end :]
    return ids


@pytest.mark.parametrize("piecewise", [False], ids=["whole"])
@pytest.mark.parametrize("seed", SEEDS)
def test_hostile_bytes_on_both_sides(site: Site, seed: int) -> None:
    source = random.Random(seed)
    for _ in range(CLIENTS):
        client = site.client()
        for _ in range(TURNS):
            if not client.wire.lost and not client.ended:
                say(source, client, mutate.request, GET)
            for backend in site.backend.connections[-2:]:
                if not backend.wire.lost and not backend.ended:
                    say(source, backend, mutate.response, OK)
            if source.random() < 0.1:
                site.wait(source.choice((0.5, 20.0, 70.0)))
    seen = [requests_in(site.normal_form(bytes(peer.wire.output))) for peer in site.backend.connections]
    lines = site.finish()
    assert len(lines) >= CLIENTS
    assert sum(map(len, seen)) > CLIENTS // 2
    for ids in seen:
        assert len(set(ids)) == len(ids)
