"""The step that waits for the users' sessions, and what else must know where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.site import SessionsMissing
from deployer.steps.base import Done

if TYPE_CHECKING:
    from deployer.site import Say, Site
    from deployer.ways import Place


@dataclass(frozen=True, slots=True)
class SessionsArrived:
    """Waits until all sessions of the other slot are on this one too. fresh: this one was just started."""

    place: Place
    other: str
    accept_loss: bool = False
    fresh: bool = True
    finishing: bool = False
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return f"sessions on {self.place.name}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.place.name

    def describe(self) -> list[str]:
        """See Step."""
        lines = [f"Wait until all sessions of {self.other} are on {self.place.name} too, without an error in its log."]
        return [*lines, "goes on if some are missing (--accept-session-loss)"] if self.accept_loss else lines

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        here = self.place.name
        return Done(check_sessions(site, here, self.other, say, accept_loss=self.accept_loss, fresh=self.fresh))

    def undo(self, site: Site, say: Say) -> str:
        """It changes nothing."""
        return ""


def check_sessions(site: Site, here: str, other: str, say: Say, *, accept_loss: bool, fresh: bool) -> str:
    try:
        return site.slots[here].wait_sessions(site.slots[other], say, fresh=fresh)
    except SessionsMissing as missing:
        if not site.slots[other].observe().running:
            return f"{other} has died meanwhile: what {here} has of its sessions is all that is left"
        if not accept_loss:
            raise
        return f"accepted: {missing}"
