"""YAML text -> a settings model. Every error is found at once and named by its key's path and its line. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from proxy.address import BACKEND_PATTERN, NAME_PATTERN
from proxy.yaml_lines import Document, Finding, Path, YamlError, parse

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=BaseModel)
CrossChecks = Callable[[dict[str, object]], Iterable[tuple[Path, str]]]
"""Checks across keys. They get the raw data, so that they also run when other keys are wrong."""

_MAX_BYTES: Final = 1024 * 1024
_FORMS: Final = {
    NAME_PATTERN: "a name of a to z, 0 to 9 and -, beginning with a letter, at most 32 long",
    BACKEND_PATTERN: "host:port such as 127.0.0.1:8081",
}
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
}
_BOUNDS: Final = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "too_short": ("at least", "min_length"),
    "too_long": ("at most", "max_length"),
}


class NotValid(Exception):  # noqa: N818
    """The text is not a configuration. `str()` names every finding, one a line."""


@dataclass(frozen=True)
class Schema(Generic[_Model]):
    """What a file must be. keys: some that it must have, for who gave another file. forms: of patterns, in words."""

    model: type[_Model]
    keys: str
    cross_checks: CrossChecks
    forms: Mapping[str, str]

    def read(self, raw: bytes, name: str) -> _Model:
        """As `loads`, from a file's bytes."""
        if len(raw) > _MAX_BYTES:
            raise NotValid(f"{name}: has {len(raw)} bytes, allowed are {_MAX_BYTES}")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NotValid(f"{name}: is not UTF-8 text: byte {error.start}") from error
        return self.loads(text, name)

    def loads(self, text: str, name: str) -> _Model:
        """The settings in the text. `name` stands before each finding. Raises NotValid."""
        try:
            document = parse(text)
        except YamlError as error:
            raise NotValid(f"{name}:{error.line}: not valid YAML: {error}") from error
        if not isinstance(document.data, dict):
            found = "nothing" if document.data is None else shown(document.data)
            raise NotValid(f"{name}: found {found}, needed are keys such as {self.keys}")
        findings = list(document.findings)
        settings: _Model | None = None
        try:
            settings = self.model.model_validate_json(json.dumps(document.data))
        except ValidationError as error:
            details = error.errors(include_url=False)
            findings += [self._finding(detail, document) for detail in details if not _follows(detail)]
        crossed = self.cross_checks(document.data)
        findings += [Finding(path, document.line_of(path), message) for path, message in crossed]
        if findings or settings is None:
            raise NotValid(_listing(name, findings))
        return settings

    def _finding(self, detail: ErrorDetails, document: Document) -> Finding:
        path = detail["loc"]
        if path and path[-1] == "[key]":
            path = path[:-1]
            message = f"found the name {shown(path[-1])}, allowed: {self._allowed(detail)}"
        elif detail["type"] == "extra_forbidden":
            message = self._unknown_key(path)
        elif detail["type"] == "missing":
            message = "is missing"
        else:
            message = f"found {shown(detail['input'])}, allowed: {self._allowed(detail)}"
        return Finding(path, document.line_of(path), message)

    def _allowed(self, detail: ErrorDetails) -> str:
        kind = detail["type"]
        context: dict[str, Any] = detail.get("ctx", {})
        if kind == "value_error":
            return str(context["error"])
        if kind == "literal_error":
            return str(context["expected"])
        if kind == "string_pattern_mismatch":
            pattern = context["pattern"]
            return {**_FORMS, **self.forms}.get(pattern, f"text like {pattern}")
        if kind in _BOUNDS:
            words, key = _BOUNDS[kind]
            return f"{words} {context[key]}"
        return _TYPES.get(kind, detail["msg"].lower())

    def _unknown_key(self, path: Path) -> str:
        allowed = self._keys_at(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), allowed, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"unknown key{hint} (allowed: {', '.join(allowed)})"

    def _keys_at(self, path: Path) -> list[str]:
        """The keys that the model's schema allows at the path."""
        root: dict[str, Any] = self.model.model_json_schema()
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


def shown(value: object) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def shown_path(path: Path) -> str:
    """`("apps", "shop", "hosts", 0)` -> `apps.shop.hosts[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _listing(name: str, findings: list[Finding]) -> str:
    in_order = sorted(set(findings), key=lambda finding: (finding.line, str(finding.path)))
    return "\n".join(
        f"{name}:{finding.line}: {shown_path(finding.path) or 'the file'}: {finding.message}" for finding in in_order
    )


def _follows(detail: ErrorDetails) -> bool:
    """Whether it only follows from another finding: a list whose wrong items were left out is called too short."""
    found: object = detail["input"]
    least = detail.get("ctx", {}).get("min_length", 0)
    return detail["type"] == "too_short" and isinstance(found, list | dict) and len(found) >= least


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    for choice in node.get("anyOf", ()):
        if choice.get("type") != "null":
            return _resolved(choice, root)
    if "$ref" in node:
        definition: dict[str, Any] = root["$defs"][node["$ref"].rpartition("/")[2]]
        return definition
    return node
