"""The steps of a plan. Each one is data made before anything runs; it can describe, run and undo itself.

`undo` is also called for the step that failed, which may have done a part of its work or none: so it looks at what
is, and is right whatever it finds. It raises DeployerError when it can't restore what was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from deployer.errors import DeployerError, ReleaseFailed
from deployer.sample import choose
from deployer.site import SessionsMissing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployer.release import Release
    from deployer.site import Say, Site
    from deployer.ways import Place

IDLE_WAIT = 10.0
"""Seconds that a stop waits for the slot's last exchanges, after the switch has drained it."""
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
            _sessions(site, self.heir, name, say, accept_loss=self.accept_session_loss, fresh=False)
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
        return Done(_sessions(site, here, self.other, say, accept_loss=self.accept_loss, fresh=self.fresh))

    def undo(self, site: Site, say: Say) -> str:
        """It changes nothing."""
        return ""


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


def tell_release(site: Site, slot: str, release: str, say: Say) -> None:
    """Names the slot's release to the proxy, for its status. A proxy that does not take it changes nothing."""
    try:
        site.proxy.set_release(slot, release)
    except DeployerError as error:
        say(f"the proxy was not told which release {slot} runs: {error}")


def _sessions(site: Site, here: str, other: str, say: Say, *, accept_loss: bool, fresh: bool) -> str:
    try:
        return site.slots[here].wait_sessions(site.slots[other], say, fresh=fresh)
    except SessionsMissing as missing:
        if not site.slots[other].observe().running:
            return f"{other} has died meanwhile: what {here} has of its sessions is all that is left"
        if not accept_loss:
            raise
        return f"accepted: {missing}"


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
