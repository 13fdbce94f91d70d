"""The listening sockets: one per public address and worker position, all with SO_REUSEPORT.

The supervisor keeps them open, so that connections queued for a worker that dies wait for its successor.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Final

from proxy.control.port_holder import port_holder
from proxy.errors import ConfigurationError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.address import Endpoint

BACKLOG: Final = 4096


class Listeners:
    """`at(position)` is what one worker gets. Closing this leaves a worker its own descriptors."""

    def __init__(self, by_position: dict[tuple[Endpoint, int], socket.socket]) -> None:
        self._sockets = by_position

    @classmethod
    def open(cls, endpoints: Iterable[Endpoint], positions: int, old: Listeners | None = None) -> Listeners:
        """Takes over what `old` has of the same addresses and positions, and opens the rest.

        Raises RefusedError or ConfigurationError when an address can't be had; then `old` is as before.
        """
        have = old._sockets if old is not None else {}
        sockets: dict[tuple[Endpoint, int], socket.socket] = {}
        try:
            for endpoint in endpoints:
                for position in range(positions):
                    key = (endpoint, position)
                    sockets[key] = have[key] if key in have else _listen(endpoint)
        except BaseException:
            for key, opened in sockets.items():
                if key not in have:
                    opened.close()
            raise
        return cls(sockets)

    def at(self, position: int) -> list[socket.socket]:
        return [opened for (_, other), opened in self._sockets.items() if other == position]

    def close(self, keep: Listeners | None = None) -> None:
        """Closes all but those that `keep` has too."""
        for key, opened in self._sockets.items():
            if keep is None or keep._sockets.get(key) is not opened:
                opened.close()

    def __repr__(self) -> str:
        addresses = sorted({str(endpoint) for endpoint, _ in self._sockets})
        return f"<Listeners {', '.join(addresses)}: {len(self._sockets)} sockets>"


def _listen(endpoint: Endpoint) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigurationError(f"can't listen on {endpoint}: {error.strerror}", "set listen to an own address") from (
            error
        )
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise cannot_listen(endpoint, error, "listen") from error
    opened.setblocking(False)
    return opened


def cannot_listen(endpoint: Endpoint, error: OSError, key: str) -> RefusedError | ConfigurationError:
    """The error for an operator; `key` is the setting to change."""
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(endpoint.port)
        who = f" by {holder}" if holder else ""
        return RefusedError(f"port {endpoint.port} is taken{who}", f"stop it, or set {key} to another port")
    if error.errno == errno.EACCES:
        advice = f"set {key} to a port of 1024 or above, or run as root"
        return ConfigurationError(f"not allowed to listen on port {endpoint.port}", advice)
    return ConfigurationError(f"can't listen on {endpoint}: {error.strerror}", f"set {key} to an own address")
