"""Tells the service manager how far we are (sd_notify(3)): a datagram of KEY=VALUE lines."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping

VARIABLE: Final = "NOTIFY_SOCKET"


class Notifier:
    """`address`: a unix socket's path, or @ and an abstract name; "" when nobody wants to know."""

    def __init__(self, address: str) -> None:
        self.address = address

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> Notifier:
        """Takes the address out of it, so that no child speaks in our name."""
        return cls(environment.pop(VARIABLE, ""))

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Until the next `ready`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", f"STATUS={status}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=Requests under way are answered")

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        # A service manager that has gone away is no reason to end.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
            sending.sendto("\n".join(lines).encode(), address)

    def __repr__(self) -> str:
        return f"<Notifier {self.address or 'of nobody'}>"
