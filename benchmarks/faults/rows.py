"""The rows of the table: at which step of which release what is killed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Strategy = Literal["swap", "return"]
Fault = Literal["deployer", "idle Tomcat", "active Tomcat", "supervisor"]

FAULTS: Final[tuple[Fault, ...]] = ("deployer", "idle Tomcat", "active Tomcat", "supervisor")

_COMING_UP: Final = ("deploy to {0}", "start {0}", "smoke test {0}", "warm up {0}", "sessions on {0}", "switch to {0}")
SWAP: Final = (
    "store",
    "static files",
    "stop temp",
    *(step.format("temp") for step in _COMING_UP),
    "watch temp",
    "prune",
)
RETURN: Final = (
    "switch to temp",
    "watch temp",
    "stop production",
    *(step.format("production") for step in _COMING_UP),
    "watch production",
    "stop temp",
    "prune",
)
"""Up to its first switch `return` does the same steps as `swap`, so it is tried from there on."""

IDLE_MUST_RUN: Final = ("swap", "stop temp")
"""The row's strategy and step that are there only while the former release still runs in the idle slot."""

_IDLE_IS_STOPPED: Final = ("store", "static files", "deploy to")


@dataclass(frozen=True, slots=True)
class Row:
    """`active` and `idle` are meant at the moment of the kill. `then`: what the operator chooses after a cut off."""

    strategy: Strategy
    step: str
    fault: Fault
    then: Literal["resume", "abort"]

    @property
    def name(self) -> str:
        return f"{self.strategy}: {self.step}: {self.fault}"


def all_rows() -> tuple[Row, ...]:
    """The whole table. The operator goes on and back in turn."""
    return tuple(_rows("swap", SWAP)) + tuple(_rows("return", RETURN))


def _rows(strategy: Strategy, steps: Sequence[str]) -> Iterable[Row]:
    for number, step in enumerate(steps):
        for fault in FAULTS:
            if fault == "idle Tomcat" and (
                step.startswith(_IDLE_IS_STOPPED) or (strategy, step) == ("return", "prune")
            ):
                continue
            yield Row(strategy, step, fault, "abort" if number % 2 else "resume")


def choose(only: Sequence[str]) -> tuple[Row, ...]:
    """The rows whose names have one of the texts in them, in the texts' order, case ignored; all rows without a text.

    Raises ValueError for a text that no row has.
    """
    rows = all_rows()
    if not only:
        return rows
    chosen: dict[Row, None] = {}
    for text in only:
        found = [row for row in rows if text.lower() in row.name.lower()]
        if not found:
            raise ValueError(f"no row has {text!r} in its name; --list shows all")
        chosen |= dict.fromkeys(found)
    return tuple(chosen)
