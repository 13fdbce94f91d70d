"""`user@server:port`, as it is typed after --host."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployer.errors import ConfigurationError

_FORM = re.compile(
    r"(?:(?P<user>[A-Za-z0-9._][A-Za-z0-9._-]*)@)?"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._][A-Za-z0-9._-]*))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A server. None: what ~/.ssh/config says, else this user's name and port 22."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{user}{host}{port}"

    @property
    def ssh(self) -> str:
        """How to type it after `ssh`."""
        port = f"-p {self.port} " if self.port else ""
        user = f"{self.user}@" if self.user else ""
        return f"{port}{user}{self.host}"


def parse_address(text: str) -> Address:
    """Reads `[user@]server[:port]`, `[user@][v6]:port`. Raises ConfigurationError."""
    found = _FORM.fullmatch(text)
    port = int(found["port"]) if found and found["port"] else None
    if found is None or (port is not None and not 1 <= port <= 65535):
        raise ConfigurationError(
            f"--host {text!r} is not user@server or user@server:port",
            "such as deploy@shop.example.org:22; an IPv6 address stands in brackets",
        )
    return Address(found["v6"] or found["name"], found["user"], port)
