"""From the facts to a plan: a list of steps. Pure; `deployer plan` prints it, the runner executes the same objects.

The strategies stand at the end and read as prose. `return` is the way of the article that this tool is after:
production -> temp -> production. `swap` moves once and stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import Refused
from deployer.steps.checks import RunHooks, Smoke, WarmUp
from deployer.steps.files import Prune, PublishStatic, StoreWar
from deployer.steps.sessions import SessionsArrived
from deployer.steps.slots import Deploy, Start, StopSlot
from deployer.steps.switch import Switch
from deployer.steps.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from deployer.release import InstanceFacts, Observed, Release
    from deployer.settings import Strategy
    from deployer.steps.base import Step
    from deployer.ways import Ways


_TRIAL_ADVICE = "`deployer resume` goes on with it, `deployer rollback` goes back; without either the proxy goes back"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted. source: the WAR to store first, None when the release is in the store.

    keep: ids of releases that must stay in the store, such as the last ones that went well. notes: for the plan.
    settle: it takes back a release that was cut off, so nothing is started afresh when `release` is live (again).
    """

    release: Release
    strategy: Strategy
    source: Path | None = None
    rollback: bool = False
    accept_session_loss: bool = False
    keep: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    settle: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order. previous: the release that is live before it. notes: what the operator should know.

    lands_on: the slot in which `release` is live afterwards; empty when the plan is about something else.
    """

    title: str
    release: Release
    previous: str | None
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    lands_on: str = ""

    def lines(self) -> list[str]:
        """The plan as text: each step's sentence, and what it touches below it."""
        lines = [self.title, *(f"note: {note}" for note in self.notes)]
        for number, step in enumerate(self.steps, 1):
            first, *details = step.describe()
            lines.append(f"{number:3}. {first}")
            lines += [f"     - {detail}" for detail in details]
        return lines


def plan_release(wish: Wish, observed: Observed, ways: Ways, stored: Mapping[str, Release]) -> Plan:
    """The plan that makes `wish.release` live. stored: the release store by id. Raises Refused when unsafe."""
    _check_observed(observed)
    making = _Making(wish, observed, ways, stored)
    if not observed.live.running and observed.trial is None:
        return making.cold_start()
    if observed.trial is not None and not (wish.rollback and _runs(observed.slots[observed.idle], wish.release)):
        return making.go_on()
    if wish.rollback and _runs(observed.slots[observed.idle], wish.release):
        return making.back_at_once()
    if wish.settle and _runs(observed.live, wish.release):
        return making.tidy()
    if wish.strategy == "swap":
        return making.swap()
    if observed.active == observed.home:
        return making.there_and_back()
    return making.home()


def plan_switch(ways: Ways, observed: Observed, release: Release, to: str, *, force: bool, accept_loss: bool) -> Plan:
    """The plan of `deployer switch`. `release` is what runs in the slot `to`."""
    _check_observed(observed)
    making = _Making(Wish(release, "swap", accept_session_loss=accept_loss), observed, ways, {})
    return making.only_switch(to, force=force)


def plan_start(ways: Ways, observed: Observed, release: Release, slot: str, *, deploy: bool) -> Plan:
    """The plan of `deployer start`. deploy: put the release there first; else it is there already."""
    _check_observed(observed)
    return _Making(Wish(release, "swap"), observed, ways, {}).only_start(slot, deploy=deploy)


def plan_stop(ways: Ways, observed: Observed, release: Release, slot: str, *, force: bool, accept_loss: bool) -> Plan:
    """The plan of `deployer stop`. force: also when the slot is active, or a trial goes back to it."""
    trial = observed.trial
    if trial is not None and slot == trial.from_slot and not force:
        raise Refused(f"{slot} is where the trial of {trial.to} goes back to", _TRIAL_ADVICE)
    wish = Wish(release, "swap", accept_session_loss=accept_loss)
    return _Making(wish, observed, ways, {}).only_stop(slot, force=force)


def _check_observed(observed: Observed) -> None:
    if observed.active not in observed.slots:
        raise Refused(
            f"the proxy's active slot is {observed.active}, which deployer.yaml does not have",
            f"add it to slots, or switch to one of {', '.join(observed.slots)} with `proxy switch`",
        )
    if observed.switching:
        raise Refused("a switch is going on in the proxy", "wait for its end: `deployer status` shows it")


def _runs(facts: InstanceFacts, release: Release) -> bool:
    return facts.running and facts.http_ready and facts.release_id == release.id


class _Making:
    """The parts that plans are made of."""

    def __init__(self, wish: Wish, observed: Observed, ways: Ways, stored: Mapping[str, Release]) -> None:
        self._wish = wish
        self._observed = observed
        self._ways = ways
        self._stored = stored
        self._live = observed.active
        self._idle = observed.idle
        self._notes: list[str] = [*wish.notes]
        if not ways.replicate:
            self._notes.append(ways.sessions_note)
        if observed.live.running and not observed.live.http_ready:
            self._notes.append(f"{self._live} is active but not ready: users get errors now")

    # --- the strategies ----------------------------------------------------------------------------------

    def there_and_back(self) -> Plan:
        """`return`, from home."""
        self._need_live_release()
        return self._plan(
            f"{self._what()}: by {self._idle}, and back to {self._live}",
            [
                *self._prepare(),
                *self._bring_up(self._idle),
                *self._move(self._live, self._idle),
                *self._bring_up(self._live, while_users_are_on=self._idle),
                *self._move(self._idle, self._live),
                *self._retire(self._idle, heir=self._live),
                *self._finish(),
            ],
            lands_on=self._live,
        )

    def home(self) -> Plan:
        """`return`, when another slot than home is active: one move home does it."""
        home = self._observed.home
        return self._plan(
            f"{self._what()}: from {self._live} home to {home}",
            [
                *self._prepare(),
                *self._bring_up(home),
                *self._move(self._live, home),
                *self._retire(self._live, heir=home),
                *self._finish(),
            ],
            lands_on=home,
        )

    def swap(self) -> Plan:
        """Moves to the idle slot and stays; the old one runs on for an instant rollback."""
        return self._plan(
            f"{self._what()}: to {self._idle}, which stays active; {self._live} runs on for a rollback",
            [
                *self._prepare(),
                *self._bring_up(self._idle),
                *self._move(self._live, self._idle),
                *self._finish(),
            ],
            lands_on=self._idle,
        )

    def back_at_once(self) -> Plan:
        """A rollback to what still runs in the idle slot. With `return` the slot that was left is stopped."""
        leave = self._wish.strategy == "return" and self._idle == self._observed.home
        return self._plan(
            f"{self._what()}: it still runs in {self._idle}, so one switch does it",
            [
                *self._static(running_in=self._idle),
                self._smoke(self._idle),
                *self._sessions(self._idle, self._live, fresh=False),
                *self._move(self._live, self._idle),
                *(self._retire(self._live, heir=self._idle) if leave else ()),
            ],
            lands_on=self._idle,
        )

    def go_on(self) -> Plan:
        """A switch is on trial, and the deployer that asked for it is gone: its release is watched and goes on."""
        live, origin = self._live, self._idle
        if not _runs(self._observed.live, self._wish.release):
            return self._back_from_trial()
        steps = [*self._hooks("after_switch", live), self._watch(live)]
        lands_on = live
        if self._wish.strategy == "return" and live != self._observed.home:
            lands_on = self._observed.home
            steps += [
                *self._bring_up(lands_on, while_users_are_on=live),
                *self._move(live, lands_on),
                *self._retire(live, heir=lands_on),
            ]
        elif self._wish.strategy == "return":
            steps += self._retire(origin, heir=live)
        title = f"{self._what()}: goes on with the trial of {live}"
        return self._plan(title, [*steps, *self._finish()], lands_on=lands_on)

    def _back_from_trial(self) -> Plan:
        """A rollback to what runs nowhere now: back to the slot that the trial came from, and from there."""
        live, origin = self._live, self._idle
        home_or_stays = live == self._observed.home or self._wish.strategy == "swap"
        if not (self._wish.rollback and home_or_stays and self._observed.slots[origin].http_ready):
            raise Refused(f"the switch to {live} is on trial: another release can't begin", _TRIAL_ADVICE)
        return self._plan(
            f"{self._what()}: back to {origin}, and by it to {live}",
            [
                *self._prepare(),
                *self._move(live, origin, watch=False),
                *self._bring_up(live, while_users_are_on=origin),
                *self._move(origin, live),
                *(self._retire(origin, heir=live) if self._wish.strategy == "return" else ()),
            ],
            lands_on=live,
        )

    def tidy(self) -> Plan:
        """What was cut off has been undone already: only what it left in the other slot is stopped."""
        idle = self._observed.slots[self._idle]
        steps = [
            *self._static(running_in=self._live),
            *(self._retire(self._idle, heir=self._live) if idle.running else ()),
        ]
        return self._plan(f"{self._what()}: it is live in {self._live} already", steps, lands_on=self._live)

    def cold_start(self) -> Plan:
        """Nothing runs in the active slot: the release is started there, and no switch is needed."""
        self._notes.append(f"nothing runs in the active slot {self._live}: the site is down until it is started")
        return self._plan(
            f"{self._what()}: started in {self._live}",
            [*self._prepare(), *self._bring_up(self._live, down=True), *self._finish()],
            lands_on=self._live,
        )

    def only_switch(self, to: str, *, force: bool) -> Plan:
        """`deployer switch`."""
        return self._plan(
            f"switch {self._ways.app} from {self._live} to {to}",
            [
                *(() if force else self._sessions(to, self._live, fresh=False)),
                *self._move(self._live, to, watch=False, force=force),
            ],
            lands_on=to,
        )

    def only_start(self, slot: str, *, deploy: bool) -> Plan:
        """`deployer start`."""
        place, release, live = self._ways.places[slot], self._wish.release, slot == self._live
        join = not live and self._observed.live.running
        return self._plan(
            f"start {slot} with release {release.id}",
            [
                *([Deploy(place, release)] if deploy else ()),
                Start(place, release.id, live=live),
                *(self._sessions(slot, self._live, fresh=True) if join else ()),
            ],
            lands_on=slot if live else "",
        )

    def only_stop(self, slot: str, *, force: bool) -> Plan:
        """`deployer stop`."""
        heir = self._live if slot != self._live and self._observed.live.running and self._ways.replicate else None
        step = StopSlot(
            self._ways.places[slot],
            heir=heir,
            accept_session_loss=self._wish.accept_session_loss or force,
            active_too=force,
        )
        return self._plan(f"stop {slot}", [step], lands_on="")

    # --- their parts -------------------------------------------------------------------------------------

    def _what(self) -> str:
        verb = "roll back" if self._wish.rollback else "release"
        wanted = self._wish.release
        return f"{verb} {self._ways.app} to {wanted.id} ({wanted.name}), strategy {self._wish.strategy}"

    def _plan(self, title: str, steps: list[Step], lands_on: str) -> Plan:
        previous = self._observed.live.release_id
        return Plan(title, self._wish.release, previous, tuple(steps), tuple(self._notes), lands_on)

    def _prepare(self) -> Iterator[Step]:
        live = self._observed.live
        if live.running and live.release_id == self._wish.release.id:
            self._notes.append(f"release {live.release_id} is live already; it is started afresh")
        if self._wish.source is not None:
            yield StoreWar(self._wish.release, self._wish.source)
        if not self._wish.rollback:
            yield from self._hooks("before_start")
        yield from self._static()

    def _static(self, running_in: str | None = None) -> Iterator[Step]:
        if self._ways.static_patterns:
            before = self._known(self._live)
            yield PublishStatic(
                self._wish.release, self._ways.static_patterns, self._ways.static_to, before, running_in
            )

    def _bring_up(self, slot: str, while_users_are_on: str | None = None, *, down: bool = False) -> Iterator[Step]:
        """The slot from whatever it does now to the new release, tested, and with all sessions."""
        place = self._ways.places[slot]
        runs = self._observed.slots[slot].running
        before = self._known(slot) if runs or down else None
        spare = while_users_are_on is None and not down
        if runs:
            yield StopSlot(
                place,
                before,
                heir=while_users_are_on if self._ways.replicate else None,
                accept_session_loss=self._wish.accept_session_loss,
                spare=spare,
            )
        yield Deploy(place, self._wish.release, before, spare=spare)
        yield Start(place, self._wish.release.id, live=down, spare=spare)
        yield self._smoke(slot)
        if self._ways.warmup_requests:
            live = None if down else self._ways.places[while_users_are_on or self._live]
            ways = self._ways
            yield WarmUp(place, ways.warmup_requests, ways.warmup_paths, ways.warmup_sample, live)
        if not down:
            yield from self._sessions(slot, while_users_are_on or self._live, fresh=True)

    def _smoke(self, slot: str) -> Step:
        hooks = self._ways.hooks.get("smoke", 0)
        return Smoke(self._ways.places[slot], self._ways.smoke_tests, hooks, self._environment("smoke", slot))

    def _sessions(self, here: str, other: str, *, fresh: bool) -> Iterator[Step]:
        if self._ways.replicate:
            yield SessionsArrived(self._ways.places[here], other, self._wish.accept_session_loss, fresh)

    def _move(self, origin: str, to: str, *, watch: bool = True, force: bool = False) -> Iterator[Step]:
        timings = self._ways.timings
        trial = timings.trial() if watch else None
        yield Switch(origin, to, timings.hold, timings.drain, self._ways.public_url, force=force, trial=trial)
        yield from self._hooks("after_switch", to)
        if trial is not None:
            yield self._watch(to)

    def _watch(self, slot: str) -> Step:
        timings = self._ways.timings
        return Watch(self._ways.places[slot], timings.watch, timings.max_error_ratio, timings.max_p99)

    def _retire(self, slot: str, heir: str) -> Iterator[Step]:
        yield StopSlot(
            self._ways.places[slot],
            heir=heir if self._ways.replicate else None,
            accept_session_loss=self._wish.accept_session_loss,
            finishing=True,
        )

    def _finish(self) -> Iterator[Step]:
        if self._wish.rollback:
            return
        yield from self._hooks("after_release", finishing=True)
        in_slots = {facts.release_id for facts in self._observed.slots.values() if facts.release_id}
        yield Prune(self._ways.keep, self._wish.keep | in_slots | {self._wish.release.id})

    def _hooks(self, moment: str, slot: str | None = None, *, finishing: bool = False) -> Iterator[Step]:
        count = self._ways.hooks.get(moment, 0)
        if count:
            yield RunHooks(moment, count, self._environment(moment, slot), slot, finishing)

    def _environment(self, moment: str, slot: str | None) -> Mapping[str, str]:
        return hook_environment(
            self._ways, moment, self._wish.release.id, self._observed.live.release_id, slot or self._live
        )

    # --- facts -------------------------------------------------------------------------------------------

    def _known(self, slot: str) -> Release | None:
        return self._stored.get(self._observed.slots[slot].release_id or "")

    def _need_live_release(self) -> None:
        """`return` replaces the slot that serves users now; it must be able to bring it back."""
        if self._known(self._live) is None:
            runs = self._observed.live.release_id or "an unknown release"
            raise Refused(
                f"{self._live} runs {runs}, which is not in the release store: it could not be brought back "
                "if the new release failed",
                "use --strategy swap, which leaves it running",
            )


def hook_environment(ways: Ways, moment: str, release: str, previous: str | None, slot: str) -> Mapping[str, str]:
    """The variables that a hook gets."""
    return {
        "DEPLOYER_APP": ways.app,
        "DEPLOYER_RELEASE": release,
        "DEPLOYER_PREVIOUS": previous or "",
        "DEPLOYER_SLOT": slot,
        "DEPLOYER_URL": ways.places[slot].url,
        "DEPLOYER_MOMENT": moment,
    }
