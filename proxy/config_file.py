"""proxy.yaml -> Settings. Every error is found at once and named by its key's path and line."""

from __future__ import annotations

import difflib
import json
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import ValidationError

from proxy.address import Endpoint, parse_admin, parse_backend, parse_listen
from proxy.errors import ConfigurationError
from proxy.settings import Settings
from proxy.yaml_lines import Document, Finding, Path, YamlError, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic_core import ErrorDetails

_T = TypeVar("_T")
_MAX_BYTES: Final = 1024 * 1024
_NAME_FORM: Final = "a name of a to z, 0 to 9 and -, beginning with a letter, at most 32 long"


def load(path: str) -> Settings:
    """Reads and checks a configuration file. Raises ConfigurationError with every finding."""
    try:
        raw = FilePath(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: can't be read: {error.strerror}", "give the configuration file with -c"
        ) from error
    if len(raw) > _MAX_BYTES:
        raise ConfigurationError(f"{path}: has {len(raw)} bytes, allowed are {_MAX_BYTES}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not UTF-8 text: byte {error.start}") from error
    return loads(text, path)


def loads(text: str, name: str = "proxy.yaml") -> Settings:
    """As `load`, from text; `name` stands before each finding."""
    try:
        document = parse(text)
    except YamlError as error:
        raise ConfigurationError(f"{name}:{error.line}: not valid YAML: {error}") from error
    if not isinstance(document.data, dict):
        found = "nothing" if document.data is None else _shown(document.data)
        raise ConfigurationError(f"{name}: found {found}, needed are keys such as listen and apps")
    findings = list(document.findings)
    settings: Settings | None = None
    try:
        settings = Settings.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        details = error.errors(include_url=False)
        findings += [_finding(detail, document) for detail in details if not _is_echo(detail)]
    findings += [Finding(path, document.line_of(path), message) for path, message in _cross_checks(document.data)]
    if findings or settings is None:
        raise ConfigurationError(_listing(name, findings))
    return settings


def shown_path(path: Path) -> str:
    """`("apps", "shop", "hosts", 0)` -> `apps.shop.hosts[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _listing(name: str, findings: list[Finding]) -> str:
    lines = [
        f"{name}:{finding.line}: {shown_path(finding.path) or 'the file'}: {finding.message}"
        for finding in sorted(set(findings), key=lambda finding: (finding.line, str(finding.path)))
    ]
    return "\n".join(lines)


def _is_echo(detail: ErrorDetails) -> bool:
    """Whether a list is called too short only because of wrong items, which are findings of their own."""
    context: dict[str, Any] = detail.get("ctx", {})
    return detail["type"] == "too_short" and len(detail["input"]) >= context["min_length"]


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
}


def _allowed(detail: ErrorDetails) -> str:
    kind = detail["type"]
    context: dict[str, Any] = detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text like {context['pattern']}")
    if kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        return {
            "greater_than": "more than",
            "greater_than_equal": "at least",
            "less_than": "less than",
            "less_than_equal": "at most",
        }[kind] + f" {context.get('gt', context.get('ge', context.get('lt', context.get('le'))))}"
    if kind == "too_short":
        return f"at least {context['min_length']}"
    if kind == "too_long":
        return f"at most {context['max_length']}"
    if kind == "string_too_short":
        return "text that is not empty"
    return _TYPES.get(kind, detail["msg"].lower())


_PATTERNS: Final = {
    Settings.model_json_schema()["$defs"]["SlotSettings"]["properties"]["backends"]["items"][
        "pattern"
    ]: "host:port such as 127.0.0.1:8081",
    Settings.model_json_schema()["$defs"]["AppSettings"]["properties"]["active"]["pattern"]: _NAME_FORM,
}


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
            yield ("listen", index), f"found {_shown(url)}, which listen[{seen[endpoint]}] has too"
        seen.setdefault(endpoint, index)
    admin = data.get("admin", {})
    if not isinstance(admin, dict):
        return
    url = admin.get("listen", "http://127.0.0.1:9900")
    where = _parsed(parse_admin, url)
    if not isinstance(where, Endpoint):
        return
    if where in seen:
        yield ("listen", seen[where]), f"found {_shown(url)}, which admin.listen has too"
    if not where.is_loopback and admin.get("token_file") is None:
        yield (
            ("admin", "listen"),
            f"found {_shown(url)}, which other machines can reach; allowed without admin.token_file: "
            "a loopback address such as http://127.0.0.1:9900, or unix:PATH",
        )


def _active_check(name: str, app: dict[str, object]) -> Iterator[tuple[Path, str]]:
    slots = app.get("slots")
    active = app.get("active", "production")
    if isinstance(slots, dict) and slots and isinstance(active, str) and active not in slots:
        yield ("apps", name, "active"), f"found {_shown(active)}, allowed: {', '.join(slots)}"


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
                    f"found {_shown(address)}, which {seen[endpoint]} has too",
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
                f"found {_shown(host)} with path {_shown(path)}, which {places[place]} has too",
            )
        places.setdefault(place, f"apps.{name}.hosts[{index}]")
