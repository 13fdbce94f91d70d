"""The steps that try a slot before users come: smoke tests, warm-up, and the operator's own commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import DeployerError
from deployer.sample import choose
from deployer.steps.base import Done

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.site import Say, Site
    from deployer.ways import Place


@dataclass(frozen=True, slots=True)
class Smoke:
    """Tests the slot on its private port, before users come."""

    place: Place
    tests: int
    hooks: int
    environment: Mapping[str, str]
    finishing: bool = False
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return f"smoke test {self.place.name}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.place.name

    def describe(self) -> list[str]:
        """See Step."""
        lines = [f"Smoke test {self.place.name} on its private address {self.place.url} (requests: {self.tests})."]
        return [*lines, f"then {self.hooks} of hooks.smoke"] if self.hooks else lines

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        said = site.checks.smoke(self.place.url)
        if self.hooks:
            said = f"{said}; {site.hooks.run('smoke', self.environment, say)}"
        return Done(said)

    def undo(self, site: Site, say: Say) -> str:
        """It changes nothing that stays."""
        return ""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Sends requests to the slot's private port, so that its first users meet compiled code.

    sample: how many addresses that users asked for of late are sent too. live: the slot that they are answered by now.
    """

    place: Place
    requests: int
    paths: tuple[str, ...]
    sample: int = 0
    live: Place | None = None
    finishing: bool = False
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return f"warm up {self.place.name}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.place.name

    def describe(self) -> list[str]:
        """See Step."""
        lines = [f"Warm up {self.place.name}: at most {self.requests} requests to {', '.join(self.paths)}."]
        if not self.sample:
            return lines
        beside = f", whose answers must be like those of {self.live.name}" if self.live else ""
        return [*lines, f"and to {self.sample} addresses or less that users asked for of late{beside}"]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        live = self.live.url if self.live is not None and site.slots[self.live.name].observe().http_ready else None
        return Done(site.checks.warm_up(self.place.url, self._lately(site, say), live, say))

    def _lately(self, site: Site, say: Say) -> tuple[str, ...]:
        try:
            return choose(site.proxy.recent(), self.sample) if self.sample else ()
        except DeployerError as error:
            say(f"what users asked for of late is not known: {error}")
            return ()

    def undo(self, site: Site, say: Say) -> str:
        """It changes nothing that stays."""
        return ""


@dataclass(frozen=True, slots=True)
class RunHooks:
    """Runs the operator's commands of one moment."""

    moment: str
    count: int
    environment: Mapping[str, str]
    slot: str | None = None
    finishing: bool = False
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return f"hooks {self.moment}"

    def describe(self) -> list[str]:
        """See Step."""
        commands = "command" if self.count == 1 else "commands"
        return [f"Run {self.count} {commands} of hooks.{self.moment}."]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        return Done(site.hooks.run(self.moment, self.environment, say))

    def undo(self, site: Site, say: Say) -> str:
        """What a hook did is the operator's: hooks.on_failure can undo it."""
        return ""
