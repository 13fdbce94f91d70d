"""A command slot's directories, command line and environment. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.command.places import PLACE
from deployer.server.files import Tree
from deployer.server.throwables import MOST_LINES, causes, without_repeats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MARK = "SWITCHYARD_BASE"
"""The variable by which a slot's processes are known: whatever they start inherits it."""

TREE = Tree(read=("release",), written=("logs", "work"))


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command slot. command: words with places. environment: the operator's own variables. Paths are absolute."""

    name: str
    base: Path
    http_port: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    context: str = ""
    host: str = "127.0.0.1"

    @property
    def log_file(self) -> Path:
        """Gets stdout and stderr."""
        return self.base / "logs" / "server.log"

    @property
    def directory(self) -> Path:
        """Where the server is started; what it keeps there stays from release to release."""
        return self.base / "work"

    def line(self, release: Path) -> list[str]:
        """The command with its places filled."""
        values = {"base": str(self.base), "port": str(self.http_port), "release": str(release), "slot": self.name}
        return [PLACE.sub(lambda found: values[found[1]], word) for word in self.command]

    def variables(self, release: Path) -> dict[str, str]:
        """What is added to the environment."""
        return {
            **self.environment,
            "PORT": str(self.http_port),
            "RELEASE": str(release),
            "SLOT": self.name,
            MARK: str(self.base),
        }


def explain(lines: Sequence[str]) -> str:
    """A Java program's exceptions, as Spring Boot's; else the log's last lines."""
    found = without_repeats(causes(lines))
    shown = found or [line for line in lines if line.strip()][-MOST_LINES:]
    return "\n".join(["its log says:", *(f"  {line}" for line in shown)]) if shown else ""
