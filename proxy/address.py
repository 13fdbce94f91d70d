"""Names and network addresses as people write them: `shop`, `127.0.0.1:8081`, `http://0.0.0.0:8080`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, Field

NAME_PATTERN: Final = r"^[a-z][a-z0-9-]{0,31}$"
BACKEND_PATTERN: Final = r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"
_LISTEN: Final = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})/?")
_BACKEND_FORM: Final = "host:port such as 127.0.0.1:8081"
_LISTEN_FORM: Final = "http://ADDRESS:PORT such as http://0.0.0.0:8080"
_UNIX: Final = "unix:"
_UNIX_PATH_BYTES: Final = 107


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP address. `host` has no brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: a loopback IP address, or the name localhost."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A unix socket's path, relative to the current directory."""

    path: str

    def __str__(self) -> str:
        return _UNIX + self.path


def parse_backend(address: str) -> Endpoint:
    """`127.0.0.1:8081` or `[::1]:8081` -> Endpoint. Raises ValueError, whose text says what is allowed."""
    if re.fullmatch(BACKEND_PATTERN, address) is None:
        raise ValueError(_BACKEND_FORM)
    host, _, port = address.rpartition(":")
    return Endpoint(_checked_host(host, _BACKEND_FORM), _checked_port(port))


def parse_listen(url: str) -> Endpoint:
    """`http://0.0.0.0:8080` -> Endpoint. Raises ValueError, whose text says what is allowed."""
    match = _LISTEN.fullmatch(url)
    if match is None:
        raise ValueError(_LISTEN_FORM)
    if match[1] == "https":
        raise ValueError(f"{_LISTEN_FORM}; https is not supported yet")
    return Endpoint(_checked_host(match[2], _LISTEN_FORM), _checked_port(match[3]))


def parse_admin(url: str) -> Endpoint | UnixEndpoint:
    """`http://127.0.0.1:9900` or `unix:var/admin.sock` -> where. Raises ValueError: what is allowed."""
    if url.startswith(_UNIX):
        path = url.removeprefix(_UNIX)
        if not path or "\0" in path or len(path.encode()) > _UNIX_PATH_BYTES:
            raise ValueError(f"unix:PATH, the path of 1 to {_UNIX_PATH_BYTES} bytes")
        return UnixEndpoint(path)
    if _LISTEN.fullmatch(url) is None:
        raise ValueError("http://127.0.0.1:9900 or unix:var/admin.sock")
    return parse_listen(url)


def _checked_host(host: str, form: str) -> str:
    if host.startswith("["):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError as error:
            raise ValueError(form) from error
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise ValueError(form) from error
    return host.lower()


def _checked_port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError("a port from 1 to 65535")
    return port


def _backend(address: str) -> str:
    return str(parse_backend(address))


def _listen(url: str) -> str:
    return f"http://{parse_listen(url)}"


def _admin(url: str) -> str:
    endpoint = parse_admin(url)
    return f"http://{endpoint}" if isinstance(endpoint, Endpoint) else str(endpoint)


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
BackendAddress = Annotated[str, Field(pattern=BACKEND_PATTERN), AfterValidator(_backend)]
ListenUrl = Annotated[str, AfterValidator(_listen)]
AdminUrl = Annotated[str, AfterValidator(_admin)]
