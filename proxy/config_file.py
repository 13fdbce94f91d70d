"""proxy.yaml -> Settings. Every error is found at once and named by its key's path and line."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, TypeVar

from proxy.address import Endpoint, parse_admin, parse_backend, parse_listen
from proxy.checked_yaml import NotValid, Schema, shown
from proxy.errors import ConfigurationError
from proxy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.yaml_lines import Path

_T = TypeVar("_T")


def load(path: str) -> Settings:
    """Reads and checks a configuration file. Raises ConfigurationError with every finding."""
    try:
        return _schema().read(FilePath(path).read_bytes(), path)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: can't be read: {error.strerror}", "give the configuration file with -c"
        ) from error
    except NotValid as error:
        raise ConfigurationError(str(error)) from error


def loads(text: str, name: str = "proxy.yaml") -> Settings:
    """As `load`, from text; `name` stands before each finding."""
    try:
        return _schema().loads(text, name)
    except NotValid as error:
        raise ConfigurationError(str(error)) from error


def _schema() -> Schema[Settings]:
    return Schema(Settings, "listen and apps", _cross_checks, {})


# --- checks across keys: they read the raw data, so that they also run when other keys are wrong ------------


def _cross_checks(data: dict[str, object]) -> Iterator[tuple[Path, str]]:
    yield from _listen_checks(data)
    apps = data.get("apps")
    if not isinstance(apps, dict):
        return
    places: dict[tuple[str, str], str] = {}
    for name, app in apps.items():
        if isinstance(app, dict):
            yield from _active_check(name, app)
            yield from _backend_checks(name, app)
            yield from _host_checks(name, app, places)


def _parsed(parser: Callable[[str], _T], value: object) -> _T | None:
    if not isinstance(value, str):
        return None
    try:
        return parser(value)
    except ValueError:
        return None


def _listen_checks(data: dict[str, object]) -> Iterator[tuple[Path, str]]:
    seen: dict[Endpoint, int] = {}
    listen = data.get("listen", ["http://0.0.0.0:8080"])
    for index, url in enumerate(listen if isinstance(listen, list) else ()):
        endpoint = _parsed(parse_listen, url)
        if endpoint is None:
            continue
        if endpoint in seen:
            yield ("listen", index), f"found {shown(url)}, which listen[{seen[endpoint]}] has too"
        seen.setdefault(endpoint, index)
    admin = data.get("admin", {})
    if not isinstance(admin, dict):
        return
    url = admin.get("listen", "http://127.0.0.1:9900")
    where = _parsed(parse_admin, url)
    if not isinstance(where, Endpoint):
        return
    if where in seen:
        yield ("listen", seen[where]), f"found {shown(url)}, which admin.listen has too"
    if not where.is_loopback and admin.get("token_file") is None:
        yield (
            ("admin", "listen"),
            f"found {shown(url)}, which other machines can reach; allowed without admin.token_file: "
            "a loopback address such as http://127.0.0.1:9900, or unix:PATH",
        )


def _active_check(name: str, app: dict[str, object]) -> Iterator[tuple[Path, str]]:
    slots = app.get("slots")
    active = app.get("active", "production")
    if isinstance(slots, dict) and slots and isinstance(active, str) and active not in slots:
        yield ("apps", name, "active"), f"found {shown(active)}, allowed: {', '.join(slots)}"


def _backend_checks(name: str, app: dict[str, object]) -> Iterator[tuple[Path, str]]:
    slots = app.get("slots")
    seen: dict[Endpoint, str] = {}
    for slot, value in slots.items() if isinstance(slots, dict) else ():
        backends = value.get("backends") if isinstance(value, dict) else None
        for index, address in enumerate(backends if isinstance(backends, list) else ()):
            endpoint = _parsed(parse_backend, address)
            if endpoint is None:
                continue
            if endpoint in seen:
                yield (
                    ("apps", name, "slots", slot, "backends", index),
                    f"found {shown(address)}, which {seen[endpoint]} has too",
                )
            seen.setdefault(endpoint, f"slots.{slot}.backends[{index}]")


def _host_checks(name: str, app: dict[str, object], places: dict[tuple[str, str], str]) -> Iterator[tuple[Path, str]]:
    path = app.get("path", "/")
    hosts = app.get("hosts", ["*"])
    if not isinstance(path, str) or not isinstance(hosts, list):
        return
    for index, host in enumerate(hosts):
        if not isinstance(host, str):
            continue
        place = (host.lower().removesuffix("."), path)
        if place in places:
            yield (
                ("apps", name, "hosts", index),
                f"found {shown(host)} with path {shown(path)}, which {places[place]} has too",
            )
        places.setdefault(place, f"apps.{name}.hosts[{index}]")
