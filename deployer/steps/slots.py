"""The steps that change a slot: stop, deploy, start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import DeployerError, ReleaseFailed
from deployer.site import SessionsMissing
from deployer.steps.base import POLL, Done
from deployer.steps.sessions import check_sessions

if TYPE_CHECKING:
    from deployer.release import Release
    from deployer.site import Say, Site
    from deployer.ways import Place

IDLE_WAIT = 10.0
"""Seconds that a stop waits for the slot's last exchanges, after the switch has drained it."""


@dataclass(frozen=True, slots=True)
class StopSlot:
    """Stops a slot that is not active and has no exchange left.

    before: what runs there, started again by the undo. heir: the slot that must have all of its sessions.
    active_too: stop it even if it is active.
    """

    place: Place
    before: Release | None = None
    heir: str | None = None
    accept_session_loss: bool = False
    active_too: bool = False
    finishing: bool = False
    spare: bool = False

    @property
    def name(self) -> str:
        """See Step."""
        return f"stop {self.place.name}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.place.name

    def describe(self) -> list[str]:
        """See Step."""
        lines = [f"Stop {self.place.name}: SIGTERM to its server, after the proxy has drained it."]
        if self.heir:
            lines.append(f"only when {self.heir} has all of its sessions")
        return lines

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        name = self.place.name
        if not self.active_too:
            active = site.proxy.app().active
            if active == name:
                raise ReleaseFailed(f"{name} is active, so it is not stopped: the proxy sends users there")
            _check_not_last(site, active, name)
            _wait_idle(site, name, say)
        if self.heir:
            check_sessions(site, self.heir, name, say, accept_loss=self.accept_session_loss, fresh=False)
        close_idle(site, name, say)
        return Done(site.slots[name].stop())

    def undo(self, site: Site, say: Say) -> str:
        """Starts what ran there, with the sessions of the slot that is active now."""
        name = self.place.name
        if self.before is None:
            return f"{name} stays stopped: what ran there is not in the release store"
        server = site.slots[name]
        if not server.observe().running:
            server.start()
        server.wait_ready(say)
        active = site.proxy.app().active
        said = f"{name} runs release {self.before.id} again"
        if active == name or not site.slots[active].observe().running:
            return said
        try:
            return f"{said}, {server.wait_sessions(site.slots[active], say, fresh=True)}"
        except SessionsMissing as missing:
            # The release has failed already; coming back without some sessions is better than not at all.
            return f"{said}, but {missing}"


@dataclass(frozen=True, slots=True)
class Deploy:
    """Puts a release into a stopped slot. before: what the undo puts back."""

    place: Place
    release: Release
    before: Release | None = None
    finishing: bool = False
    spare: bool = False

    @property
    def name(self) -> str:
        """See Step."""
        return f"deploy to {self.place.name}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.place.name

    def describe(self) -> list[str]:
        """See Step."""
        return [
            f"Deploy release {self.release.id} ({self.release.name}) to {self.place.name}.",
            f"empties {' and '.join(self.place.emptied)}, then places {self.release.war} there",
        ]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        site.slots[self.place.name].deploy(self.release)
        return Done(f"release {self.release.id}")

    def undo(self, site: Site, say: Say) -> str:
        """See Step."""
        server = site.slots[self.place.name]
        if self.before is None:
            return ""
        if server.observe().release_id == self.before.id:
            return ""
        server.deploy(self.before)
        return f"{self.place.name} has release {self.before.id} again"


@dataclass(frozen=True, slots=True)
class Start:
    """Starts a slot and waits until its application is ready. live: the slot is active while it starts."""

    place: Place
    release: str
    live: bool = False
    finishing: bool = False
    spare: bool = False

    @property
    def name(self) -> str:
        """See Step."""
        return f"start {self.place.name}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.place.name

    def describe(self) -> list[str]:
        """See Step."""
        place = self.place
        return [
            f"Start {place.name} and wait until its application is ready.",
            f"runs {place.command}",
            f"listens on {', '.join(map(str, place.ports))}; writes {place.base} and the log {place.log}",
        ]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        server = site.slots[self.place.name]
        begun = site.clock.monotonic()
        server.start()
        server.wait_ready(say)
        tell_release(site, self.place.name, self.release, say)
        seconds = site.clock.monotonic() - begun
        return Done(f"ready after {seconds:.1f} s", {"ready_seconds": round(seconds, 3)})

    def undo(self, site: Site, say: Say) -> str:
        """See Step."""
        name = self.place.name
        if not self.live and site.proxy.app().active == name:
            raise DeployerError(f"{name} is active, so it is not stopped: the proxy sends users there")
        return f"{name}: {site.slots[name].stop()}"


def tell_release(site: Site, slot: str, release: str, say: Say) -> None:
    """Names the slot's release to the proxy, for its status. A proxy that does not take it changes nothing."""
    try:
        site.proxy.set_release(slot, release)
    except DeployerError as error:
        say(f"the proxy was not told which release {slot} runs: {error}")


def _check_not_last(site: Site, active: str, name: str) -> None:
    """The active slot may have died since the plan was made; then the sessions are in this one alone."""
    if not site.slots[active].observe().running and site.slots[name].observe().http_ready:
        raise ReleaseFailed(
            f"{active} is active and does not run, so {name} is not stopped: it is the last one that can serve",
            f"`deployer switch {name}` sends users there",
        )


def close_idle(site: Site, name: str, say: Say) -> None:
    """A server waits for idle keep-alive connections until its time to stop is over; the proxy has some to it."""
    try:
        site.proxy.close_idle(name)
    except DeployerError as error:
        say(f"the proxy's idle connections to {name} may delay its stop: {error}")


def _wait_idle(site: Site, name: str, say: Say) -> None:
    """A switch drains the old slot; what is left after that is waited for a little, then stopped under."""
    end = site.clock.monotonic() + IDLE_WAIT
    while (left := site.proxy.app().slot(name).in_flight) and site.clock.monotonic() < end:
        site.clock.sleep(POLL)
    if left:
        say(f"{name} still has {left} requests in flight; its server gets time to end them")
