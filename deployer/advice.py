"""What is running where, and what to do about it, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.trial import ended_text, switched_back

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from deployer.journal import Run, StepRecord
    from deployer.release import InstanceFacts, Observed
    from proxy.wire import AppStatus


def where(active: str | None, slots: Mapping[str, InstanceFacts], names: Mapping[str, str]) -> list[str]:
    """One line a slot. active: None when the proxy does not say. names: of releases, by id."""
    return [f"{slot}: {_slot(slot == active, facts, names)}" for slot, facts in slots.items()]


def _slot(active: bool, facts: InstanceFacts, names: Mapping[str, str]) -> str:
    role = "active, " if active else ""
    release = shown_release(facts.release_id, names)
    if not facts.running:
        return f"{role}stopped, has {release}" if facts.release_id else f"{role}stopped, empty"
    state = "serves" if facts.http_ready else "runs but is not ready:"
    sessions = "" if facts.sessions is None else f", {facts.sessions} sessions"
    return f"{role}{state} {release}, pid {facts.pid}{sessions}"


def shown_release(release: str | None, names: Mapping[str, str]) -> str:
    """`release 1a2b… (shop.war)`."""
    if release is None:
        return "an unknown release"
    return f"release {release} ({names[release]})" if release in names else f"release {release}"


def after_cut_off(
    run: Run, steps: Sequence[StepRecord], observed: Observed | None, stored: Collection[str]
) -> list[str]:
    """A command that was cut off: where it was, and what to do now.

    observed: None when the proxy is down. stored: the releases in the store.
    """
    what = f"{run.kind} of {run.release}" if run.release else run.kind
    at = f"at step {steps[-1].number}, {_at(steps[-1])}" if steps else "before its first step"
    lines = [f"the {what} by {run.by} (pid {run.pid}) was cut off {at}"]
    if run.release is None:
        return [*lines, "run the command again"]
    if observed is None:
        return [*lines, "start the proxy, then ask `deployer status` again"]
    resume = f"`deployer resume` makes release {run.release} live"
    if run.release not in stored:
        resume = f"`deployer release` of {run.name} begins again: it was not stored yet"
    back = f"`deployer abort` goes back to release {run.previous}" if run.previous in stored else ""
    both = f"{resume}; {back}" if back else resume
    if not observed.live.running:
        return [*lines, f"the site is down: {observed.active} is active and stopped", both]
    if observed.live.release_id == run.release:
        return [*lines, f"users are on the new release, in {observed.active}", both]
    return [*lines, f"users are on the former release, in {observed.active}", both]


def on_trial(app: AppStatus, since: float, now: float) -> list[str]:
    """What the proxy may do by itself, or has done since then. Unix times."""
    trial = app.trial
    if trial is not None:
        left = "" if trial.confirm_by is None else f" within {max(0.0, trial.confirm_by - now):.0f} s"
        said = f"{trial.to} is on trial: unless it is confirmed{left}, the proxy switches back to {trial.from_slot}"
        return [f"{said}; {trial.problem}" if trial.problem else said]
    last = app.last_trial
    if last is None or last.time < since or switched_back(app, last.to) is None:
        return []
    return [ended_text(app.active, last)]


def _at(step: StepRecord) -> str:
    doing = "undoing it: " if step.phase == "undo" else ""
    done = {"done": " (which was done)", "failed": " (which had failed)", "intended": ""}[step.state]
    return f"{doing}{step.name}{done}"


def hints(observed: Observed | None, strategy: str) -> list[str]:
    """What an operator may want to do when no command was cut off."""
    if observed is None:
        return ["the proxy does not answer: start it with `proxy run -c …`, or set proxy.url"]
    said = []
    if not observed.live.running:
        other = next((name for name, facts in observed.slots.items() if facts.http_ready), None)
        start = f"`deployer start {observed.active}`" if observed.live.release_id else "`deployer release WAR`"
        or_switch = f", or `deployer switch {other}`" if other else ""
        said.append(f"the site is down: {observed.active} is active and stopped; {start}{or_switch}")
    elif not observed.live.http_ready:
        said.append(f"{observed.active} is active but not ready: see `deployer logs {observed.active}`")
    if strategy == "return" and observed.active != observed.home and observed.live.running:
        said.append(f"{observed.active} is active, not {observed.home}: the next release or rollback goes home")
    return said
