"""deployer.yaml -> Settings. Every error is found at once and named by its key's path and its line."""

from __future__ import annotations

import difflib
import json
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from deployer.errors import ConfigurationError
from deployer.settings import CONTROL_PORT_OFFSET, Settings
from proxy.yaml_lines import Document, Finding, Path, YamlError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

_MAX_BYTES: Final = 1024 * 1024
_NAME_FORM: Final = "a name of a to z, 0 to 9 and -, beginning with a letter, at most 32 long"


def load(path: str) -> Settings:
    """Reads and checks a configuration file. Raises ConfigurationError with every finding."""
    try:
        raw = FilePath(path).read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{path}: there is no such file in {FilePath.cwd()}",
            "name it with -c, or make one with `deployer init`",
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read: {error.strerror}", "name it with -c") from error
    if len(raw) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: has {len(raw)} bytes, allowed are {_MAX_BYTES}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text: byte {error.start}") from error
    return loads(text, path)


def loads(text: str, name: str = "deployer.yaml") -> Settings:
    """As `load`, from text; `name` stands before each finding."""
    try:
        document = parse(text)
    except YamlError as error:
        raise ConfigurationError(f"{name}:{error.line}: not valid YAML: {error}") from error
    if not isinstance(document.data, dict):
        found = "nothing" if document.data is None else _shown(document.data)
        raise ConfigurationError(f"{name}: found {found}, needed are keys such as app and slots")
    findings = list(document.findings)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        details = error.errors(include_url=False)
        findings += [_finding(detail, document) for detail in details if not _follows(detail)]
    findings += [Finding(path, document.line_of(path), text) for path, text in _cross_checks(document.data)]
    if findings or settings is None:
        raise ConfigurationError(_listing(name, findings))
    return settings


def _listing(name: str, findings: list[Finding]) -> str:
    in_order = sorted(set(findings), key=lambda finding: (finding.line, str(finding.path)))
    return "\n".join(
        f"{name}:{finding.line}: {_shown_path(finding.path) or 'the file'}: {finding.message}" for finding in in_order
    )


def _shown_path(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _follows(detail: ErrorDetails) -> bool:
    """Whether it only follows from another finding: a list whose wrong items were left out is called too short."""
    found: object = detail["input"]
    least = detail.get("ctx", {}).get("min_length", 0)
    return detail["type"] == "too_short" and isinstance(found, list | dict) and len(found) >= least


def _finding(detail: ErrorDetails, document: Document) -> Finding:
    path = detail["loc"]
    if path and path[-1] == "[key]":
        path = path[:-1]
        message = f"found the name {_shown(path[-1])}, allowed: {_NAME_FORM}"
    elif detail["type"] == "extra_forbidden":
        message = _unknown_key(path)
    elif detail["type"] == "missing":
        message = "is missing"
    else:
        message = f"found {_shown(detail['input'])}, allowed: {_allowed(detail)}"
    return Finding(path, document.line_of(path), message)


_TYPES: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "finite_number": "a finite number",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": _NAME_FORM,
}
_BOUNDS: Final = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "too_short": ("at least", "min_length"),
    "too_long": ("at most", "max_length"),
}


def _allowed(detail: ErrorDetails) -> str:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return str(context["expected"])
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"{words} {context[key]}"
    return _TYPES.get(kind, detail["msg"].lower())


def _unknown_key(path: Path) -> str:
    allowed = _keys_at(path[:-1])
    close = difflib.get_close_matches(str(path[-1]), allowed, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"unknown key{hint} (allowed: {', '.join(allowed)})"


def _keys_at(path: Path) -> list[str]:
    """The keys that the settings' schema allows at the path."""
    root: dict[str, Any] = Settings.model_json_schema()
    node = root
    for part in path:
        node = _resolved(node, root)
        if isinstance(part, int):
            node = node["items"]
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            node = next(iter(node["patternProperties"].values()))
    return list(_resolved(node, root).get("properties", {}))


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    for choice in node.get("anyOf", ()):
        if choice.get("type") != "null":
            return _resolved(choice, root)
    if "$ref" in node:
        definition: dict[str, Any] = root["$defs"][node["$ref"].rpartition("/")[2]]
        return definition
    return node


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


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
                yield ("slots", name, "base"), f"found {_shown(base)}, which slots.{bases[place]} has too"
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
            yield ("slots", name, key), f"found {_shown(slot[key])}, which a slot of kind {kind} has no use for"


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
