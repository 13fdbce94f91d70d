"""How this site does things, from the settings. Pure data; small, so that commands that only ask load nothing more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer.trial import LONGEST, TrialTerms

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, and the watch's bounds. `watch` 0: slots are not watched.

    hooks: the longest that hooks.after_switch take. grace: what a confirmation may be late before the proxy undoes it.
    """

    hold: float = 5.0
    drain: float = 30.0
    healthy: float = 30.0
    watch: float = 20.0
    max_error_ratio: float = 0.02
    max_p99: float = 2.0
    hooks: float = 0.0
    grace: float = 15.0

    def trial(self) -> TrialTerms | None:
        """The terms of each switch that is watched; None when none is."""
        if not self.watch:
            return None
        within = self.hold + self.drain + self.hooks + self.watch + self.grace
        return TrialTerms(self.watch, min(LONGEST, within), self.max_error_ratio, self.max_p99)


@dataclass(frozen=True, slots=True)
class Place:
    """A slot on this machine. url: its private address with the context path. command: what starts its server.

    emptied: the directories that a deployment empties before it places a release.
    """

    name: str
    url: str
    base: str
    log: str
    ports: tuple[int, ...]
    command: str
    emptied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ways:
    """How this site does it, from the settings. hooks: how many commands each moment has."""

    app: str
    places: Mapping[str, Place]
    timings: Timings
    replicate: bool = True
    sessions_note: str = "sessions are not replicated: each switch logs users out"
    static_patterns: tuple[str, ...] = ()
    static_to: str = ""
    smoke_tests: int = 0
    warmup_requests: int = 0
    warmup_paths: tuple[str, ...] = ()
    warmup_sample: int = 0
    hooks: Mapping[str, int] = field(default_factory=dict)
    keep: int = 5
    public_url: str | None = None
