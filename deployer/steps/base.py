"""What a step of a plan is. Each one is data made before anything runs; it can describe, run and undo itself.

`undo` is also called for the step that failed, which may have done a part of its work or none: so it looks at what
is, and is right whatever it finds. It raises DeployerError when it can't restore what was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.site import Say, Site

POLL = 0.25
"""Seconds between two looks. In-flight counts have no event to wait for."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a step did: in words, and as data for machines."""

    text: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


class Step(Protocol):
    """One step. `name` is unique in its plan but for repetitions on another slot."""

    @property
    def name(self) -> str:
        """Such as `start temp`."""

    @property
    def slot(self) -> str | None:
        """The slot that it changes."""

    @property
    def finishing(self) -> bool:
        """The release is done already: a failure is a warning and nothing is undone."""

    @property
    def spare(self) -> bool:
        """It works on a slot that serves nobody: when its undo fails, the rest is undone all the same."""

    def describe(self) -> list[str]:
        """What it will run and touch; the first line is a whole sentence."""

    def run(self, site: Site, say: Say) -> Done:
        """Does it."""

    def undo(self, site: Site, say: Say) -> str:
        """Restores what was before it; says what it did, "" for nothing."""
