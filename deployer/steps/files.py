"""The steps that move files: into the release store, to the proxy's static files, and out of the store again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import ReleaseFailed
from deployer.steps.base import Done
from deployer.steps.slots import tell_release

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.release import Release
    from deployer.site import Say, Site


@dataclass(frozen=True, slots=True)
class StoreWar:
    """Copies the WAR into the release store."""

    release: Release
    source: Path
    slot: str | None = None
    finishing: bool = False
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return "store"

    def describe(self) -> list[str]:
        """See Step."""
        return [f"Store {self.source} as release {self.release.id}.", f"writes {self.release.war}"]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        stored = site.store.add(self.source)
        if stored.id != self.release.id:
            raise ReleaseFailed(
                f"{self.source} has changed since it was checked: it is release {stored.id} now",
                "run the release again when the file is complete",
            )
        return Done(f"release {stored.id}, {stored.size} bytes")

    def undo(self, site: Site, say: Say) -> str:
        """The store keeps it: it is named by its content and pruned later."""
        return ""


@dataclass(frozen=True, slots=True)
class PublishStatic:
    """Adds the release's static files to the directory that the proxy serves.

    slot: where the release runs already. A slot that is started later has the proxy look at its files then.
    """

    release: Release
    patterns: tuple[str, ...]
    to: str
    before: Release | None
    slot: str | None = None
    finishing: bool = False
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return "static files"

    def describe(self) -> list[str]:
        """See Step."""
        return [f"Add the static files {', '.join(self.patterns)} of {self.release.id} to {self.to}."]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        done = Done(site.static.publish(self.release))
        if self.slot is not None:
            tell_release(site, self.slot, self.release.id, say)
        return done

    def undo(self, site: Site, say: Say) -> str:
        """Files of the same name get the former release's content again; others harm nobody."""
        return site.static.publish(self.before) if self.before else ""


@dataclass(frozen=True, slots=True)
class Prune:
    """Removes old releases from the store."""

    keep: int
    in_use: frozenset[str]
    slot: str | None = None
    finishing: bool = True
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return "prune"

    def describe(self) -> list[str]:
        """See Step."""
        return [f"Remove old releases from the store, but for the last {self.keep} and those in a slot."]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        removed = site.store.prune(self.keep, self.in_use)
        return Done(f"removed {', '.join(release.id for release in removed)}" if removed else "nothing to remove")

    def undo(self, site: Site, say: Say) -> str:
        """Nothing was removed that a release in a slot needs."""
        return ""
