"""The soak's account finds what it is there to find."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.soak.account import Kill, account, read_records, stated
from benchmarks.soak.asked import Asked, asked, content
from benchmarks.soak.client import Answer, End
from benchmarks.soak.visits import Exchange

SECOND = 1_000_000_000
SLOTS = ((1, 2), (3, 4))
GOOD = Exchange(
    Asked(7, "sized", 10), "keep-alive", "GET", 10 * SECOND, 11 * SECOND, 5000, Answer(End.WHOLE, 200, close=False)
)
SEEN = f"E 7 1 arrived {10 * SECOND}\nE 7 1 whole {10 * SECOND}\n"


def rules(exchange: Exchange, log: str, kills: tuple[Kill, ...] = (), lines: int = 1) -> list[str]:
    found = account([exchange], read_records(log, SLOTS), kills, {exchange.asked.number: lines})
    return [violation.rule for violation in found.violations]


def answered(status: int, end: End = End.WHOLE) -> Answer:
    return Answer(end, status)


def test_a_right_answer_is_no_violation() -> None:
    assert rules(GOOD, SEEN) == []


@pytest.mark.parametrize(
    ("exchange", "log", "lines"),
    [
        pytest.param(replace(GOOD, right=False), SEEN, 1, id="wrong content"),
        pytest.param(replace(GOOD, answer=answered(502)), SEEN, 1, id="502 without a fault"),
        pytest.param(replace(GOOD, answer=answered(503)), SEEN, 1, id="503 without a fault"),
        pytest.param(replace(GOOD, answer=answered(200, End.CUT)), SEEN, 1, id="cut without a fault"),
        pytest.param(replace(GOOD, answer=answered(0, End.LATE)), SEEN, 1, id="no answer in time"),
        pytest.param(GOOD, SEEN + SEEN, 1, id="sent twice"),
        pytest.param(GOOD, "", 1, id="answered by nobody"),
        pytest.param(GOOD, SEEN + f"E 7 1 torn {11 * SECOND}\n", 1, id="upload torn"),
        pytest.param(GOOD, SEEN + f"E 8 1 arrived {10 * SECOND}\n", 1, id="a request that nobody sent"),
        pytest.param(GOOD, SEEN, 0, id="not in the access log"),
        pytest.param(GOOD, SEEN, 2, id="twice in the access log"),
        pytest.param(replace(GOOD, visit="malformed", answer=answered(400)), SEEN, 1, id="malformed and forwarded"),
        pytest.param(replace(GOOD, asked=Asked(7, "cut-sized", 10)), SEEN, 1, id="a cut answer shown as whole"),
    ],
)
def test_what_is_not_stated_is_a_violation(exchange: Exchange, log: str, lines: int) -> None:
    assert len(rules(exchange, log, lines=lines)) == 1


def test_a_fault_excuses_only_the_exchanges_of_its_time() -> None:
    refused = replace(GOOD, answer=answered(503))
    both = "".join(f"W refuse {port} {9 * SECOND} {12 * SECOND}\n" for port in SLOTS[0])
    assert rules(refused, both) == []
    assert rules(refused, both.splitlines()[0]) != []
    assert rules(replace(refused, began=20 * SECOND, ended=21 * SECOND), both) != []
    slam = f"W slam 1 {10 * SECOND} {11 * SECOND}\n"
    assert rules(replace(GOOD, answer=answered(502)), slam) == []
    assert rules(refused, slam) != []


def test_a_kill_excuses_only_the_clients_of_its_worker() -> None:
    cut = replace(GOOD, answer=answered(0, End.NONE))
    assert rules(cut, SEEN, (Kill(10 * SECOND + 1, frozenset((5000,))),)) == []
    assert rules(cut, SEEN, (Kill(10 * SECOND + 1, frozenset((5001,))),)) != []
    assert rules(cut, SEEN, (Kill(20 * SECOND, frozenset((5000,))),)) != []


def test_a_post_on_a_connection_that_was_closed_may_fail_and_a_get_may_not() -> None:
    failed = replace(GOOD, answer=answered(502))
    stale = f"S 1 {10 * SECOND}\n"
    assert rules(replace(failed, method="POST"), stale) == []
    assert rules(failed, stale) != []


def test_a_faulted_get_may_be_sent_twice_and_a_faulted_post_may_not() -> None:
    reset = replace(GOOD, asked=Asked(7, "reset", 10), answer=answered(502))
    assert rules(reset, SEEN + SEEN) == []
    assert len(rules(reset, SEEN * 3)) == 1
    assert len(rules(replace(reset, method="POST"), SEEN + SEEN)) == 1


def test_a_client_that_sends_on_over_the_limit_after_an_early_answer_may_lose_it() -> None:
    lost = replace(GOOD, method="POST", asked=Asked(7, "early", 10, 1024 * 1024 + 1), answer=answered(0, End.NONE))
    assert rules(lost, SEEN) == []
    assert rules(replace(lost, asked=replace(lost.asked, upload=1024 * 1024)), SEEN) != []
    assert rules(replace(lost, asked=replace(lost.asked, behaviour="sized")), SEEN) != []


def test_the_stated_answers_of_bad_clients() -> None:
    assert stated(replace(GOOD, visit="malformed"), answered(400))
    assert not stated(replace(GOOD, visit="malformed"), answered(502))
    assert stated(replace(GOOD, visit="half a body"), answered(408))
    assert not stated(replace(GOOD, visit="half a body"), answered(200))


def test_a_target_says_what_is_asked_for_and_a_body_whose_it_is() -> None:
    what = Asked(12, "chunked", 9000, 17)
    assert asked(what.target) == what
    assert asked("/health") is None
    assert len(content(12, 9000)) == 9000
    assert content(12, 9000) != content(13, 9000)
    assert content(12, 9000)[:4096] != content(12, 9000)[4096:8192]
