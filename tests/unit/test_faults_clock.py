"""The machine's clock is set back or forward: journal, lock and runner go on by the order of things, not by time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from site_model import Model, release

from deployer.errors import Refused
from deployer.journal import Intent, Journal, before_live, last_good, unfinished
from deployer.lock import Lock

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400.0


@dataclass
class JumpingClock:
    """The wall clock jumps by `step` seconds at each look; the monotonic one goes on evenly."""

    step: float
    wall: float = 1_800_000_000.0
    now: float = 0.0

    def time(self) -> float:
        self.wall += self.step
        return self.wall

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.001)


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_the_journal_knows_which_command_was_the_last(tmp_path: Path, step: float) -> None:
    journal = Journal(tmp_path, JumpingClock(step))
    for number, previous in ((1, None), (2, release(1).id)):
        run = journal.begin(Intent("release", release(number).id, "shop.war", previous, "return", "", "anna@host"))
        key = journal.intend(run, 1, "run", "store", None)
        journal.outcome(key, "done", "")
        journal.end(run, "done", "")
    cut = journal.begin(Intent("release", release(3).id, "shop.war", release(2).id, "return", "", "anna@host"))
    runs = journal.runs()
    assert [run.release for run in runs] == [release(number).id for number in (3, 2, 1)]
    found = unfinished(runs, None)
    assert found is not None
    assert found.id == cut
    assert before_live(runs, release(2).id) == release(1).id
    assert last_good(runs, 1) == {release(2).id}


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_the_lock_is_held_whatever_the_time(tmp_path: Path, step: float) -> None:
    lock = Lock(tmp_path, JumpingClock(step))
    with lock.held("release aaaa", "anna@host") as held:
        held.check()
        with pytest.raises(Refused, match=r"release aaaa, for \d+ s"):
            lock.held("release bbbb", "bert@host").__enter__()
    assert lock.holder() is None


@pytest.mark.parametrize("strategy", ["return", "swap"])
def test_a_release_takes_no_notice_of_a_clock_set_back(strategy: str) -> None:
    model = Model()
    model.world.clock.time = JumpingClock(-DAY).time  # type: ignore[method-assign]
    outcome = model.run(model.plan(2, strategy))
    assert (outcome.state, outcome.warnings) == ("done", ())
    assert 0 <= outcome.seconds < 3600
    assert model.live() == release(2).id


@pytest.mark.parametrize("strategy", ["return", "swap"])
def test_a_clock_set_forward_is_at_worst_a_trial_that_has_run_out(strategy: str) -> None:
    model = Model()
    model.world.clock.time = JumpingClock(DAY).time  # type: ignore[method-assign]
    outcome = model.run(model.plan(2, strategy))
    assert outcome.state in ("done", "undone")
    assert 0 <= outcome.seconds < 3600
    assert model.live() == release(2 if outcome.state == "done" else 1).id
