"""The active slot dies while a release begins: the other one may be the last that has the users' sessions."""

from __future__ import annotations

import pytest
from site_model import Model, release

from deployer.steps.slots import StopSlot


@pytest.mark.parametrize("strategy", ["return", "swap"])
def test_the_last_slot_that_serves_is_not_stopped(strategy: str) -> None:
    model = Model()
    model.runs("production", 1)
    model.runs("temp", 0)
    plan = model.plan(2, strategy)
    assert any(isinstance(step, StopSlot) and step.name == "stop temp" for step in plan.steps)
    model.world.outage_allowed = True
    model.stopped("production")
    outcome = model.run(plan)
    assert outcome.state == "undone"
    assert "production is active and does not run, so temp is not stopped" in outcome.problem
    assert outcome.advice == "`deployer switch temp` sends users there"
    assert model.world.slots["temp"].running
    assert model.world.slots["temp"].deployed == release(0).id


def test_a_slot_that_dies_while_its_sessions_are_counted_does_not_stop_the_release() -> None:
    model = Model()
    plan = model.plan(2, "swap")
    temp = model.world.slots["temp"]

    def die(what: str) -> None:
        if what == "sessions of production on temp":
            model.world.outage_allowed = True
            model.stopped("production")
            temp.sessions = -1  # as if production had been counted before its end

    model.world.on_act = die
    outcome = model.run(plan)
    assert (outcome.state, model.world.active, model.live()) == ("done", "temp", release(2).id)
    said = [event.text for event in model.events if event.name == "sessions on temp" and event.kind == "done"]
    assert said == ["production has died meanwhile: what temp has of its sessions is all that is left"]


def test_users_are_not_sent_to_a_slot_that_has_just_died() -> None:
    model = Model()
    plan = model.plan(2, "swap")

    def die(what: str) -> None:
        if what == "sessions of production on temp":
            model.world.on_act = None
            model.world.slots["temp"].running = False  # the proxy's probes do not know it yet

    model.world.on_act = die
    model.world.slots["temp"].sessions = 10
    outcome = model.run(plan)
    assert (outcome.state, model.world.active, model.live()) == ("undone", "production", release(1).id)
    assert "temp does not run any more, so users stay on production" in outcome.problem
    assert model.proxy.app().epoch == 0
