"""The step that moves users: the switch, on trial where the slot is watched after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import DeployerError, ReleaseFailed
from deployer.proxy_client import AnswerLost, ProxyRefused
from deployer.steps.base import POLL, Done
from proxy.wire import SwitchRequest

if TYPE_CHECKING:
    from deployer.site import Say, Site
    from deployer.trial import TrialTerms
    from proxy.wire import AppStatus, SwitchReport

UNDO_TRIES = 3
"""How often an undo asks for its switch: the proxy may switch back by itself at the same time."""
_BUSY = 409
_UNKNOWN_FIELD = (422, "Extra inputs are not permitted")
"""How a proxy answers that knows nothing of trials: its requests refuse unknown fields."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Makes another slot active. Returns when the old one is drained, or cut at the deadline.

    trial: what the proxy is to watch for by itself until the switch is confirmed. None: it stays.
    """

    origin: str
    to: str
    hold: float
    drain: float
    public_url: str | None = None
    force: bool = False
    trial: TrialTerms | None = None
    finishing: bool = False
    spare: bool = False

    @property
    def name(self) -> str:
        """See Step."""
        return f"switch to {self.to}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.to

    def describe(self) -> list[str]:
        """See Step."""
        lines = [
            f"Switch from {self.origin} to {self.to} in the proxy, and drain {self.origin}.",
            f"new requests wait at most {self.hold:g} s; those on {self.origin} have {self.drain:g} s to end",
        ]
        lines += [str(self.trial)] if self.trial else []
        return [*lines, f"then {self.public_url} must answer"] if self.public_url else lines

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        if not self.force:
            # The proxy's probes need seconds to see what has died just now.
            if not site.slots[self.to].observe().running:
                raise ReleaseFailed(f"{self.to} does not run any more, so users stay on {self.origin}")
            _wait_healthy(site, self.to, say)
        done = self._switch_there(site, say)
        if self.public_url:
            done = Done(f"{done.text}; {site.checks.public()}", done.data)
        return done

    def undo(self, site: Site, say: Say) -> str:
        """See Step."""
        for attempt in range(UNDO_TRIES):
            app = settled(site)
            if app.active == self.origin:
                return "" if attempt == 0 else f"{self.origin} is active again, by the proxy"
            if app.active != self.to:
                raise DeployerError(f"someone switched to {app.active} meanwhile")
            if not site.slots[self.origin].observe().running:
                raise DeployerError(f"{self.origin} does not run, so {self.to} stays active")
            _wait_healthy(site, self.origin, say)
            try:
                self._switch_back(site)
            except ProxyRefused as refused:
                if refused.status != _BUSY or attempt + 1 == UNDO_TRIES:
                    raise
                site.clock.sleep(POLL)
            else:
                break
        return f"{self.origin} is active again"

    def _switch_back(self, site: Site) -> None:
        """Without a trial: what comes back has served users before."""
        _ask(
            site,
            SwitchRequest(to=self.origin, expect_active=self.to, hold=self.hold, drain=self.drain, force=False),
        )

    def _switch_there(self, site: Site, say: Say) -> Done:
        plain = SwitchRequest(to=self.to, expect_active=self.origin, hold=self.hold, drain=self.drain, force=self.force)
        if self.trial is None:
            return _ask(site, plain)
        terms = {"confirm_within": self.trial.confirm_within, "guard": self.trial.guard()}
        try:
            return _ask(site, plain.model_copy(update=terms))
        except ProxyRefused as refused:
            status, words = _UNKNOWN_FIELD
            if refused.status != status or words not in str(refused):
                raise
        say("this proxy knows no trials: the slot is watched from here alone, and undone only while this runs")
        return _ask(site, plain)


def _ask(site: Site, request: SwitchRequest) -> Done:
    try:
        report = site.proxy.switch(request)
    except AnswerLost as lost:
        # The order may have been carried out: what the proxy says is active decides.
        if settled(site).active != request.to:
            raise
        return Done(f"done, but its report was lost ({lost})")
    return Done(_told(report), report.model_dump(mode="json", by_alias=True))


def _told(report: SwitchReport) -> str:
    said = f"{report.held} requests waited, at most {report.hold_ms:.1f} ms; "
    if not report.durable:
        said += "the proxy's disk has failed, and with the machine this may be undone; "
    if report.drained:
        return said + f"{report.from_slot} drained in {report.drain_ms / 1000:.1f} s"
    cut = "".join(f"\n  cut: {one.method} {one.path} after {one.age_ms / 1000:.1f} s" for one in report.cut)
    return said + f"{report.from_slot} not drained after {report.drain_ms / 1000:.1f} s{cut}"


def settled(site: Site) -> AppStatus:
    """The app when no switch is going on, also none that the proxy began; after a bounded wait as it is then."""
    end = site.clock.monotonic() + site.timings.hold + site.timings.drain
    while _moving(app := site.proxy.app()) and site.clock.monotonic() < end:
        site.clock.sleep(POLL)
    return app


def _moving(app: AppStatus) -> bool:
    # A revert that the proxy can't carry out is not waited for: its `problem` says why.
    reverting = app.trial is not None and app.trial.reverting and app.trial.problem is None
    return app.switching or app.draining is not None or reverting


def _wait_healthy(site: Site, name: str, say: Say) -> None:
    """Until the proxy's own probes no longer call all of the slot's backends down."""
    end = site.clock.monotonic() + site.timings.healthy
    while True:
        backends = site.proxy.app().slot(name).backends
        if any(backend.health != "down" for backend in backends):
            return
        if site.clock.monotonic() >= end:
            why = "; ".join(f"{backend.address}: {backend.last_error or 'down'}" for backend in backends)
            raise ReleaseFailed(
                f"the proxy calls {name} down: {why or 'it has no backend'}",
                f"check apps.*.health and apps.*.slots.{name}.backends in proxy.yaml",
            )
        say(f"waiting for the proxy's probes to see {name} up")
        site.clock.sleep(POLL)
