"""Ready or not: every combination of what can be seen."""

from __future__ import annotations

import pytest

from deployer.tomcat.readiness import Seen, Streak, Verdict, judge


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Seen(alive=False), Verdict.DIED),
        (Seen(alive=False, control=True, application="STARTED", service="STARTED"), Verdict.DIED),
        (Seen(alive=True), Verdict.WAIT),
        (Seen(alive=True, control=True), Verdict.WAIT),
        (Seen(alive=True, control=True, service="STARTING"), Verdict.WAIT),
        (Seen(alive=True, control=True, application="STARTING_PREP", service="STARTING_PREP"), Verdict.WAIT),
        (Seen(alive=True, control=True, application="STARTED", service="STARTING_PREP"), Verdict.WAIT),
        (Seen(alive=True, control=True, application="STARTED", service="STARTED"), Verdict.PROBE),
        (Seen(alive=True, control=True, application="FAILED", service="STARTING_PREP"), Verdict.FAILED),
        (Seen(alive=True, control=True, application="STOPPED", service="STARTED"), Verdict.FAILED),
        (Seen(alive=True, control=True, application=None, service="STARTED"), Verdict.FAILED),
        (Seen(alive=True, control=True, application="STARTING", service="STARTED"), Verdict.FAILED),
        (Seen(alive=True, control=True, application=None, service="FAILED"), Verdict.FAILED),
    ],
)
def test_verdicts(seen: Seen, verdict: Verdict) -> None:
    assert judge(seen) is verdict


def test_each_stage_has_words_for_the_operator() -> None:
    assert str(Seen(alive=False)) == "the process has ended"
    assert str(Seen(alive=True)) == "the JVM starts"
    assert str(Seen(alive=True, control=True)) == "Tomcat starts"
    assert str(Seen(alive=True, control=True, application="STARTING")) == "the application is STARTING"


def streak(*answers: str, every: float = 0.1, successes: int = 3) -> Streak:
    made = Streak(successes)
    for number, answer in enumerate(answers):
        made.add(answer, 1000.0 + number * every)
    return made


def test_200_several_times_in_a_row_passes() -> None:
    assert not streak("200", "200").passed
    assert streak("200", "200", "200").passed
    assert not streak("200", "200", "500 no", "200", "200").passed


@pytest.mark.parametrize("answer", ["500 database schema is too old: 3", "404", "403 Forbidden", "302"])
def test_the_same_definite_answer_for_some_seconds_is_believed(answer: str) -> None:
    assert not streak(*[answer] * 40).definite, "it may have changed its mind yet"
    assert streak(*[answer] * 60).definite
    assert streak(f"{answer} at 10:00:01", *[f"{answer} at 10:00:02"] * 60).definite, "the status counts, not the text"
    assert not streak(answer, answer, every=10.0).definite, "two answers are too few"
    assert not streak(*["503"] * 30, *[answer] * 30).definite
    assert not streak(*[answer] * 60, "200").definite


@pytest.mark.parametrize("answer", ["503 warming up", "429", "Connection refused", "timed out", "200"])
def test_what_may_pass_is_waited_for(answer: str) -> None:
    assert not streak(*[answer] * 500).definite
