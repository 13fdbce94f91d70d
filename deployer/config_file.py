"""deployer.yaml -> Settings. Every error is found at once and named by its key's path and its line."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Final

from deployer.errors import ConfigurationError
from deployer.settings import CONTROL_PORT_OFFSET, VARIABLE_PATTERN, Settings
from proxy.checked_yaml import NotValid, Schema, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.yaml_lines import Path


def load(path: str) -> Settings:
    """Reads and checks a configuration file. Raises ConfigurationError with every finding."""
    try:
        return _schema().read(FilePath(path).read_bytes(), path)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path}: there is no such file in {FilePath.cwd()}",
            "name it with -c, or make one with `deployer init`",
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror}", "name it with -c") from error
    except NotValid as error:
        raise ConfigurationError(str(error)) from error


def loads(text: str, name: str = "deployer.yaml") -> Settings:
    """As `load`, from text; `name` stands before each finding."""
    try:
        return _schema().loads(text, name)
    except NotValid as error:
        raise ConfigurationError(str(error)) from error


def _schema() -> Schema[Settings]:
    return Schema(Settings, "app and slots", _cross_checks, {VARIABLE_PATTERN: "a variable's name such as DATABASE"})


# --- checks across keys: they read the raw data, so that they also run when other keys are wrong ------------

_KINDS: Final = ("tomcat", "jetty", "command")
_PORTS: Final = ("http_port", "cluster_port", "control_port")


def _cross_checks(data: dict[str, object]) -> Iterator[tuple[Path, str]]:
    yield from _kind_checks(data)
    slots = data.get("slots")
    if not isinstance(slots, dict):
        return
    ports: dict[int, str] = {}
    bases: dict[str, str] = {}
    for name, slot in slots.items():
        if not isinstance(slot, dict):
            continue
        for key in _PORTS if data.get("kind", "tomcat") == "tomcat" else _PORTS[:1]:
            yield from _port_check(name, slot, key, ports)
        base = slot.get("base")
        if isinstance(base, str):
            place = str(FilePath(base).absolute())
            if place in bases:
                yield ("slots", name, "base"), f"found {shown(base)}, which slots.{bases[place]} has too"
            bases.setdefault(place, name)


def _kind_checks(data: dict[str, object]) -> Iterator[tuple[Path, str]]:
    """What one kind of slot needs, and what another one has."""
    kind = data.get("kind", "tomcat")
    if kind not in _KINDS:
        return
    for other in _KINDS:
        if other != kind and data.get(other) is not None:
            yield (other,), f"is for kind: {other}, and this is kind: {kind}"
    if kind == "command" and data.get("command") is None:
        yield ("command",), 'is missing: what starts a slot, such as ["java", "-jar", "{release}"]'
    slots = data.get("slots")
    for name, slot in slots.items() if isinstance(slots, dict) else ():
        if isinstance(slot, dict):
            yield from _kind_of_slot(kind, name, slot)
    sessions = data.get("sessions", {})
    if kind != "tomcat" and isinstance(sessions, dict) and sessions.get("replicate", True) is True:
        yield (
            ("sessions", "replicate"),
            f"found true (the default), allowed: false, because sessions of kind {kind} are not shared between "
            "slots: no release can wait for them, and each switch logs users out",
        )


def _kind_of_slot(kind: str, name: str, slot: dict[str, object]) -> Iterator[tuple[Path, str]]:
    if kind == "tomcat" and slot.get("cluster_port") is None:
        yield ("slots", name, "cluster_port"), "is missing"
    for key in _PORTS[1:] if kind != "tomcat" else ():
        if key in slot:
            yield ("slots", name, key), f"found {shown(slot[key])}, which a slot of kind {kind} has no use for"


def _port_check(name: str, slot: dict[str, object], key: str, seen: dict[int, str]) -> Iterator[tuple[Path, str]]:
    port = slot.get(key)
    where = f"slots.{name}.{key}"
    http = slot.get("http_port")
    if port is None and key == "control_port" and isinstance(http, int):
        port = http + CONTROL_PORT_OFFSET
        where += " (by default)"
    if not isinstance(port, int) or isinstance(port, bool):
        return
    if port > 65535:
        if "default" in where:
            yield ("slots", name), f"the control port would be {port}; set slots.{name}.control_port"
        return
    if port in seen:
        yield ("slots", name, key), f"found {port}, which {seen[port]} has too"
    seen.setdefault(port, where)
