"""Listening sockets that a service manager has opened for us (sd_listen_fds(3), systemd.socket(5))."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from proxy.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from proxy.address import Endpoint

_FIRST: Final = 3
_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def given_sockets(environment: MutableMapping[str, str], pid: int) -> list[socket.socket]:
    """The sockets meant for this process; none at an ordinary start. The variables are taken out."""
    found = {name: environment.pop(name, "") for name in _VARIABLES}
    if found["LISTEN_PID"] != str(pid) or not found["LISTEN_FDS"].isdigit():
        return []
    sockets = []
    for descriptor in range(_FIRST, _FIRST + int(found["LISTEN_FDS"])):
        os.set_inheritable(descriptor, False)
        given = socket.socket(fileno=descriptor)
        given.setblocking(False)
        sockets.append(given)
    return sockets


def by_endpoint(sockets: Iterable[socket.socket], endpoints: Iterable[Endpoint]) -> dict[Endpoint, list[socket.socket]]:
    """Which of them is for which address of `listen`. Raises ConfigurationError when one is for none of them."""
    addresses = {_resolved(endpoint): endpoint for endpoint in endpoints}
    found: dict[Endpoint, list[socket.socket]] = {}
    for given in sockets:
        listens = given.type == socket.SOCK_STREAM and given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        name = given.getsockname()
        endpoint = addresses.get(tuple(name[:2])) if listens and isinstance(name, tuple) else None
        if endpoint is None:
            raise ConfigurationError(
                f"the service manager gave a socket for {_shown(name)}, which listen does not name",
                "make ListenStream= in the socket unit and listen the same; `proxy systemd` prints the unit",
            )
        found.setdefault(endpoint, []).append(given)
    return found


def _resolved(endpoint: Endpoint) -> tuple[str, int]:
    try:
        address = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][
            4
        ]
    except OSError:
        return endpoint.host, endpoint.port
    return str(address[0]), int(address[1])


def _shown(name: object) -> str:
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else f"{name!r}"
