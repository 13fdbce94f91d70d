"""A site in memory that fails where it is told to, and checks after every act that users are served."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import DeployerError, InstanceError, ReleaseFailed
from deployer.interrupts import Interrupts
from deployer.plan import Plan, Wish, plan_release
from deployer.proxy_client import AnswerLost, ProxyRefused
from deployer.release import InstanceFacts, Release
from deployer.runner import Event, Outcome, Runner
from deployer.site import SessionsMissing, Site, SlotServer
from deployer.ways import Place, Timings, Ways
from proxy.wire import (
    AppStatus,
    BackendStatus,
    Guard,
    RecentRequest,
    ReleaseProgress,
    SlotStatus,
    SwitchReport,
    SwitchRequest,
    TrialOutcome,
    TrialStatus,
)

if TYPE_CHECKING:
    from deployer.journal import Phase, RunState, StepState

Say = Callable[[str], None]


class Killed(BaseException):
    """kill -9: nothing of the deployer runs after it."""


class FakeClock:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


def release(number: int) -> Release:
    identity = str(number) * 12
    return Release(identity, identity, Path(f"/store/{identity}.war"), 1000, 0.0, f"shop-{number}.war")


@dataclass
class World:
    """The machine. `fail_at` and `kill_at`: the number of the act that fails, or that is the deployer's last one.

    late: it fails or is killed after the act has had its effect, not before. fail_from: all acts from this one on fail.
    bad: releases that do not get ready. outage_allowed: the site is down to begin with.
    """

    active: str = "production"
    acts: int = 0
    fail_at: int | None = None
    fail_from: int | None = None
    kill_at: int | None = None
    late: bool = False
    bad: frozenset[str] = frozenset()
    outage_allowed: bool = False
    log: list[str] = field(default_factory=list)
    on_act: Callable[[str], None] | None = None
    slots: dict[str, FakeSlot] = field(default_factory=dict)
    stored: dict[str, Release] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)

    def act(self, what: str, effect: Callable[[], None] = lambda: None) -> None:
        """One thing that changes or looks: it may fail, or be the deployer's last one."""
        self.acts += 1
        self.log.append(what)
        if self.on_act is not None:
            self.on_act(what)
        if not self.late:
            self._fault(what)
        effect()
        self.check_served()
        if self.late:
            self._fault(what)

    def _fault(self, what: str) -> None:
        if self.acts == self.kill_at:
            raise Killed(what)
        if self.acts == self.fail_at or (self.fail_from is not None and self.acts >= self.fail_from):
            raise InstanceError(f"made to fail: {what}", "mend it")

    def check_served(self) -> None:
        """The invariant of every release: the active slot serves."""
        if not self.outage_allowed:
            live = self.slots[self.active]
            assert live.running, f"users are on {self.active}, which does not run: {self.log}"
            assert live.ready, f"users are on {self.active}, which is not ready: {self.log}"


def _emptied(name: str) -> tuple[str, ...]:
    return f"/base/{name}/webapps", f"/base/{name}/work"


class FakeSlot:
    """One slot's server."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.running = False
        self.ready = False
        self.deployed: str | None = None
        self.sessions = 0

    def observe(self) -> InstanceFacts:
        pid = 100 if self.running else None
        return InstanceFacts(
            self.running, pid, None, self.ready, self.deployed, self.sessions if self.running else None, None
        )

    def obstacles(self) -> list[DeployerError]:
        return []

    def deploy(self, release: Release) -> None:
        assert not self.running, f"deployed into the running slot {self.name}"

        def empty() -> None:
            self.deployed = None

        def place() -> None:
            self.deployed = release.id

        self.world.act(f"empty {self.name}", empty)
        self.world.act(f"deploy {release.id[0]} to {self.name}", place)

    def start(self) -> None:
        if self.running:
            raise InstanceError(f"{self.name} runs already")
        if self.deployed is None:
            raise InstanceError(f"nothing is deployed in {self.name}")

        def run() -> None:
            self.running = True

        self.world.act(f"start {self.name}", run)

    def wait_ready(self, say: Say) -> None:
        if self.deployed in self.world.bad:
            raise InstanceError(f"{self.name}: its listener threw")

        def ready() -> None:
            self.ready = True
            live = self.world.slots[self.world.active]
            self.sessions = live.sessions if live.running else 0

        self.world.act(f"wait until {self.name} is ready", ready)

    def wait_sessions(self, other: SlotServer, say: Say, *, fresh: bool) -> str:
        assert isinstance(other, FakeSlot)
        self.world.act(f"sessions of {other.name} on {self.name}")
        if self.sessions < other.sessions:
            raise SessionsMissing(f"{other.sessions - self.sessions} sessions are not on {self.name}")
        return f"{self.sessions} sessions"

    def stop(self) -> str:
        def end() -> None:
            self.running = self.ready = False
            self.sessions = 0

        self.world.act(f"stop {self.name}", end)
        return "stopped"

    def log_tail(self, lines: int) -> list[str]:
        return ["the last line"]


class FakeProxy:
    """The proxy's app. lose_answer: the number of the switch whose answer is lost; carried_out: it was done.

    It judges trials whenever it is asked. trials: whether it knows them; guards: whether it goes by their bounds.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.epoch = 0
        self.requests = {"production": 0, "temp": 0}
        self.errors = {"production": 0, "temp": 0}
        self.p99: dict[str, float | None] = {"production": None, "temp": None}
        self.new_errors: dict[str, int] = {}
        self.lose_answer: int | None = None
        self.carried_out = True
        self.progress: list[ReleaseProgress] = []
        self.in_flight = {"production": 0, "temp": 0}
        self.trials = True
        self.guards = True
        self.trial: TrialStatus | None = None
        self.last_trial: TrialOutcome | None = None
        self.seen: list[RecentRequest] = []
        self._begun = (0, 0)

    def app(self) -> AppStatus:
        self.world.act("ask the proxy")
        self.requests[self.world.active] += 100
        self.errors[self.world.active] += self.new_errors.get(self.world.slots[self.world.active].deployed or "", 0)
        self.judge()
        return self._app()

    def judge(self) -> None:
        """What the proxy does by itself, whoever asks or not."""
        trial = self.trial
        if trial is None:
            return
        assert trial.confirm_by is not None
        requests = self.requests[trial.to] - self._begun[0]
        errors = self.errors[trial.to] - self._begun[1]
        p99 = self.p99[trial.to]
        if self.guards and trial.guard is not None and _too_bad(trial.guard, requests, errors, p99):
            self._end("reverted", f"{errors} of {requests} answers were 5xx, p99 {p99} ms")
        elif self.world.clock.time() >= trial.confirm_by:
            self._end("reverted", "nobody confirmed it within 30 s")

    def _end(self, outcome: str, reason: str) -> None:
        trial = self.trial
        if trial is None:
            return
        self.last_trial = TrialOutcome.model_validate(
            {
                "from": trial.from_slot,
                "to": trial.to,
                "epoch": trial.epoch,
                "outcome": outcome,
                "reason": reason,
                "time": self.world.clock.time(),
            }
        )
        self.trial = None
        if outcome == "reverted":
            self.world.active = trial.from_slot
            self.epoch += 1

    def confirm(self) -> AppStatus:
        self.judge()
        if self.trial is None:
            raise ProxyRefused("no switch is on trial", status=409)
        self.world.act("confirm", lambda: self._end("confirmed", "it was confirmed"))
        return self._app()

    def recent(self) -> list[RecentRequest]:
        return self.seen

    def close_idle(self, slot: str) -> None:
        self.world.act(f"close idle connections to {slot}")

    def _app(self) -> AppStatus:
        return AppStatus(
            name="shop",
            active=self.world.active,
            epoch=self.epoch,
            held=0,
            switching=False,
            slots=tuple(self._slot(name) for name in self.world.slots),
            trial=self.trial,
            last_trial=self.last_trial,
        )

    def _slot(self, name: str) -> SlotStatus:
        health = "up" if self.world.slots[name].ready else "down"
        backend = BackendStatus(address="127.0.0.1:1", health=health, since=0.0)
        return SlotStatus(
            name=name,
            active=name == self.world.active,
            backends=(backend,),
            in_flight=self.in_flight[name],
            tunnels=0,
            requests=self.requests[name],
            errors_5xx=self.errors[name],
            latency_p99_ms=self.p99[name],
        )

    def switch(self, request: SwitchRequest) -> SwitchReport:
        origin = self.world.active

        def go() -> None:
            assert request.expect_active == self.world.active
            self._end("replaced", f"a switch to {request.to} was asked for")
            self.world.active = request.to
            self.epoch += 1
            self._begun = (self.requests[request.to], self.errors[request.to])
            if request.confirm_within is not None:
                self.trial = self._on_trial(origin, request, request.confirm_within)

        self.judge()
        origin = self.world.active
        if request.expect_active != origin:
            raise ProxyRefused(f"slot {origin} is active", status=409)
        if request.confirm_within is not None and not self.trials:
            raise ProxyRefused("the proxy refused (422): guard: Extra inputs are not permitted", status=422)

        if self.lose_answer == self.epoch + 1:
            self.lose_answer = None
            self.world.act("switch, answer lost", go if self.carried_out else lambda: None)
            raise AnswerLost("the proxy did not answer")
        self.world.act(f"switch to {request.to}", go)
        return SwitchReport(
            app="shop",
            from_slot=origin,
            to=request.to,
            epoch=self.epoch,
            workers=2,
            hold_ms=1.5,
            held=3,
            in_flight=2,
            barrier_sessions=0,
            drained=True,
            drain_ms=20.0,
            tunnels=0,
        )

    def _on_trial(self, origin: str, request: SwitchRequest, within: float) -> TrialStatus:
        now = self.world.clock.time()
        return TrialStatus.model_validate(
            {
                "from": origin,
                "to": request.to,
                "epoch": self.epoch,
                "started": now,
                "confirm_by": now + within,
                "guard": request.guard,
            }
        )

    def set_release(self, slot: str, release: str) -> None:
        self.world.act(f"tell the proxy that {slot} runs {release[0]}")

    def report(self, progress: ReleaseProgress) -> None:
        self.progress.append(progress)


def _too_bad(guard: Guard, requests: int, errors: int, p99: float | None) -> bool:
    ratio, longest = guard.max_error_ratio, guard.max_p99
    return (ratio is not None and requests >= guard.min_requests and errors > ratio * requests) or (
        longest is not None and p99 is not None and requests >= guard.min_requests_p99 and p99 > longest * 1000
    )


@dataclass
class FakeStore:
    world: World

    def add(self, war_path: Path) -> Release:
        wanted = release(int(war_path.stem.removeprefix("shop-")))

        def keep() -> None:
            self.world.stored[wanted.id] = wanted

        self.world.act(f"store {wanted.id[0]}", keep)
        return wanted

    def get(self, id_or_prefix: str) -> Release:
        return self.world.stored[id_or_prefix]

    def list(self) -> list[Release]:
        return list(self.world.stored.values())

    def prune(self, keep: int, in_use: Iterable[str]) -> list[Release]:
        self.world.act("prune")
        return []


@dataclass
class FakeStatic:
    world: World

    def publish(self, release: Release) -> str:
        self.world.act(f"publish static files of {release.id[0]}")
        return "1 file"


@dataclass
class FakeChecks:
    """failing: addresses whose smoke tests fail."""

    world: World
    failing: frozenset[str] = frozenset()
    warmed: list[tuple[str, tuple[str, ...], str | None]] = field(default_factory=list)

    def smoke(self, url: str) -> str:
        self.world.act(f"smoke test {url}")
        if url in self.failing:
            raise ReleaseFailed(f"smoke tests failed on {url}")
        return "1 passed"

    def warm_up(self, url: str, sample: Sequence[str], live_url: str | None, say: Say) -> str:
        self.world.act(f"warm up {url}")
        self.warmed.append((url, tuple(sample), live_url))
        return "200 requests"

    def public(self) -> str:
        self.world.act("ask the public address")
        return "200"


@dataclass
class FakeHooks:
    world: World
    ran: list[Mapping[str, str]] = field(default_factory=list)

    def run(self, moment: str, environment: Mapping[str, str], say: Say) -> str:
        self.world.act(f"hooks {moment}")
        self.ran.append(environment)
        return "1 done"


@dataclass
class FakeJournal:
    """Notes as text; its failures are the world's."""

    world: World
    notes: list[str] = field(default_factory=list)
    state: RunState = "running"

    def intend(self, run: int, number: int, phase: Phase, name: str, slot: str | None) -> int:
        self.notes.append(f"{phase} {name}: intended")
        return len(self.notes)

    def outcome(self, step: int, state: StepState, detail: str) -> None:
        self.notes.append(f"{self.notes[step - 1].split(':')[0]}: {state}")

    def end(self, run: int, state: RunState, detail: str) -> None:
        self.state = state


@dataclass
class Model:
    """A world with everything around it. Begins with release 1 live in production and temp stopped."""

    world: World = field(default_factory=World)
    timings: Timings = field(default_factory=lambda: Timings(watch=3.0))
    hooks_counts: Mapping[str, int] = field(default_factory=dict)
    replicate: bool = True

    def __post_init__(self) -> None:
        for name in ("production", "temp"):
            self.world.slots[name] = FakeSlot(self.world, name)
        self.proxy = FakeProxy(self.world)
        self.checks = FakeChecks(self.world)
        self.hooks = FakeHooks(self.world)
        self.journal = FakeJournal(self.world)
        self.events: list[Event] = []
        self.interrupts = Interrupts(lambda _: None)
        self.site = Site(
            "shop",
            self.world.slots,
            self.proxy,
            FakeStore(self.world),
            FakeStatic(self.world),
            self.checks,
            self.hooks,
            self.world.clock,
            self.timings,
        )
        self.runs("production", 1, sessions=10)

    def runs(self, slot: str, number: int, sessions: int = 10) -> None:
        """The slot serves a release."""
        one = self.world.slots[slot]
        one.running = one.ready = True
        one.deployed, one.sessions = release(number).id, sessions
        self.world.stored[release(number).id] = release(number)

    def stopped(self, slot: str) -> None:
        one = self.world.slots[slot]
        one.running = one.ready = False
        one.sessions = 0

    @property
    def ways(self) -> Ways:
        places = {
            name: Place(name, f"http://{name}", f"/base/{name}", f"/base/{name}/log", (8081,), "java …", _emptied(name))
            for name in self.world.slots
        }
        return Ways(
            app="shop",
            places=places,
            timings=self.timings,
            replicate=self.replicate,
            static_patterns=("static/**",),
            static_to="/static",
            smoke_tests=1,
            warmup_requests=200,
            warmup_paths=("/",),
            warmup_sample=50,
            hooks=self.hooks_counts,
            public_url="http://public",
        )

    def plan(
        self,
        number: int,
        strategy: str = "return",
        *,
        rollback: bool = False,
        accept: bool = False,
        settle: bool = False,
        stored: bool = False,
    ) -> Plan:
        source = None if rollback or stored else Path(f"/upload/shop-{number}.war")
        wish = Wish(release(number), strategy, source, rollback, accept, settle=settle)  # type: ignore[arg-type]
        return plan_release(wish, self.site.observe(), self.ways, self.world.stored)

    def run(self, plan: Plan) -> Outcome:
        runner = Runner(self.site, self.journal, self.interrupts, self.events.append, lambda: None)
        return runner.run(plan, 1)

    def reborn(self) -> None:
        """A new deployer after the former one's death: nothing of it is left but the world."""
        self.world.acts, self.world.fail_at, self.world.fail_from, self.world.kill_at = 0, None, None, None
        self.world.log.clear()
        self.journal = FakeJournal(self.world)
        self.interrupts = Interrupts(lambda _: None)

    def live(self) -> str | None:
        """The release that users get."""
        return self.world.slots[self.world.active].deployed
