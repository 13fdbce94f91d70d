"""The plans of both strategies, from every state that a site can be in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from site_model import Model, release

from deployer.errors import Refused
from deployer.plan import Wish, plan_release
from deployer.release import Observed

if TYPE_CHECKING:
    from deployer.plan import Plan


def names(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps]


def test_return_goes_by_temp_and_back_to_production() -> None:
    assert names(Model().plan(2)) == [
        "store",
        "static files",
        "deploy to temp",
        "start temp",
        "smoke test temp",
        "warm up temp",
        "sessions on temp",
        "switch to temp",
        "watch temp",
        "stop production",
        "deploy to production",
        "start production",
        "smoke test production",
        "warm up production",
        "sessions on production",
        "switch to production",
        "watch production",
        "stop temp",
        "prune",
    ]


ARTICLE = (
    ("put the new release where it can be deployed", "store"),
    ("make the database changes that both releases can live with", "hooks before_start"),
    ("bring up temp with the new release", "start temp"),
    ("smoke test temp on its private address", "smoke test temp"),
    ("point the proxy at temp", "switch to temp"),
    ("bring production to the new release", "start production"),
    ("smoke test production", "smoke test production"),
    ("point the proxy back at production", "switch to production"),
    ("stop temp", "stop temp"),
)
"""The steps of the article that `return` follows, in its order, and the plan's step for each."""


def test_the_printed_plan_has_every_step_of_the_article_in_its_order() -> None:
    plan = Model(hooks_counts={"before_start": 1}).plan(2)
    order = [names(plan).index(step) for _, step in ARTICLE]
    assert order == sorted(order)
    printed = [line for line in plan.lines() if line[:3].strip().isdigit()]
    for place, (what, _) in zip(order, ARTICLE, strict=True):
        sentence = plan.steps[place].describe()[0]
        assert printed[place].endswith(sentence), what
    while_away = names(plan)[names(plan).index("switch to temp") : names(plan).index("switch to production")]
    assert "stop production" in while_away, "production is touched only while users are on temp"
    assert "stop temp" not in while_away


def test_each_switch_of_the_plan_is_on_trial_and_its_watch_confirms_it() -> None:
    text = "\n".join(Model().plan(2).lines())
    assert text.count("on trial: the proxy switches back by itself at more than 2.0% answers of 500 and above") == 2
    assert text.count("then confirm the switch.") == 2


def test_the_warm_up_compares_with_the_slot_that_users_are_on() -> None:
    text = "\n".join(Model().plan(2).lines())
    assert "users asked for of late, whose answers must be like those of production" in text
    assert "users asked for of late, whose answers must be like those of temp" in text


def test_swap_moves_once_and_leaves_the_old_slot_running() -> None:
    plan = Model().plan(2, "swap")
    assert names(plan) == [
        "store",
        "static files",
        "deploy to temp",
        "start temp",
        "smoke test temp",
        "warm up temp",
        "sessions on temp",
        "switch to temp",
        "watch temp",
        "prune",
    ]
    assert plan.lands_on == "temp"


def test_a_swap_replaces_what_still_runs_in_the_idle_slot() -> None:
    model = Model()
    model.runs("temp", 1)
    model.runs("production", 2)
    model.world.stored.pop(release(2).id)
    assert names(model.plan(3, "swap"))[2:5] == ["stop temp", "deploy to temp", "start temp"]


def test_return_from_temp_goes_home_in_one_move() -> None:
    model = Model()
    model.runs("temp", 2)
    model.world.active = "temp"
    plan = model.plan(3)
    assert [name for name in names(plan) if name.startswith(("switch", "stop", "start"))] == [
        "stop production",
        "start production",
        "switch to production",
        "stop temp",
    ]
    assert plan.lands_on == "production"


def test_the_first_release_is_started_where_the_proxy_sends_users() -> None:
    model = Model()
    model.stopped("production")
    model.world.slots["production"].deployed = None
    model.world.outage_allowed = True
    plan = model.plan(1)
    assert names(plan) == [
        "store",
        "static files",
        "deploy to production",
        "start production",
        "smoke test production",
        "warm up production",
        "prune",
    ]
    assert plan.notes == ("nothing runs in the active slot production: the site is down until it is started",)


def test_a_rollback_to_what_still_runs_is_one_switch() -> None:
    model = Model()
    model.runs("temp", 2)
    model.world.active = "temp"
    plan = model.plan(1, "swap", rollback=True)
    assert names(plan) == [
        "static files",
        "smoke test production",
        "sessions on production",
        "switch to production",
        "watch production",
    ]


def test_a_rollback_to_a_stored_release_takes_the_way_of_a_release_without_its_hooks() -> None:
    model = Model(hooks_counts={"before_start": 1, "after_switch": 1, "after_release": 1})
    model.runs("production", 2)
    plan = model.plan(1, rollback=True)
    assert names(plan)[:2] == ["static files", "deploy to temp"]
    hooks = [name for name in names(plan) if name.startswith("hooks")]
    assert hooks == ["hooks after_switch", "hooks after_switch"]


def test_hooks_run_at_their_moments() -> None:
    model = Model(hooks_counts={"before_start": 1, "smoke": 2, "after_switch": 1, "after_release": 1})
    plan = model.plan(2, "swap")
    found = names(plan)
    assert found.index("hooks before_start") < found.index("deploy to temp")
    assert found.index("hooks after_switch") == found.index("switch to temp") + 1
    assert found[-2:] == ["hooks after_release", "prune"]
    assert "then 2 of hooks.smoke" in "\n".join(plan.lines())


def test_return_needs_the_live_release_in_the_store() -> None:
    model = Model()
    model.world.stored.clear()
    with pytest.raises(Refused, match="not in the release store") as refused:
        model.plan(2)
    assert "--strategy swap" in refused.value.advice


def test_nothing_is_planned_while_the_proxy_switches() -> None:
    model = Model()
    seen = model.site.observe()
    busy = Observed(seen.active, True, seen.slots, seen.in_flight)
    with pytest.raises(Refused, match="a switch is going on"):
        plan_release(Wish(release(2), "swap"), busy, model.ways, model.world.stored)


def test_a_slot_that_only_the_proxy_knows_is_refused() -> None:
    model = Model()
    seen = model.site.observe()
    with pytest.raises(Refused, match="active slot is blue"):
        plan_release(Wish(release(2), "swap"), Observed("blue", False, seen.slots, {}), model.ways, {})


def test_without_replication_no_sessions_are_waited_for_and_the_plan_says_so() -> None:
    plan = Model(replicate=False).plan(2, "swap")
    assert not [name for name in names(plan) if name.startswith("sessions")]
    assert plan.notes == ("sessions are not replicated: each switch logs users out",)


def test_releasing_what_is_live_is_said() -> None:
    assert "live already" in "".join(Model().plan(1).notes)


def test_the_printed_plan_names_what_each_step_touches() -> None:
    text = "\n".join(Model().plan(2).lines())
    for expected in (
        "release shop to 222222222222 (shop-2.war), strategy return: by temp, and back to production",
        "  1. Store /upload/shop-2.war as release 222222222222.",
        "     - writes /store/222222222222.war",
        "     - empties /base/temp/webapps and /base/temp/work, then places /store/222222222222.war there",
        "     - runs java …",
        "Switch from production to temp in the proxy, and drain production.",
        "     - only when temp has all of its sessions",
    ):
        assert expected in text
