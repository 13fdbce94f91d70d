"""The settings of `proxy.yaml`, frozen. Durations are seconds, sizes are bytes.

Relative paths are relative to the directory in which the proxy was started. `proxy.config_file.load` reads
the file; workers get the settings as JSON (`model_dump_json`, `model_validate_json`).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from proxy.address import (
    AdminUrl,
    BackendAddress,
    Endpoint,
    ListenUrl,
    Name,
    UnixEndpoint,
    parse_admin,
    parse_listen,
)
from proxy.units import Duration, PositiveDuration, Size

_HOST = re.compile(r"\*|\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*")
_TARGET_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _host(value: str) -> str:
    host = value.lower().removesuffix(".")
    if _HOST.fullmatch(host) is None:
        raise ValueError('a host name without port such as shop.example.org, or "*" for every host')
    return host


def _path_prefix(value: str) -> str:
    if value != "/" and (_TARGET_PATH.fullmatch(value) is None or value.endswith("/") or "//" in value):
        raise ValueError('a path that begins with / and does not end with / (or "/" alone), such as /shop')
    return value


def _static_prefix(value: str) -> str:
    if _TARGET_PATH.fullmatch(value) is None or not value.endswith("/") or "//" in value:
        raise ValueError("a path that begins and ends with /, such as /static/")
    return value


def _request_path(value: str) -> str:
    if re.fullmatch(r"/[!-~]*", value) is None or "#" in value:
        raise ValueError("a path that begins with / and holds no blanks, such as /health")
    return value


def _cookie_name(value: str) -> str:
    if _TOKEN.fullmatch(value) is None:
        raise ValueError("a cookie name such as JSESSIONID, or null for no session barrier")
    return value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError("an address range such as 10.0.0.0/8 or 192.0.2.7/32") from error


def _worker_count(value: object) -> object:
    if value == "auto" or value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 256:
        raise ValueError("auto (one a core), or a whole number from 1 to 256")
    return value


def _user_name(value: str) -> str:
    if _USER.fullmatch(value) is None:
        raise ValueError("a user's name such as www-data, or null for whoever starts the proxy")
    return value


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AdminSettings(_Settings):
    """Where the admin API listens. Without a token only on loopback or on a unix socket."""

    listen: AdminUrl = "http://127.0.0.1:9900"
    token_file: Annotated[str, Field(min_length=1)] | None = None

    @property
    def endpoint(self) -> Endpoint | UnixEndpoint:
        """`listen`, parsed."""
        return parse_admin(self.listen)


class AccessLogSettings(_Settings):
    """`path` "-" is standard output."""

    path: Annotated[str, Field(min_length=1)] = "-"
    format: Literal["json", "combined", "off"] = "json"


class Timeouts(_Settings):
    """Seconds. `stop` bounds a graceful stop; `barrier` a session's wait for its exchange on the old slot."""

    header: PositiveDuration = 10.0
    idle: PositiveDuration = 75.0
    body: PositiveDuration = 60.0
    connect: PositiveDuration = 2.0
    response: PositiveDuration = 60.0
    upstream_idle: PositiveDuration = 30.0
    barrier: Duration = 2.0
    stop: PositiveDuration = 30.0


class Limits(_Settings):
    """`connections` and `held` are per worker. `hold` (seconds) bounds a held request's wait.

    `min_rate` (bytes a second) is for clients that send a body or read a response, averaged over `timeouts.body`.
    """

    header_bytes: Annotated[Size, Field(ge=1024, le=1024 * 1024)] = 32 * 1024
    headers: Annotated[int, Field(ge=1, le=10_000)] = 100
    body: Size | None = 1024**3
    min_rate: Annotated[Size, Field(ge=1)] | None = 256
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    held: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    hold: PositiveDuration = 10.0


class HealthSettings(_Settings):
    """Active probes: `rise` successes in a row call a backend up, `fall` failures in a row call it down."""

    path: Annotated[str, AfterValidator(_request_path)] = "/health"
    interval: Annotated[PositiveDuration, Field(ge=0.05)] = 2.0
    timeout: PositiveDuration = 1.0
    rise: Annotated[int, Field(ge=1, le=1000)] = 2
    fall: Annotated[int, Field(ge=1, le=1000)] = 3


class StaticSettings(_Settings):
    """Paths under `prefix` are files under `root`, unless the slot has a `static_root` of its own."""

    prefix: Annotated[str, AfterValidator(_static_prefix)] = "/static/"
    root: Annotated[str, Field(min_length=1)]


class SlotSettings(_Settings):
    """Where one release of the app runs."""

    backends: Annotated[tuple[BackendAddress, ...], Field(min_length=1, max_length=256)]
    static_root: Annotated[str, Field(min_length=1)] | None = None


class AppSettings(_Settings):
    """One web application, by host and longest `path` prefix. `active` counts on the first start only."""

    hosts: Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], Field(min_length=1)] = ("*",)
    path: Annotated[str, AfterValidator(_path_prefix)] = "/"
    slots: Annotated[dict[Name, SlotSettings], Field(min_length=1, max_length=64)]
    active: Name = "production"
    health: HealthSettings | None = HealthSettings()
    session_cookie: Annotated[str, AfterValidator(_cookie_name)] | None = "JSESSIONID"
    static: StaticSettings | None = None


class Settings(_Settings):
    """All of proxy.yaml. `workers` None: one a core. `user` None: whoever starts it."""

    listen: Annotated[tuple[ListenUrl, ...], Field(min_length=1, max_length=64)] = ("http://0.0.0.0:8080",)
    workers: Annotated[int | None, BeforeValidator(_worker_count)] = None
    user: Annotated[str, AfterValidator(_user_name)] | None = None
    admin: AdminSettings = AdminSettings()
    state_dir: Annotated[str, Field(min_length=1)] = "var/proxy"
    access_log: AccessLogSettings = AccessLogSettings()
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = ()
    apps: Annotated[dict[Name, AppSettings], Field(min_length=1, max_length=1000)]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """`listen`, parsed, in the same order."""
        return tuple(parse_listen(url) for url in self.listen)
