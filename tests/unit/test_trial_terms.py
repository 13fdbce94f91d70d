"""What the deployer asks the proxy to watch for, and what it says of a trial that was not passed."""

from __future__ import annotations

import pytest

from deployer.advice import on_trial
from deployer.log_causes import causes
from deployer.trial import LONGEST, bad_requests, ended_text, switched_back
from deployer.ways import Timings
from proxy.wire import AppStatus, RecentRequest, TrialOutcome, TrialStatus


def app(active: str = "production", **more: object) -> AppStatus:
    return AppStatus.model_validate(
        {"name": "shop", "active": active, "epoch": 2, "held": 0, "switching": False, "slots": (), **more}
    )


def ended(
    outcome: str = "reverted", reason: str = "nobody confirmed it within 30 s", time: float = 50.0
) -> TrialOutcome:
    return TrialOutcome.model_validate(
        {"from": "production", "to": "temp", "epoch": 1, "outcome": outcome, "reason": reason, "time": time}
    )


def test_there_is_time_to_confirm_after_all_that_comes_before() -> None:
    terms = Timings(hold=5.0, drain=30.0, watch=20.0, hooks=300.0, grace=15.0).trial()
    assert terms is not None
    assert terms.confirm_within == 370.0
    longest = Timings(watch=100_000.0).trial()
    assert longest is not None
    assert longest.confirm_within == LONGEST
    assert Timings(watch=0.0).trial() is None


@pytest.mark.parametrize(("watch", "window"), [(0.3, 1.0), (20.0, 20.0), (600.0, 60.0)])
def test_the_guard_judges_the_last_of_the_watch(watch: float, window: float) -> None:
    terms = Timings(watch=watch, max_error_ratio=0.05, max_p99=1.5).trial()
    assert terms is not None
    guard = terms.guard()
    assert (guard.window, guard.max_error_ratio, guard.max_p99) == (window, 0.05, 1.5)
    assert (guard.min_requests, guard.min_requests_p99) == (20, 100)


def test_the_worst_requests_come_first_and_the_rest_is_counted() -> None:
    rows = [
        RecentRequest(slot="temp", method="GET", path=f"/{number}", status=500, count=number, slowest_ms=1.0)
        for number in range(1, 8)
    ]
    assert bad_requests(rows, "temp", 2.0) == [
        "GET /7: 500, 7 times",
        "GET /6: 500, 6 times",
        "GET /5: 500, 5 times",
        "GET /4: 500, 4 times",
        "GET /3: 500, 3 times",
        "and 2 more",
    ]
    assert bad_requests(rows[:1], "temp", 2.0) == ["GET /1: 500, once"]
    assert bad_requests(rows, "production", 2.0) == []


def test_a_trial_that_the_proxy_undid_is_told_and_no_other() -> None:
    assert switched_back(app(last_trial=ended()), "temp") is not None
    assert switched_back(app("temp", last_trial=ended()), "temp") is None
    assert switched_back(app(last_trial=ended("confirmed")), "temp") is None
    assert switched_back(app(last_trial=ended("replaced")), "temp") is None
    assert switched_back(app(), "temp") is None
    assert ended_text("production", ended()) == "the trial of temp was not confirmed: production is active again"
    guarded = ended(reason="7 of 20 answers in 3 s were 5xx")
    assert ended_text("production", guarded) == (
        "the trial of temp failed (7 of 20 answers in 3 s were 5xx): production is active again"
    )


def test_the_status_tells_of_an_open_trial_and_of_one_that_was_undone_since() -> None:
    open_one = TrialStatus.model_validate(
        {"from": "production", "to": "temp", "epoch": 1, "started": 10.0, "confirm_by": 40.0}
    )
    assert on_trial(app("temp", trial=open_one), 0.0, 15.0) == [
        "temp is on trial: unless it is confirmed within 25 s, the proxy switches back to production"
    ]
    stuck = open_one.model_copy(update={"problem": "not switched back to production: it is down"})
    assert on_trial(app("temp", trial=stuck), 0.0, 15.0)[0].endswith("; not switched back to production: it is down")
    assert on_trial(app(last_trial=ended(time=50.0)), 20.0, 60.0) == [
        "the trial of temp was not confirmed: production is active again"
    ]
    assert on_trial(app(last_trial=ended(time=50.0)), 55.0, 60.0) == []
    assert on_trial(app(last_trial=ended("confirmed")), 0.0, 60.0) == []


def test_the_causes_in_a_log_are_counted() -> None:
    log = [
        "22-Nov-2026 20:45:00.123 SEVERE [http-1] org.apache.catalina.core.X.invoke Servlet.service() threw exception",
        "\tjava.lang.IllegalStateException: no stock",
        "\t\tat shop.Cart.add(Cart.java:7)",
        "Caused by: java.net.ConnectException: Connection refused",
        "\tjava.lang.IllegalStateException: no stock",
        "Traceback (most recent call last):",
        "ValueError: bad item",
        "an ordinary line about an Error: nothing",
    ]
    assert causes(log) == [
        "java.lang.IllegalStateException: no stock, 2 times",
        "java.net.ConnectException: Connection refused, once",
        "ValueError: bad item, once",
    ]
    assert causes(log, most=1) == ["java.lang.IllegalStateException: no stock, 2 times"]
    assert causes([]) == []
