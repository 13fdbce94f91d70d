"""The step that watches a slot after the switch to it: it follows the proxy's trial and confirms it at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import DeployerError, ReleaseFailed
from deployer.log_causes import causes
from deployer.proxy_client import AnswerLost, ProxyRefused
from deployer.steps.base import POLL, Done
from deployer.steps.switch import settled
from deployer.trial import (
    FEWEST_FOR_P99,
    FEWEST_REQUESTS,
    bad_requests,
    ended_text,
    open_trial,
    switched_back,
)

if TYPE_CHECKING:
    from deployer.site import Say, Site
    from deployer.ways import Place
    from proxy.wire import AppStatus, SlotStatus, TrialOutcome

WATCH_POLL = 1.0
"""Seconds between two looks at the counters, which the proxy does not send as events."""
CONFIRM_MARGIN = 3.0
"""Seconds before the end of a trial that an earlier deployer began, at which it is confirmed at the latest."""
CONFIRM_SECONDS = 10.0
_LOG_LINES = 400
_BUSY = 409


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks at the answers that users get from the slot that is active now.

    While the switch is on trial the proxy judges, and switches back by itself; at the end it is confirmed. A switch
    that is on no trial (any more) is judged here.
    """

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
            f"Watch {self.place.name} for {self.seconds:g} s, then confirm the switch.",
            f"fails at more than {self.max_error_ratio:.1%} answers of 500 and above, or a p99 over {self.max_p99:g} s",
        ]

    def run(self, site: Site, say: Say) -> Done:
        """See Step."""
        app = site.proxy.app()
        self._check_active(site, app)
        first = app.slot(self.place.name)
        end = site.clock.monotonic() + self._time(site, app)
        while True:
            left = end - site.clock.monotonic()
            site.clock.sleep(max(0.0, min(WATCH_POLL, left)))
            app = site.proxy.app()
            self._check_active(site, app)
            self._check_alive(site)
            said = self._judge(site, first, app)
            if left <= WATCH_POLL:
                break
            say(said.text)
        if open_trial(app, self.place.name) is None:
            return said
        self._confirm(site)
        return Done(f"{said.text}; confirmed", said.data)

    def undo(self, site: Site, say: Say) -> str:
        """It changes nothing that stays."""
        return ""

    def _time(self, site: Site, app: AppStatus) -> float:
        """Seconds to watch: less for a trial that would end before."""
        trial = open_trial(app, self.place.name)
        if trial is None or trial.confirm_by is None:
            return self.seconds
        left = trial.confirm_by - site.clock.time() - CONFIRM_MARGIN
        return min(self.seconds, max(0.0, left))

    def _check_active(self, site: Site, app: AppStatus) -> None:
        name = self.place.name
        if app.active == name:
            return
        last = switched_back(app, name)
        if last is None:
            raise ReleaseFailed(f"someone switched to {app.active} while {name} was watched")
        raise ReleaseFailed(
            "\n".join([ended_text(app.active, last), *_figures(last), *self._evidence(site)]),
            f"see `deployer logs {name}`",
        )

    def _check_alive(self, site: Site) -> None:
        name = self.place.name
        if not site.slots[name].observe().running:
            tail = "\n".join(f"  {line}" for line in site.slots[name].log_tail(5))
            raise ReleaseFailed(f"{name}'s server ended after the switch; the last lines of {self.place.log}:\n{tail}")

    def _judge(self, site: Site, first: SlotStatus, app: AppStatus) -> Done:
        """What was seen so far, in words. Raises ReleaseFailed unless the proxy judges."""
        now = app.slot(self.place.name)
        requests = max(0, now.requests - first.requests)
        errors = max(0, now.errors_5xx - first.errors_5xx)
        trial = open_trial(app, now.name)
        if trial is not None and trial.problem is not None:
            raise ReleaseFailed("\n".join([f"the proxy: {trial.problem}", *self._evidence(site)]))
        if trial is None:
            self._judge_here(site, now, requests, errors)
        p99 = now.latency_p99_ms
        slowest = "" if p99 is None else f", p99 {p99:.0f} ms"
        data: dict[str, object] = {"requests": requests, "errors_5xx": errors, "p99_ms": p99}
        return Done(f"{requests} requests, {errors} errors{slowest}", data)

    def _judge_here(self, site: Site, now: SlotStatus, requests: int, errors: int) -> None:
        share = errors / requests if requests else 0.0
        p99 = now.latency_p99_ms
        if requests >= FEWEST_REQUESTS and share > self.max_error_ratio:
            problem = (
                f"{errors} of {requests} answers of {now.name} were 500 and above ({share:.1%}, "
                f"allowed {self.max_error_ratio:.1%})"
            )
        elif p99 is not None and requests >= FEWEST_FOR_P99 and p99 > self.max_p99 * 1000:
            problem = (
                f"{now.name} is slow: its 99th percentile is {p99:.0f} ms, allowed are {self.max_p99 * 1000:.0f} ms"
            )
        else:
            return
        raise ReleaseFailed("\n".join([problem, *self._evidence(site)]), f"see `deployer logs {now.name}`")

    def _evidence(self, site: Site) -> list[str]:
        """Which requests, and what the log says: as far as they can be had, for the release has failed anyway."""
        name = self.place.name
        try:
            bad = bad_requests(site.proxy.recent(), name, self.max_p99)
        except DeployerError as error:
            bad = [f"which requests is not known: {error}"]
        found = causes(site.slots[name].log_tail(_LOG_LINES))
        lines = [f"  {line}" for line in bad]
        return [*lines, *([f"{name} logged:"] if found else []), *(f"  {cause}" for cause in found)]

    def _confirm(self, site: Site) -> None:
        """Returns when the switch stays for certain. Raises ReleaseFailed when the proxy has switched back."""
        name, end = self.place.name, site.clock.monotonic() + CONFIRM_SECONDS
        while True:
            try:
                app = site.proxy.confirm()
            except AnswerLost as lost:
                problem = str(lost)
                app = settled(site)
            except ProxyRefused as refused:
                if refused.status != _BUSY:
                    raise
                problem = str(refused)
                app = settled(site)
            self._check_active(site, app)
            if open_trial(app, name) is None:
                return
            if site.clock.monotonic() >= end:
                raise ReleaseFailed(f"the switch to {name} could not be confirmed: {problem}")
            site.clock.sleep(POLL)


def _figures(last: TrialOutcome) -> list[str]:
    figures = last.figures
    if figures is None or not figures.requests:
        return []
    slowest = "" if figures.p99_ms is None else f", p99 {figures.p99_ms:.0f} ms"
    told = f"{figures.requests} requests, {figures.errors_5xx} answers of 500 and above{slowest}"
    return [f"  in its last {figures.seconds:g} s: {told}"]
