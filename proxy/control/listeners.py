"""The listening sockets: with SO_REUSEPORT one per public address and worker, or those that a service manager gave.

The supervisor keeps them open, so that connections queued for a worker that dies wait for its successor. A socket
whose worker is no longer wanted is given to another worker and not closed: closing it would reset its queue.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from proxy.address import Endpoint
from proxy.control.handover import AddressPart, ListenersPart
from proxy.control.port_holder import port_holder
from proxy.errors import ConfigurationError, RefusedError
from proxy.net.syn_filter import drop_new_connections

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BACKLOG: Final = 4096
KEEPALIVE_IDLE: Final = 60
KEEPALIVE_INTERVAL: Final = 15
KEEPALIVE_PROBES: Final = 4
"""A client that answers no probe is given up after two minutes of silence (seconds; tcp(7))."""


class Listeners:
    """`at(position)` is what one of `positions` workers gets. Closing this leaves a worker its own descriptors.

    `given`: addresses whose sockets are a service manager's. It may start us anew with them, so they are never
    closed to others, and no further ones can be opened beside them.
    """

    def __init__(
        self, sockets: Mapping[Endpoint, list[socket.socket]], positions: int, given: Iterable[Endpoint] = ()
    ) -> None:
        self.sockets = sockets
        self.positions = positions
        self.given = frozenset(given)

    @classmethod
    def open(
        cls, endpoints: Iterable[Endpoint], positions: int, old: Listeners | None = None, *, listening: bool = True
    ) -> Listeners:
        """Takes over what `old` has of the same addresses, and opens what is missing.

        `listening`: the kernel queues connections for what is opened here at once, so that clients wait for the
        workers and are not refused. Else it does from the moment when a worker accepts them, so that nobody waits, or
        is reset in the end, while others serve the address.
        Raises RefusedError or ConfigurationError when an address can't be had; then `old` is as before.
        """
        before = old.sockets if old is not None else {}
        given = old.given if old is not None else frozenset()
        wanted = list(endpoints)
        for endpoint in given - set(wanted):
            raise ConfigurationError(
                f"the service manager gave a socket for {endpoint}, which listen does not name",
                f"add http://{endpoint} to listen, or take it from the socket unit",
            )
        sockets = {endpoint: list(before.get(endpoint, ())) for endpoint in wanted}
        opened: list[socket.socket] = []
        try:
            for endpoint, of_endpoint in sockets.items():
                while endpoint not in given and len(of_endpoint) < positions:
                    opened.append(_opened(endpoint, listening=listening))
                    of_endpoint.append(opened[-1])
        except BaseException:
            for each in opened:
                each.close()
            raise
        return cls(sockets, positions, given)

    def hand_over(self) -> ListenersPart:
        return ListenersPart(
            addresses=[
                AddressPart(
                    host=endpoint.host,
                    port=endpoint.port,
                    sockets=[each.fileno() for each in of_endpoint],
                    given=endpoint in self.given,
                )
                for endpoint, of_endpoint in self.sockets.items()
            ],
            positions=self.positions,
        )

    @classmethod
    def taken_over(cls, part: ListenersPart) -> Listeners:
        """Takes the descriptors as its own."""
        sockets = {
            Endpoint(address.host, address.port): [socket.socket(fileno=each) for each in address.sockets]
            for address in part.addresses
        }
        given = (Endpoint(address.host, address.port) for address in part.addresses if address.given)
        return cls(sockets, part.positions, given)

    def at(self, position: int) -> list[socket.socket]:
        """Each socket has a worker, and each worker a socket of each address: too few are shared."""
        return [each for endpoint in self.sockets for each in self._at(endpoint, position)]

    def lent_at(self, position: int) -> list[socket.socket]:
        """Those of `at` that are a service manager's."""
        return [each for endpoint in self.sockets if endpoint in self.given for each in self._at(endpoint, position)]

    def _at(self, endpoint: Endpoint, position: int) -> list[socket.socket]:
        of_endpoint = self.sockets[endpoint]
        return of_endpoint[position :: self.positions] or [of_endpoint[position % len(of_endpoint)]]

    def drop_new_connections(self) -> None:
        """For the last stop: what is queued can still be accepted, and nothing more comes."""
        for endpoint, of_endpoint in self.sockets.items():
            for opened in of_endpoint if endpoint not in self.given else ():
                with suppress(OSError):  # Without the filter, what comes in the very last moment is reset.
                    drop_new_connections(opened)

    def close(self, keep: Listeners | None = None) -> None:
        """Closes all but those that `keep` has too."""
        kept = (
            {id(each) for of_endpoint in keep.sockets.values() for each in of_endpoint} if keep is not None else set()
        )
        for of_endpoint in self.sockets.values():
            for each in of_endpoint:
                if id(each) not in kept:
                    each.close()

    def __repr__(self) -> str:
        addresses = ", ".join(f"{len(of_endpoint)} for {endpoint}" for endpoint, of_endpoint in self.sockets.items())
        return f"<Listeners {addresses or 'none'}>"


def _opened(endpoint: Endpoint, *, listening: bool) -> socket.socket:
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
        # Accepted connections inherit these: a client that has vanished would else keep its stream for an hour.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(address)
        if listening:
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
        advice = f"set {key} to a port of 1024 or above, or start as root and set `user`"
        return ConfigurationError(f"not allowed to listen on port {endpoint.port}", advice)
    return ConfigurationError(f"can't listen on {endpoint}: {error.strerror}", f"set {key} to an own address")
