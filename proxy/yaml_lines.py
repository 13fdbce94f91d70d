"""YAML text -> plain data, with the line of every key and item. A duplicate key is a finding.

Scalars follow YAML 1.2's core schema: `off`, `no` and `12:30` are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import yaml

Path = tuple[str | int, ...]
_MAX_NODES: Final = 100_000
_MAX_DEPTH: Final = 50


class YamlError(Exception):
    """The text is not YAML at all. `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, where it is. `line` counts from 1; 0 when there is none."""

    path: Path
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Document:
    """`data` is what the text says; `lines` has each path's line; `findings` are the odd keys."""

    data: object
    lines: dict[Path, int] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def line_of(self, path: Path) -> int:
        """The line of the path, or of its nearest parent that is in the text."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0


class _Loader(yaml.SafeLoader):
    """SafeLoader with the implicit types of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def parse(text: str) -> Document:
    """Raises YamlError when the text is no YAML, holds several documents, or is nested without end."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        walk = _Walk(loader)
        data = None if node is None else walk.value(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(error.problem or "not YAML", mark.line + 1 if mark else 0) from error
    except yaml.YAMLError as error:
        raise YamlError(str(error).replace("\n", " "), 0) from error
    finally:
        loader.dispose()
    return Document(data, walk.lines, tuple(walk.findings))


class _Walk:
    """Turns nodes into data and notes where each was."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._nodes = 0
        self.lines: dict[Path, int] = {}
        self.findings: list[Finding] = []

    def value(self, node: yaml.Node, path: Path) -> object:
        line = node.start_mark.line + 1
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise YamlError("nested too deep or too large (an alias that repeats itself?)", line)
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.findings.append(Finding(path, line, "a key must be plain text"))
                continue
            key = str(key_node.value)
            where = (*path, key)
            if key in data:
                self.findings.append(Finding(where, line, f"the key is given twice, first in line {self.lines[where]}"))
                continue
            self.lines[where] = line
            data[key] = self.value(value_node, where)
        return data

    def _scalar(self, node: yaml.Node) -> object:
        value: object = self._loader.construct_object(node, deep=True)
        return value
