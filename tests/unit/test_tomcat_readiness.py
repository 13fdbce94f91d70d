"""Ready or not: every combination of what can be seen."""

from __future__ import annotations

import pytest

from deployer.tomcat.readiness import Seen, Verdict, judge


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
