"""The commands that change the site: each one looks, plans, takes the lock, notes its intent and runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployer import advice
from deployer.errors import DeployerError, Refused
from deployer.interrupts import InterruptibleClock, Interrupts
from deployer.journal import RELEASING, Intent, before_live, last_good, unfinished
from deployer.plan import Plan, Wish, hook_environment, plan_release, plan_start, plan_stop, plan_switch
from deployer.progress import ProxyProgress
from deployer.release import Release
from deployer.runner import Event, Outcome, Runner
from deployer.site import observe
from deployer.steps.slots import Start
from deployer.war import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deployer.assembly import Workshop
    from deployer.console import Console
    from deployer.journal import Run
    from deployer.release import InstanceFacts, Observed
    from deployer.settings import Strategy

Planner = Callable[["Observed"], Plan]
"""Makes a plan from what was observed; raises Refused."""


@dataclass(frozen=True, slots=True)
class Order:
    """A command as it was given. kind: as in the journal. confirm: asks the operator, True to go on."""

    kind: str
    message: str
    by: str
    confirm: Callable[[Plan], bool]
    strategy: Strategy | None = None


@contextmanager
def nothing_touched() -> Iterator[None]:
    """Errors in the with-block come before anything is touched: whatever failed, the command is refused."""
    try:
        yield
    except DeployerError as error:
        if error.exit_code in (2, 3):
            raise
        raise Refused(str(error), error.advice) from error


def look(shop: Workshop) -> Observed:
    """The site as it is now. Raises Refused when the proxy can't be asked, or has other slots than deployer.yaml."""
    with nothing_touched():
        app = shop.asking.app()
        known = {slot.name: slot for slot in app.slots}
        for name, settings in shop.settings.slots.items():
            if name not in known:
                raise Refused(
                    f"the proxy's app {app.name} has no slot {name}; it has {', '.join(known)}",
                    f"name the slots in deployer.yaml and proxy.yaml alike (apps.{app.name}.slots)",
                )
            ports = {backend.address.rpartition(":")[2] for backend in known[name].backends}
            if str(settings.http_port) not in ports:
                raise Refused(
                    f"slot {name} is port {settings.http_port} in deployer.yaml, and "
                    f"{', '.join(backend.address for backend in known[name].backends)} in the proxy",
                    f"make slots.{name}.http_port and the proxy's apps.{app.name}.slots.{name}.backends agree",
                )
        return observe(shop.asking, shop.slots)


def wish_for_war(shop: Workshop, war: Path, strategy: Strategy, *, accept_loss: bool) -> Wish:
    """Checks a WAR file, also against the live release; its warnings become the plan's notes.

    accept_loss: what is wrong with its sessions' classes is a warning too. Raises Refused with every error it has.
    """
    findings = shop.kind.check(war)
    if not _errors(findings):
        sessions = session_findings(shop, war)
        if accept_loss:
            sessions = [replace(one, severity="warning") if one.severity == "error" else one for one in sessions]
        findings += sessions
    errors = _errors(findings)
    if errors:
        advice_lines = dict.fromkeys(finding.advice for finding in errors if finding.advice)
        raise Refused("\n".join(finding.what for finding in errors), "; ".join(advice_lines))
    read = shop.kind.read(war)
    _need_room(shop, read.size)
    identity = read.sha256[:12]
    stored = shop.store.directory / f"{identity}.war"
    release = Release(identity, read.sha256, stored, read.size, shop.clock.time(), war.name)
    return Wish(
        release,
        strategy,
        source=war.absolute(),
        accept_session_loss=accept_loss,
        notes=tuple(f"{finding} [{war.name}]" for finding in findings),
    )


def _errors(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def session_findings(shop: Workshop, war: Path) -> list[Finding]:
    """What this WAR would make of the live release's sessions; [] when there are none that could go over to it.

    Raises Refused when the proxy can't be asked.
    """
    from deployer.session_safety import compare_sessions

    if not shop.settings.sessions.replicate:
        return []
    live = look(shop).live
    if not live.running or live.release_id is None:
        return []
    known = stored_by_id(shop).get(live.release_id)
    if known is None:
        what = f"the live release {live.release_id} is not in the store, so its session classes were not compared"
        return [Finding("note", what, "")]
    try:
        return compare_sessions(known.war, war)
    except Refused as why:
        return [Finding("warning", f"the classes in sessions were not compared: {why}", why.advice)]


def check_findings(shop: Workshop, war: Path) -> list[Finding]:
    """All that `deployer check` says. A proxy that can't be asked is a note: a WAR is also checked where none runs."""
    findings = shop.kind.check(war)
    if _errors(findings):
        return findings
    if shop.kind.sessions_note:
        findings.append(Finding("note", shop.kind.sessions_note, ""))
    try:
        return [*findings, *session_findings(shop, war)]
    except Refused as why:
        return [*findings, Finding("note", f"not held against the live release's sessions: {why}", why.advice)]


def _need_room(shop: Workshop, size: int) -> None:
    """A WAR is copied to the store and to two slots, where Tomcat unpacks it."""
    directory = shop.store.directory
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    if free < 4 * size + (16 << 20):
        raise Refused(
            f"{directory} has {free >> 20} MiB free; the release needs about {(4 * size >> 20) + 16} MiB",
            "make room, or set releases.dir and slots.*.base to a larger disk",
        )


def stored_by_id(shop: Workshop) -> Mapping[str, Release]:
    """The releases whose WARs are in the store."""
    return {release.id: release for release in shop.store.list() if release.war.is_file()}


def release_planner(shop: Workshop, wish: Wish) -> Planner:
    """Plans of `deployer release` and of all that makes a release live."""
    # A store full of releases that failed must not push out those that went well.
    good = last_good(shop.journal.runs(1000), shop.settings.releases.keep)
    keeping = replace(wish, keep=good)
    return lambda observed: plan_release(keeping, observed, shop.ways, stored_by_id(shop))


def rollback_target(shop: Workshop, wanted: str | None) -> Release:
    """The release that `deployer rollback` goes to. Raises Refused when there is none.

    After a release that was cut off: the one before it, also when the proxy has gone back to that meanwhile.
    """
    if wanted is not None:
        return shop.store.get(wanted)
    holder = shop.lock.holder()
    runs = shop.journal.runs()
    cut = unfinished(runs, holder.pid if holder else None)
    if cut is not None and cut.kind in ("rollback", "abort"):
        earlier = cut.release
    elif cut is not None and cut.kind in RELEASING:
        earlier = before_live(runs, cut.release)
    else:
        earlier = before_live(runs, look(shop).live.release_id)
    if earlier is None:
        raise Refused("there is no earlier release to go back to", "name one: `deployer history` lists them")
    return shop.store.get(earlier)


def cut_off(shop: Workshop) -> Run:
    """The command that was cut off. Raises Refused when there is none."""
    holder = shop.lock.holder()
    run = unfinished(shop.journal.runs(1), holder.pid if holder else None)
    if run is None:
        raise Refused("no command was cut off", "`deployer status` shows what is running where")
    return run


def before(shop: Workshop, run: Run) -> str | None:
    """The release that was live before a command that was cut off, also when that had gone on with an earlier one."""
    return run.previous if run.previous != run.release else before_live(shop.journal.runs(), run.release)


def slot_named(shop: Workshop, name: str) -> str:
    """The name, when it is a slot's. Raises Refused."""
    if name not in shop.slots:
        raise Refused(f"there is no slot {name}", f"the slots are {', '.join(shop.slots)}")
    return name


def _running_release(shop: Workshop, identity: str | None) -> Release:
    """A release for titles and journal, also when the store does not have it any more."""
    known = stored_by_id(shop).get(identity or "")
    return known or Release(identity or "unknown", "", shop.store.directory / "gone.war", 0, 0.0, "not in the store")


def switch_planner(shop: Workshop, to: str, *, force: bool, accept_loss: bool) -> Planner:
    """Plans of `deployer switch`."""

    def plan(observed: Observed) -> Plan:
        facts = observed.slots[to]
        if observed.active == to:
            raise Refused(f"{to} is active already")
        if not facts.http_ready and not force:
            state = "runs but is not ready" if facts.running else "does not run"
            raise Refused(f"{to} {state}", f"`deployer start {to}` first; --force switches all the same")
        release = _running_release(shop, facts.release_id)
        return plan_switch(shop.ways, observed, release, to, force=force, accept_loss=accept_loss)

    return plan


def start_planner(shop: Workshop, slot: str, wanted: str | None) -> Planner:
    """Plans of `deployer start`."""

    def plan(observed: Observed) -> Plan:
        facts = observed.slots[slot]
        if facts.running:
            raise Refused(f"{slot} runs already, as pid {facts.pid}", f"`deployer stop {slot}` first")
        if wanted is None and facts.release_id is None:
            raise Refused(f"nothing is deployed in {slot}", "name a release with --release, or release a WAR")
        release = shop.store.get(wanted) if wanted else _running_release(shop, facts.release_id)
        return plan_start(shop.ways, observed, release, slot, deploy=wanted is not None)

    return plan


def stop_planner(shop: Workshop, slot: str, *, force: bool, accept_loss: bool) -> Planner:
    """Plans of `deployer stop`."""

    def plan(observed: Observed) -> Plan:
        facts = observed.slots[slot]
        if not facts.running:
            raise Refused(f"{slot} does not run")
        if observed.active == slot and not force:
            raise Refused(
                f"{slot} is active: users are on it",
                "switch first (`deployer switch`); --force stops it and the site is down",
            )
        release = _running_release(shop, facts.release_id)
        return plan_stop(shop.ways, observed, release, slot, force=force, accept_loss=accept_loss)

    return plan


def make_plan(shop: Workshop, planner: Planner) -> Plan:
    """Observes and plans; also looks at what would keep a slot from starting. Raises Refused."""
    with nothing_touched():
        observed = look(shop)
        plan = planner(observed)
        starting = {step.place.name for step in plan.steps if isinstance(step, Start)}
        problems = [
            problem
            for name, facts in observed.slots.items()
            if name in starting
            for problem in (shop.slots[name].faults() if facts.running else shop.slots[name].obstacles())
        ]
        if problems:
            mends = dict.fromkeys(problem.advice for problem in problems if problem.advice)
            raise Refused("\n".join(map(str, problems)), "; ".join(mends))
        return replace(plan, notes=(*plan.notes, *shop.warnings()))


def carry_out(shop: Workshop, planner: Planner, order: Order, console: Console) -> int:
    """Plans, asks, locks, plans again, and runs. The exit code."""
    shop.lock.check_free()
    plan = make_plan(shop, planner)
    if not order.confirm(plan):
        raise Refused("not confirmed, so nothing was done")
    command = f"{order.kind} {plan.release.id}"
    with shop.lock.held(command, order.by) as lock:
        plan = make_plan(shop, planner)
        outcome = _run(shop, plan, order, console, lock.check)
    return outcome.exit_code


def _run(shop: Workshop, plan: Plan, order: Order, console: Console, lock_check: Callable[[], None]) -> Outcome:
    intent = Intent(
        kind=order.kind,
        release=plan.release.id,
        name=plan.release.name,
        previous=plan.previous,
        strategy=order.strategy,
        message=order.message,
        by=order.by,
    )
    interrupts = Interrupts(console.say)
    site = shop.site(InterruptibleClock(shop.clock, interrupts))
    progress = ProxyProgress(shop.asking, plan, shop.clock.time(), console.say)

    def listen(event: Event) -> None:
        console.event(event)
        progress.event(event)

    with interrupts.listening():
        run_id = shop.journal.begin(intent)
        console.begin(plan)
        outcome = Runner(site, shop.journal, interrupts, listen, lock_check).run(plan, run_id)
    if outcome.state != "done":
        _on_failure(shop, plan, console)
    progress.end(outcome)
    console.end(plan, outcome, what_is_where(shop))
    return outcome


def _on_failure(shop: Workshop, plan: Plan, console: Console) -> None:
    if not shop.ways.hooks.get("on_failure"):
        return
    environment = hook_environment(shop.ways, "on_failure", plan.release.id, plan.previous, plan.lands_on)
    try:
        shop.site(shop.clock).hooks.run("on_failure", environment, console.say)
    except DeployerError as error:
        console.say(f"warning: {error}")
    except KeyboardInterrupt:
        console.say("warning: hooks.on_failure was interrupted")


def what_is_where(shop: Workshop) -> list[str]:
    """One line a slot; also when the proxy is down."""
    names = {release.id: release.name for release in shop.store.list()}
    try:
        active: str | None = shop.asking.app().active
    except DeployerError as error:
        return [str(error), *advice.where(None, _facts(shop), names)]
    return advice.where(active, _facts(shop), names)


def _facts(shop: Workshop) -> Mapping[str, InstanceFacts]:
    return {name: slot.observe() for name, slot in shop.slots.items()}
