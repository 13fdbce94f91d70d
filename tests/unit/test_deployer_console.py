"""What operators and machines read of a run, and what is said of where things are."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from site_model import FakeProxy, Model, World, release

from deployer import advice
from deployer.console import JsonConsole, LineConsole, LiveConsole, Output
from deployer.errors import DeployerError
from deployer.facts import table
from deployer.interrupts import Abandoned, InterruptibleClock, Interrupts
from deployer.journal import Run, StepRecord
from deployer.progress import ProxyProgress
from deployer.release import InstanceFacts, Observed

if TYPE_CHECKING:
    from deployer.console import Console
    from deployer.runner import Outcome
    from proxy.wire import ReleaseProgress


def shown(console: Console, *, fail: bool = False, undo_fails: bool = False) -> Outcome:
    """Runs a release by `swap` and lets the console follow."""
    model = Model()
    if fail:
        model.checks.failing = frozenset({"http://temp"})
    if undo_fails:
        model.world.bad = frozenset({release(1).id})
        model.checks.failing = frozenset({"http://production"})
    plan = model.plan(2, "return" if undo_fails else "swap")
    console.begin(plan)
    model.events = Following(console)  # type: ignore[assignment]
    outcome = model.run(plan)
    console.end(plan, outcome, ["temp: stopped"])
    return outcome


class Following(list):  # type: ignore[type-arg]
    def __init__(self, console: Console) -> None:
        self.append = console.event  # type: ignore[method-assign]


def test_lines_of_a_release_that_goes_well() -> None:
    stream = io.StringIO()
    shown(LineConsole(Output(stream)))
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("release shop to 222222222222")
    assert "[8/10] Switch from production to temp in the proxy, and drain production." in lines
    assert any(line.startswith("[8/10]   done (0.0 s): 3 requests waited, at most 1.5 ms; ") for line in lines)
    assert lines[-2].startswith("done in ")
    assert lines[-1] == "temp: stopped"


def test_lines_of_a_release_that_is_undone_leave_out_what_needed_no_undo() -> None:
    stream = io.StringIO()
    shown(LineConsole(Output(stream)), fail=True)
    text = stream.getvalue()
    assert "FAILED" in text
    assert [line for line in text.splitlines() if "undo: " in line] == [
        "[4/10] undo: start temp",
        "[2/10] undo: static files",
    ]
    assert "failed, and undone: the site is as before\nwhy: smoke test temp: smoke tests failed on http://temp" in text


def test_lines_of_a_release_that_needs_a_person() -> None:
    stream = io.StringIO()
    outcome = shown(LineConsole(Output(stream)), undo_fails=True)
    assert outcome.exit_code == 4
    text = stream.getvalue()
    assert "failed, and the site needs a person" in text
    assert "the undo stopped: undo of stop production: production: its listener threw" in text


def test_json_lines_end_with_the_result() -> None:
    stream = io.StringIO()
    shown(JsonConsole(Output(stream)), fail=True)
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert objects[0]["event"] == "plan"
    assert objects[0]["steps"][0]["describe"][0] == "Store /upload/shop-2.war as release 222222222222."
    states = [one["state"] for one in objects if one.get("step") == "smoke test temp"]
    assert states == ["started", "failed", "undoing", "undone"]
    result = objects[-1]
    assert (result["event"], result["state"], result["exit_code"]) == ("result", "undone", 1)
    assert result["release"] == release(2).id
    assert result["where"] == ["temp: stopped"]


def test_the_live_table_shows_every_step() -> None:
    stream = io.StringIO()
    shown(LiveConsole(Output(stream)), fail=True)
    text = stream.getvalue()
    for name in ("store", "start temp", "smoke test temp", "watch temp"):
        assert name in text
    assert "failed, and undone" in text


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("kind", [LineConsole, JsonConsole, LiveConsole])
def test_a_reader_that_has_gone_stops_nothing(kind: type[LineConsole | JsonConsole | LiveConsole]) -> None:
    assert shown(kind(Output(Gone()))).state == "done"


def test_columns_that_are_empty_are_left_out() -> None:
    assert table([["slot", "", "since"], ["temp", "", "5 s"], ["production", "", ""]]) == [
        "slot        since",
        "temp        5 s",
        "production",
    ]


# --- advice -----------------------------------------------------------------------------------------------


def facts(running: bool, ready: bool, identity: str | None) -> InstanceFacts:
    return InstanceFacts(running, 7 if running else None, None, ready, identity, 3 if ready else None, None)


def cut_run(**changes: object) -> Run:
    values: dict[str, object] = {
        "id": 4,
        "kind": "release",
        "release": "new",
        "name": "shop-2.war",
        "previous": "old",
        "strategy": "return",
        "message": "",
        "by": "anna@host",
        "pid": 99,
        "started": 0.0,
        "ended": None,
        "state": "running",
        "detail": "",
    }
    return Run(**{**values, **changes})  # type: ignore[arg-type]


STEP = StepRecord(12, "run", "start production", "production", 0.0, None, "intended", "")


def observed(active: str, production: InstanceFacts, temp: InstanceFacts) -> Observed:
    return Observed(active, False, {"production": production, "temp": temp}, {})


def test_what_is_running_where() -> None:
    slots = {"production": facts(True, True, "old"), "temp": facts(False, False, None)}
    assert advice.where("production", slots, {"old": "shop-1.war"}) == [
        "production: active, serves release old (shop-1.war), pid 7, 3 sessions",
        "temp: stopped, empty",
    ]
    slots = {"production": facts(True, False, None), "temp": facts(False, False, "new")}
    assert advice.where(None, slots, {}) == [
        "production: runs but is not ready: an unknown release, pid 7",
        "temp: stopped, has release new",
    ]


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (
            observed("temp", facts(False, False, None), facts(True, True, "new")),
            [
                "users are on the new release, in temp",
                "makes release new live; `deployer abort` goes back",
            ],
        ),
        (
            observed("production", facts(True, True, "old"), facts(True, False, "new")),
            ["users are on the former release, in production", "`deployer resume`"],
        ),
        (
            observed("production", facts(False, False, "old"), facts(False, False, None)),
            ["the site is down: production is active and stopped", "`deployer resume`"],
        ),
        (None, ["start the proxy, then ask `deployer status` again"]),
    ],
)
def test_what_to_do_after_a_command_was_cut_off(site: Observed | None, expected: list[str]) -> None:
    said = advice.after_cut_off(cut_run(), [STEP], site, {"old", "new"})
    assert said[0] == "the release of new by anna@host (pid 99) was cut off at step 12, start production"
    assert len(said) == len(expected) + 1
    for line, words in zip(said[1:], expected, strict=True):
        assert words in line


def test_what_is_not_stored_cannot_be_resumed_or_gone_back_to() -> None:
    site = observed("production", facts(True, True, "old"), facts(False, False, None))
    [_, _, line] = advice.after_cut_off(cut_run(), [], site, {})
    assert line == "`deployer release` of shop-2.war begins again: it was not stored yet"


def test_hints_when_nothing_was_cut_off() -> None:
    down = observed("production", facts(False, False, "old"), facts(True, True, "old"))
    assert advice.hints(down, "swap") == [
        "the site is down: production is active and stopped; `deployer start production`, or `deployer switch temp`"
    ]
    away = observed("temp", facts(False, False, "old"), facts(True, True, "old"))
    assert advice.hints(away, "swap") == []
    assert advice.hints(away, "return") == ["temp is active, not production: the next release or rollback goes home"]
    sick = observed("temp", facts(False, False, "old"), facts(True, False, "old"))
    assert "active but not ready: see `deployer logs temp`" in advice.hints(sick, "swap")[0]
    assert "proxy run" in advice.hints(None, "swap")[0]


# --- signals and progress ---------------------------------------------------------------------------------


def test_the_first_signal_is_met_at_the_next_wait_and_the_second_leaves_at_once() -> None:
    said: list[str] = []
    interrupts = Interrupts(said.append)
    world = World()
    clock = InterruptibleClock(world.clock, interrupts)
    clock.sleep(1.2)
    assert world.clock.now == pytest.approx(1001.2)
    interrupts.interrupt()
    assert "once more leaves everything as it is now" in said[0]
    with pytest.raises(DeployerError, match="interrupted by the operator"):
        clock.sleep(5)
    assert world.clock.now == pytest.approx(1001.2)
    interrupts.undoing()
    clock.sleep(1)
    with pytest.raises(Abandoned):
        interrupts.interrupt()
    interrupts.settled()
    interrupts.interrupt()


class Deaf(FakeProxy):
    def report(self, progress: ReleaseProgress) -> None:
        super().report(progress)
        raise DeployerError("404: the proxy knows no releases")


def test_the_proxy_hears_of_each_step_and_of_the_end() -> None:
    model = Model()
    plan = model.plan(2, "swap")
    progress = ProxyProgress(model.proxy, plan, 1000.0, lambda _: None)
    outcome = model.run(plan)
    for event in model.events:
        progress.event(event)
    progress.end(outcome)
    last = model.proxy.progress[-1]
    assert (last.release, last.state, last.started) == (release(2).id, "done", 1000.0)
    assert [step.state for step in last.steps] == ["done"] * len(plan.steps)
    assert [step.state for step in model.proxy.progress[0].steps][:2] == ["running", "waiting"]


def test_a_proxy_that_does_not_listen_is_told_nothing_more() -> None:
    model = Model()
    plan = model.plan(2, "swap")
    deaf, said = Deaf(model.world), list[str]()
    progress = ProxyProgress(deaf, plan, 1000.0, said.append)
    outcome = model.run(plan)
    for event in model.events:
        progress.event(event)
    progress.end(outcome)
    assert len(deaf.progress) == 1
    assert said == ["the proxy does not show this release's progress: 404: the proxy knows no releases"]
