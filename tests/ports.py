"""Ports for the servers that tests start.

A server binds its port some time after the port was chosen. So none is of those that the kernel gives to clients and to
who asks for any port (32768 to 60999), and each of pytest's processes (pytest-xdist) has its own.
"""

from __future__ import annotations

import os
import random
import socket
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST: Final = 20_000
EACH: Final = 1_500
PROCESSES: Final = 8


def _own() -> Iterator[int]:
    """This process's ports in turn, again and again, beginning somewhere: the next run has others."""
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PROCESSES
    first = FIRST + process * EACH
    start = random.randrange(EACH)
    while True:
        yield from chain(range(first + start, first + EACH), range(first, first + start))


_PORTS: Final = _own()


def first_free(ports: Iterable[int]) -> int:
    """The first of `ports` that nobody has now."""
    for port in ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def free_port() -> int:
    """One that nobody has now."""
    return first_free(_PORTS)


def free_ports(count: int) -> list[int]:
    """So many of them."""
    return [free_port() for _ in range(count)]
