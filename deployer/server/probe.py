"""Asks a slot's private port, and says who is in the way of it."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Protocol

from deployer.errors import InstanceError
from deployer.server import ports

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROBE_BODY = 200


class Health(Protocol):
    """How an application shows that it works. path: with the context path, None for no probe."""

    @property
    def path(self) -> str | None:
        """Such as "/health"."""

    @property
    def successes(self) -> int:
        """How many answers with status 200 in a row count as ready."""


def probe(address: str, port: int, path: str, timeout: float) -> str:
    """The status of one GET, and how its body begins unless it is 200; or why there was no answer.

    timeout: seconds for connecting and for each read.
    """
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Connection": "close", "User-Agent": "switchyard-deployer"})
        response = connection.getresponse()
        if response.status == http.client.OK:
            return "200"
        words = " ".join(response.read(_PROBE_BODY).decode(errors="replace").split())
        return f"{response.status} {words}".rstrip()
    except (OSError, http.client.HTTPException) as why:
        return str(why) or type(why).__name__
    finally:
        connection.close()


def connects(address: str, port: int) -> bool:
    """Whether someone listens there."""
    try:
        with socket.create_connection((address, port), timeout=1.0):
            return True
    except OSError:
        return False


def port_obstacles(slot: str, address: str, wanted: Mapping[str, int]) -> list[InstanceError]:
    """Which of the slot's ports can't be listened on, and who has them. wanted: ports by their key in `slots`."""
    found = []
    for key, port in wanted.items():
        problem = ports.bindable(address, port)
        setting = f"slots.{slot}.{key}"
        if problem == "taken":
            found.append(InstanceError(str(ports.holder(port)), f"stop it, or set {setting}"))
        elif problem:
            found.append(
                InstanceError(f"port {port} cannot be listened on: {problem}", f"set {setting} to another port")
            )
    return found
