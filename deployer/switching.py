"""The two steps that move users: the switch, and the watch over the slot that they were moved to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import DeployerError, ReleaseFailed
from deployer.proxy_client import AnswerLost
from deployer.steps import POLL, Done
from proxy.wire import SwitchRequest

if TYPE_CHECKING:
    from deployer.site import Say, Site
    from deployer.ways import Place
    from proxy.wire import AppStatus, SlotStatus, SwitchReport

FEWEST_REQUESTS = 20
"""Requests from which on a share of errors is judged; below it one error would say too much."""
FEWEST_FOR_P99 = 100
WATCH_POLL = 1.0
"""Seconds between two looks at the counters, which the proxy does not send as events."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Makes another slot active. Returns when the old one is drained, or cut at the deadline."""

    origin: str
    to: str
    hold: float
    drain: float
    public_url: str | None = None
    force: bool = False
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
        return [*lines, f"then {self.public_url} must answer"] if self.public_url else lines

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        if not self.force:
            _wait_healthy(site, self.to, say)
        done = _switch(site, self.origin, self.to, self.hold, self.drain, force=self.force)
        if self.public_url:
            done = Done(f"{done.text}; {site.checks.public()}", done.data)
        return done

    def undo(self, site: Site, say: Say) -> str:
        """See Step."""
        app = _settled(site)
        if app.active == self.origin:
            return ""
        if app.active != self.to:
            raise DeployerError(f"someone switched to {app.active} meanwhile")
        if not site.slots[self.origin].observe().running:
            raise DeployerError(f"{self.origin} does not run, so {self.to} stays active")
        _wait_healthy(site, self.origin, say)
        _switch(site, self.to, self.origin, self.hold, self.drain, force=False)
        return f"{self.origin} is active again"


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks at the answers that users get from the slot that is active now."""

    place: Place
    seconds: float
    max_error_ratio: float
    max_p99: float
    finishing: bool = False
    spare: bool = True

    @property
    def name(self) -> str:
        """See Step."""
        return f"watch {self.place.name}"

    @property
    def slot(self) -> str | None:
        """See Step."""
        return self.place.name

    def describe(self) -> list[str]:
        """See Step."""
        return [
            f"Watch {self.place.name} for {self.seconds:g} s.",
            f"fails at more than {self.max_error_ratio:.1%} answers of 500 and above, or a p99 over {self.max_p99:g} s",
        ]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        name = self.place.name
        begun = site.clock.monotonic()
        first = site.proxy.app().slot(name)
        while True:
            left = begun + self.seconds - site.clock.monotonic()
            site.clock.sleep(max(0.0, min(WATCH_POLL, left)))
            app = site.proxy.app()
            self._check_alive(site, app)
            said = self._judge(first, app.slot(name))
            if left <= WATCH_POLL:
                return said
            say(said.text)

    def undo(self, site: Site, say: Say) -> str:
        """It changes nothing."""
        return ""

    def _check_alive(self, site: Site, app: AppStatus) -> None:
        name = self.place.name
        if app.active != name:
            raise ReleaseFailed(f"someone switched to {app.active} while {name} was watched")
        if not site.slots[name].observe().running:
            tail = "\n".join(f"  {line}" for line in site.slots[name].log_tail(5))
            raise ReleaseFailed(f"{name}'s server ended after the switch; the last lines of {self.place.log}:\n{tail}")

    def _judge(self, first: SlotStatus, now: SlotStatus) -> Done:
        requests = max(0, now.requests - first.requests)
        errors = max(0, now.errors_5xx - first.errors_5xx)
        p99 = now.latency_p99_ms
        share = errors / requests if requests else 0.0
        slowest = "" if p99 is None else f", p99 {p99:.0f} ms"
        if requests >= FEWEST_REQUESTS and share > self.max_error_ratio:
            raise ReleaseFailed(
                f"{errors} of {requests} answers of {now.name} were 500 and above ({share:.1%}, "
                f"allowed {self.max_error_ratio:.1%})",
                f"see `deployer logs {now.name}` for the causes",
            )
        if p99 is not None and requests >= FEWEST_FOR_P99 and p99 > self.max_p99 * 1000:
            raise ReleaseFailed(
                f"{now.name} is slow: its 99th percentile is {p99:.0f} ms, allowed are {self.max_p99 * 1000:.0f} ms"
            )
        data: dict[str, object] = {"requests": requests, "errors_5xx": errors, "p99_ms": p99}
        return Done(f"{requests} requests, {errors} errors{slowest}", data)


def _switch(site: Site, origin: str, to: str, hold: float, drain: float, *, force: bool) -> Done:
    request = SwitchRequest(to=to, expect_active=origin, hold=hold, drain=drain, force=force)
    try:
        report = site.proxy.switch(request)
    except AnswerLost as lost:
        # The order may have been carried out: what the proxy says is active decides.
        if _settled(site).active != to:
            raise
        return Done(f"done, but its report was lost ({lost})")
    return Done(_told(report), report.model_dump(mode="json", by_alias=True))


def _told(report: SwitchReport) -> str:
    said = f"{report.held} requests waited, at most {report.hold_ms:.1f} ms; "
    if report.drained:
        return said + f"{report.from_slot} drained in {report.drain_ms / 1000:.1f} s"
    cut = "".join(f"\n  cut: {one.method} {one.path} after {one.age_ms / 1000:.1f} s" for one in report.cut)
    return said + f"{report.from_slot} not drained after {report.drain_ms / 1000:.1f} s{cut}"


def _settled(site: Site) -> AppStatus:
    """The app when no switch is going on; after a bounded wait as it is then."""
    end = site.clock.monotonic() + site.timings.hold + site.timings.drain
    while (app := site.proxy.app()).switching and site.clock.monotonic() < end:
        site.clock.sleep(POLL)
    return app


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
