"""The servers and their ports; their configurations are the benchmark's own."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

from benchmarks.model import OURS, Source
from benchmarks.servers import SERVERS, BenchError, Server

FIRST_PORT: Final = 21000
BACKEND_PORT: Final = 21010
NOWHERE_PORT: Final = 21011
ADMIN_PORT: Final = 21012
RELAY: Final = "relay"
_NAMES: Final = (OURS, "nginx", "haproxy", "caddy")
_RELAY: Final = Server(
    name=RELAY,
    title="a blind relay",
    port=0,
    argv=(sys.executable, "-m", "benchmarks.conformance.relay", "--port", "@PORT@", "--backend-port", "@BACKEND_PORT@"),
    version=(sys.executable, "--version"),
    serves=(Source.PROXIED,),
)


def _as_compared(server: Server) -> Server:
    """nginx passes an Upgrade on only where its configuration says so."""
    return replace(server, title="nginx", template="conformance-nginx.conf") if server.name == "nginx" else server


CONFORMANCE: Final = tuple(
    replace(_as_compared(server), port=FIRST_PORT + index)
    for index, server in enumerate((*(server for server in SERVERS if server.name in _NAMES), _RELAY))
)


def choose(names: tuple[str, ...]) -> tuple[Server, ...]:
    """The servers of these names in a fixed order, all when none is named. Raises BenchError for an unknown name."""
    unknown = set(names) - {server.name for server in CONFORMANCE}
    if unknown:
        known = ", ".join(server.name for server in CONFORMANCE)
        raise BenchError(f"no server is called {', '.join(sorted(unknown))}", f"choose from {known}")
    return tuple(server for server in CONFORMANCE if not names or server.name in names)


def serves_files(server: Server) -> bool:
    return Source.STATIC in server.serves
