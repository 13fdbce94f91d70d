"""Tells the proxy how a release is going, for its status, events and dashboard. It may fail: it is a courtesy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.errors import DeployerError
from proxy.wire import ReleaseProgress, ReleaseStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.plan import Plan
    from deployer.runner import Event, Outcome
    from deployer.site import ProxyApi

_STATES = {
    "started": "running",
    "done": "done",
    "failed": "failed",
    "undoing": "running",
    "undone": "undone",
    "undo-failed": "failed",
}


class ProxyProgress:
    """Follows one plan's events. say: gets a sentence, once, when the proxy does not take the reports."""

    def __init__(self, proxy: ProxyApi, plan: Plan, started: float, say: Callable[[str], None]) -> None:
        self._proxy = proxy
        self._plan = plan
        self._started = started
        self._say = say
        self._works = True
        self._steps = [ReleaseStep(name=step.name, state="waiting") for step in plan.steps]

    def __repr__(self) -> str:
        return f"<ProxyProgress {self._plan.release.id} works={self._works}>"

    def event(self, event: Event) -> None:
        """Notes an event of the runner; those that change a step's state are sent."""
        state = _STATES.get(event.kind)
        if event.number == 0 or state is None:
            return
        step = {"name": event.name, "state": state, "seconds": event.seconds, "detail": event.text[:1000] or None}
        self._steps[event.number - 1] = ReleaseStep.model_validate(step)
        self._send("running", None)

    def end(self, outcome: Outcome) -> None:
        """Tells how it ended."""
        self._send(outcome.state, outcome.problem or None)

    def _send(self, state: str, message: str | None) -> None:
        if not self._works:
            return
        progress = {"release": self._plan.release.id, "state": state, "started": self._started, "message": message}
        try:
            self._proxy.report(ReleaseProgress.model_validate({**progress, "steps": tuple(self._steps)}))
        except DeployerError as error:
            self._works = False
            self._say(f"the proxy does not show this release's progress: {error}")
