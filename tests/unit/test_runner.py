"""Every act of a release fails once, and is the deployer's last one once; site_model checks that users are served."""

from __future__ import annotations

import pytest
from site_model import FakeJournal, Killed, Model, release

from deployer.errors import DeployerError
from deployer.interrupts import InterruptibleClock
from deployer.journal import JournalError, Phase
from deployer.ways import Timings
from proxy.wire import RecentRequest

OLD, NEW = release(1).id, release(2).id


def swapped() -> Model:
    """As a `swap` leaves it: release 1 live in temp, release 0 still runs in production."""
    model = Model()
    model.runs("production", 0)
    model.runs("temp", 1)
    model.world.active = "temp"
    return model


def acts_of(make: object, strategy: str) -> int:
    model = make()  # type: ignore[operator]
    plan = model.plan(2, strategy)
    model.world.acts = 0
    assert model.run(plan).state == "done"
    return int(model.world.acts)


def running(model: Model) -> dict[str, str | None]:
    return {name: slot.deployed for name, slot in model.world.slots.items() if slot.running}


CASES = [(Model, "return"), (Model, "swap"), (swapped, "return"), (swapped, "swap")]


@pytest.mark.parametrize(("make", "strategy"), CASES)
def test_a_release_brings_users_to_the_new_release(make: type[Model], strategy: str) -> None:
    model = make()
    plan = model.plan(2, strategy)
    outcome = model.run(plan)
    assert outcome.state == "done"
    assert outcome.exit_code == 0
    assert model.live() == NEW
    assert model.world.active == plan.lands_on
    assert model.journal.state == "done"
    other = next(slot for name, slot in model.world.slots.items() if name != model.world.active)
    assert other.running is (strategy == "swap")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("make", "strategy"), CASES)
def test_whatever_fails_the_site_is_as_before_or_the_release_is_done(
    make: type[Model], strategy: str, late: bool
) -> None:
    for number in range(1, acts_of(make, strategy) + 1):
        model = make()
        before = {
            name: (slot.running, slot.deployed if slot.running else None) for name, slot in model.world.slots.items()
        }
        active = model.world.active
        plan = model.plan(2, strategy)
        model.world.acts, model.world.fail_at, model.world.late = 0, number, late
        outcome = model.run(plan)
        assert outcome.state in ("done", "undone"), model.world.log
        if outcome.state == "done":
            assert model.live() == NEW
            continue
        assert outcome.exit_code == 1
        assert "made to fail" in outcome.problem
        assert model.live() == OLD, model.world.log
        assert model.world.active == active
        after = {
            name: (slot.running, slot.deployed if slot.running else None) for name, slot in model.world.slots.items()
        }
        assert after == before, model.world.log


@pytest.mark.parametrize(("make", "strategy"), CASES)
@pytest.mark.parametrize("then", ["release", "rollback"])
@pytest.mark.parametrize("late", [False, True])
def test_after_a_kill_at_any_act_a_release_or_a_rollback_works(
    make: type[Model], strategy: str, then: str, late: bool
) -> None:
    for number in range(1, acts_of(make, strategy) + 1):
        model = make()
        plan = model.plan(2, strategy)
        model.world.acts, model.world.kill_at, model.world.late = 0, number, late
        with pytest.raises(Killed):
            model.run(plan)
        model.reborn()
        if then == "release":
            # Another release has to wait for the end of a trial.
            model.world.clock.now += 1000.0
            model.proxy.judge()
        wanted = 3 if then == "release" else 1
        try:
            again = model.plan(wanted, strategy, rollback=then == "rollback")
        except DeployerError:
            pytest.fail(f"no plan after a kill before {model.world.log}")
        outcome = model.run(again)
        assert outcome.state == "done", (number, outcome, model.world.log)
        assert model.live() == release(wanted).id


@pytest.mark.parametrize(("make", "strategy"), CASES)
def test_when_the_undo_fails_too_users_are_still_served_and_a_person_is_asked_for(
    make: type[Model], strategy: str
) -> None:
    seen = set()
    for number in range(1, acts_of(make, strategy) + 1):
        model = make()
        plan = model.plan(2, strategy)
        model.world.acts, model.world.fail_from = 0, number
        outcome = model.run(plan)
        seen.add(outcome.state)
        assert model.live() in (OLD, NEW)
        if outcome.state == "failed":
            assert outcome.exit_code == 4
            assert outcome.undo_problem
    assert "failed" in seen


def test_a_release_that_does_not_start_never_meets_a_user() -> None:
    model = Model()
    model.world.bad = frozenset({NEW})
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    assert "its listener threw" in outcome.problem
    assert not [act for act in model.world.log if act.startswith("switch")]
    assert not model.world.slots["temp"].running


def test_a_release_that_is_bad_only_in_production_is_undone_while_temp_serves() -> None:
    model = Model()
    model.checks.failing = frozenset({"http://production"})
    plan = model.plan(2)
    outcome = model.run(plan)
    assert outcome.state == "undone"
    assert model.live() == OLD
    acts = [act for act in model.world.log if act.startswith(("switch", "deploy", "start", "stop"))]
    assert acts == [
        "deploy 2 to temp",
        "start temp",
        "switch to temp",
        "stop production",
        "deploy 2 to production",
        "start production",
        "stop production",
        "deploy 1 to production",
        "start production",
        "switch to production",
        "stop temp",
    ]


def test_errors_after_the_switch_undo_it() -> None:
    model = Model()
    model.proxy.new_errors = {NEW: 20}
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    assert "the trial of temp failed" in outcome.problem
    assert "production is active again" in outcome.problem
    assert "deployer logs temp" in outcome.advice
    assert model.live() == OLD
    assert model.world.log.count("switch to production") == 0, "the proxy did it"


def test_slowness_after_the_switch_undoes_it() -> None:
    model = Model()
    model.proxy.p99["temp"] = 2500.0
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    assert "p99 2500.0 ms" in outcome.problem


@pytest.mark.parametrize("p99", [None, 2500.0])
def test_a_proxy_without_trials_is_watched_from_here_alone(p99: float | None) -> None:
    model = Model()
    model.proxy.trials = False
    model.proxy.p99["temp"] = p99
    model.proxy.new_errors = {} if p99 else {NEW: 20}
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    why = "99th percentile is 2500 ms, allowed are 2000 ms" if p99 else "answers of temp were 500 and above"
    assert why in outcome.problem
    assert any("this proxy knows no trials" in event.text for event in model.events)
    assert model.world.log.count("switch to production") == 1


def test_the_warm_up_gets_what_users_asked_for_and_the_live_slot() -> None:
    model = Model()
    model.proxy.seen = [
        RecentRequest(slot="production", method="GET", path="/cart", status=200, count=7, slowest_ms=3.0),
        RecentRequest(slot="production", method="GET", path="/logout", status=200, count=9, slowest_ms=3.0),
    ]
    assert model.run(model.plan(2)).state == "done"
    assert model.checks.warmed == [
        ("http://temp", ("/cart",), "http://production"),
        ("http://production", ("/cart",), "http://temp"),
    ]


def test_each_switch_is_confirmed_at_the_end_of_its_watch() -> None:
    model = Model()
    assert model.run(model.plan(2)).state == "done"
    assert model.world.log.count("confirm") == 2
    assert model.proxy.last_trial is not None
    assert (model.proxy.trial, model.proxy.last_trial.outcome) == (None, "confirmed")


def test_without_a_watch_no_switch_is_on_trial() -> None:
    model = Model(timings=Timings(watch=0.0))
    outcome = model.run(model.plan(2))
    assert outcome.state == "done"
    assert model.proxy.last_trial is None


def test_why_the_proxy_switched_back_is_told_with_requests_and_the_logs_causes() -> None:
    model = Model()
    model.proxy.new_errors = {NEW: 20}
    model.proxy.seen = [
        RecentRequest(slot="temp", method="GET", path="/cart?item=1", status=500, count=7, slowest_ms=3.0),
        RecentRequest(slot="temp", method="GET", path="/report", status=200, count=1, slowest_ms=2600.0),
        RecentRequest(slot="temp", method="GET", path="/", status=200, count=90, slowest_ms=3.0),
        RecentRequest(slot="production", method="GET", path="/old", status=500, count=9, slowest_ms=3.0),
    ]
    model.world.slots["temp"].log_tail = lambda _: ["java.lang.IllegalStateException: no stock"] * 2  # type: ignore
    problem = model.run(model.plan(2)).problem
    assert "GET /cart?item=1: 500, 7 times" in problem
    assert "GET /report: 200 after 2.6 s" in problem
    assert "java.lang.IllegalStateException: no stock, 2 times" in problem
    assert "/old" not in problem
    assert "GET /:" not in problem


def test_a_deployer_that_slept_over_the_trial_says_that_the_proxy_went_back() -> None:
    model = Model()

    def sleep_long(what: str) -> None:
        if what == "switch to temp":
            model.world.clock.now += 10_000.0

    model.world.on_act = sleep_long
    outcome = model.run(model.plan(2))
    assert outcome.state in ("done", "undone")
    model = Model()

    def sleep_in_watch(what: str) -> None:
        if model.proxy.trial is not None and what == "ask the proxy":
            model.world.clock.now += 10_000.0

    model.world.on_act = sleep_in_watch
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    assert "the trial of temp was not confirmed: production is active again" in outcome.problem
    assert model.live() == OLD


@pytest.mark.parametrize("strategy", ["return", "swap"])
@pytest.mark.parametrize("end", ["resume", "rollback", "another release", "resume late", "rollback late"])
def test_after_a_kill_in_the_watch(strategy: str, end: str) -> None:
    model = Model()
    plan = model.plan(2, strategy)

    def kill(what: str) -> None:
        if model.proxy.trial is not None and what == "ask the proxy":
            raise Killed

    model.world.on_act = kill
    with pytest.raises(Killed):
        model.run(plan)
    model.world.on_act = None
    model.reborn()
    assert model.live() == NEW
    if end.endswith("late"):
        model.world.clock.now += 1000.0
        model.proxy.judge()
        assert model.live() == OLD
    if end == "another release":
        with pytest.raises(DeployerError, match="is on trial: another release can't begin"):
            model.plan(3, strategy)
        return
    back = end.startswith("rollback")
    again = model.plan(1 if back else 2, strategy, rollback=back, settle=back, stored=True)
    if end == "resume":
        assert again.steps[0].name == "watch temp"
    outcome = model.run(again)
    assert outcome.state == "done", outcome
    assert model.live() == (OLD if back else NEW)
    assert model.world.active == again.lands_on
    assert model.proxy.trial is None
    if back and end.endswith("late"):
        assert [step.name for step in again.steps] == ["static files", "stop temp"]
    if strategy == "return":
        assert running(model) == {"production": model.live()}


def test_a_server_that_ends_after_the_switch_is_noticed() -> None:
    model = Model()
    model.world.outage_allowed = True

    def crash(what: str) -> None:
        if model.world.active == "temp" and what == "ask the proxy":
            model.stopped("temp")

    model.world.on_act = crash
    outcome = model.run(model.plan(2, "swap"))
    assert outcome.state == "undone"
    assert "temp's server ended after the switch" in outcome.problem
    assert "the last line" in outcome.problem
    assert model.world.active == "production"


def test_missing_sessions_stop_the_release_unless_they_are_accepted() -> None:
    model = Model()
    model.world.slots["production"].sessions = 10

    def one_more(what: str) -> None:
        if what.startswith("sessions of production"):
            model.world.slots["production"].sessions = 15

    model.world.on_act = one_more
    outcome = model.run(model.plan(2, "swap"))
    assert outcome.state == "undone"
    assert "5 sessions are not on temp" in outcome.problem
    model.reborn()
    assert model.run(model.plan(2, "swap", accept=True)).state == "done"


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_answer_to_a_switch_is_settled_by_what_is_active(carried_out: bool) -> None:
    model = Model()
    model.proxy.lose_answer, model.proxy.carried_out = 1, carried_out
    outcome = model.run(model.plan(2, "swap"))
    assert outcome.state == ("done" if carried_out else "undone")
    assert model.live() == (NEW if carried_out else OLD)


def test_the_journal_has_each_intent_before_the_act() -> None:
    model = Model()
    order: list[str] = []
    model.world.on_act = order.append

    class Noting(FakeJournal):
        def intend(self, run: int, number: int, phase: Phase, name: str, slot: str | None) -> int:
            order.append(f"intend {name}")
            return super().intend(run, number, phase, name, slot)

    model.journal = Noting(model.world)
    model.run(model.plan(2, "swap"))
    assert order.index("intend deploy to temp") < order.index("empty temp")
    assert order.index("intend switch to temp") < order.index("switch to temp")
    assert model.journal.notes[-1] == "run prune: done"


def test_a_journal_that_cannot_be_written_stops_the_release_and_the_undo_goes_on() -> None:
    model = Model()

    class Full(FakeJournal):
        def intend(self, run: int, number: int, phase: Phase, name: str, slot: str | None) -> int:
            if name == "switch to temp" or phase == "undo":
                raise JournalError("disk full")
            return super().intend(run, number, phase, name, slot)

    model.journal = Full(model.world)
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    assert "disk full" in outcome.problem
    assert model.live() == OLD
    assert not model.world.slots["temp"].running


def test_a_lock_that_was_broken_stops_the_release() -> None:
    model = Model()
    plan = model.plan(2)
    from deployer.runner import Runner

    checks = iter(range(100))

    def check() -> None:
        if next(checks) == 5:
            raise DeployerError("someone broke our lock")

    outcome = Runner(model.site, model.journal, model.interrupts, model.events.append, check).run(plan, 1)
    assert outcome.state == "undone"
    assert "broke our lock" in outcome.problem


def test_a_failure_after_the_release_is_done_is_a_warning() -> None:
    model = Model()
    plan = model.plan(2)
    stops = [number for number, act in enumerate(acts_log(plan, model), 1) if act == "stop temp"]
    fresh = Model()
    again = fresh.plan(2)
    fresh.world.acts, fresh.world.fail_at = 0, stops[-1]
    outcome = fresh.run(again)
    assert outcome.state == "done"
    assert outcome.warnings == ("stop temp: made to fail: stop temp",)
    assert fresh.live() == NEW


def acts_log(plan: object, model: Model) -> list[str]:
    model.world.log.clear()
    model.run(plan)  # type: ignore[arg-type]
    return model.world.log


def test_one_interrupt_undoes_at_the_next_wait() -> None:
    model = Model()
    object.__setattr__(model.site, "clock", InterruptibleClock(model.world.clock, model.interrupts))

    def ctrl_c(what: str) -> None:
        if what == "switch to temp":
            model.interrupts.interrupt()

    model.world.on_act = ctrl_c
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    assert "interrupted by the operator" in outcome.problem
    assert model.live() == OLD


def test_a_second_interrupt_leaves_everything_and_asks_for_a_person() -> None:
    model = Model()

    def ctrl_c(what: str) -> None:
        if what in ("switch to temp", "switch to production"):
            model.interrupts.interrupt()

    model.world.on_act = ctrl_c
    outcome = model.run(model.plan(2))
    assert outcome.state == "failed"
    assert outcome.exit_code == 4
    assert "left as it is by the operator" in outcome.problem
    assert model.live() == NEW


def test_an_error_that_is_a_bug_is_undone_like_any_other() -> None:
    model = Model()

    def bug(what: str) -> None:
        if what == "smoke test http://temp":
            raise ZeroDivisionError("a bug")

    model.world.on_act = bug
    outcome = model.run(model.plan(2))
    assert outcome.state == "undone"
    assert "ZeroDivisionError: a bug (at " in outcome.problem
