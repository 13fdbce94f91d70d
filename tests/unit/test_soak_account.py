"""The soak's account finds what it is there to find, and each excuse holds only for what it was made for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.soak.account import account, read_records, stated
from benchmarks.soak.asked import Asked, asked, content
from benchmarks.soak.client import Answer, End
from benchmarks.soak.logged import Kill, Killed, Line, Lines, life_rules, read_lines
from benchmarks.soak.visits import Exchange, Sent

SECOND = 1_000_000_000
SLOTS = {"production": (1, 2), "temp": (3, 4)}
ID = "aa000001"
GOOD = Exchange(
    Asked(7, "sized", 10),
    "keep-alive",
    "GET",
    10 * SECOND,
    11 * SECOND,
    5000,
    Answer(End.WHOLE, 200, close=False, id=ID),
    opened=8 * SECOND,
)
SEEN = f"E 7 1 arrived {10 * SECOND}\nE 7 1 whole {10 * SECOND}\n"
LINE = Line(ID, 7, 200, "production", 1)
MISSED = f"E 7 1 missed {10 * SECOND}\n"
SLAMMED = f"E 7 1 slammed {10 * SECOND}\n"
NO_BACKEND = replace(LINE, backend=None)
LARGE = 1024 * 1024 + 1


def rules(
    exchange: Exchange, log: str, kills: tuple[Kill, ...] = (), lines: tuple[Line, ...] | None = None
) -> list[str]:
    """The violations' rules. `lines`: the access log; by default it agrees with the answer."""
    if lines is None:
        status = exchange.answer.status or 499
        lines = (replace(LINE, status=status, cut=exchange.answer.end is End.CUT),)
    killed = Killed.of(kills)
    found = account([exchange], read_records(log, SLOTS), killed, Lines.of(lines))
    return [violation.rule for violation in found.violations]


def answered(status: int, end: End = End.WHOLE) -> Answer:
    return Answer(end, status, id=ID if status else "")


def failed(status: int, method: str = "POST", **changes: object) -> Exchange:
    return replace(GOOD, answer=answered(status), method=method, **changes)  # type: ignore[arg-type]


def window(kind: str, port: int, start: int, end: int) -> str:
    return f"W {kind} {port} {start * SECOND} {end * SECOND}\n"


def test_a_right_answer_is_no_violation() -> None:
    assert rules(GOOD, SEEN) == []


@pytest.mark.parametrize(
    ("exchange", "log"),
    [
        pytest.param(replace(GOOD, right=False), SEEN, id="wrong content"),
        pytest.param(failed(502), SEEN, id="502 without a fault"),
        pytest.param(failed(503), SEEN, id="503 without a fault"),
        pytest.param(replace(GOOD, answer=answered(200, End.CUT)), SEEN, id="cut without a fault"),
        pytest.param(replace(GOOD, answer=answered(0, End.LATE)), SEEN, id="no answer in time"),
        pytest.param(GOOD, SEEN + SEEN, id="sent twice"),
        pytest.param(GOOD, SEEN + f"E 7 1 torn {11 * SECOND}\n", id="upload torn"),
        pytest.param(GOOD, SEEN + f"E 8 1 arrived {10 * SECOND}\n", id="a request that nobody sent"),
        pytest.param(GOOD, SEEN.replace("7 1", "7 2"), id="not the backend that the log says"),
        pytest.param(replace(GOOD, visit="malformed", answer=answered(400)), SEEN, id="malformed and forwarded"),
        pytest.param(replace(GOOD, asked=Asked(7, "cut-sized", 10)), SEEN, id="a cut answer shown as whole"),
        pytest.param(replace(GOOD, asked=Asked(7, "reset", 10), answer=answered(502)), "", id="a fault not met"),
        pytest.param(replace(GOOD, answer=answered(0, End.NONE), alone=True), SEEN, id="forwarded after the end"),
    ],
)
def test_what_is_not_stated_is_a_violation(exchange: Exchange, log: str) -> None:
    assert len(rules(exchange, log)) == 1


def test_an_answer_that_no_backend_gave_is_a_violation() -> None:
    assert "it was answered, and no backend knows of it" in rules(GOOD, "")


# --- excuses --------------------------------------------------------------------------------------------------------


def test_a_502_is_excused_by_the_kept_connection_that_just_this_request_was_sent_on() -> None:
    assert rules(failed(502), MISSED) == []


@pytest.mark.parametrize(
    ("exchange", "log"),
    [
        pytest.param(failed(502), "", id="nothing happened"),
        pytest.param(failed(502), MISSED.replace("7 1", "7 2"), id="a connection of another backend"),
        pytest.param(failed(502), SEEN + MISSED, id="it had arrived"),
        pytest.param(failed(502, "GET"), MISSED, id="it can be sent again"),
        pytest.param(failed(503), MISSED, id="another status"),
        pytest.param(failed(502), window("slam", 1, 9, 12), id="a window alone"),
    ],
)
def test_nothing_else_about_kept_connections_excuses_a_502(exchange: Exchange, log: str) -> None:
    assert rules(exchange, log) != []


def test_another_requests_missed_connection_excuses_nothing() -> None:
    other = replace(GOOD, asked=Asked(8, "sized", 10), answer=replace(GOOD.answer, id="aa000002"))
    log = MISSED.replace("E 7", "E 8") + f"E 8 1 arrived {10 * SECOND}\n"
    lines = Lines.of([replace(LINE, status=502), replace(LINE, id="aa000002", number=8)])
    found = account([failed(502), other], read_records(log, SLOTS), Killed(), lines)
    assert len(found.violations) == 1


def test_a_502_is_excused_by_the_new_connection_that_just_this_request_was_sent_on() -> None:
    assert rules(failed(502, "GET"), SLAMMED) == []
    assert rules(failed(502), SLAMMED) == []
    assert rules(failed(502), SLAMMED.replace("7 1", "7 2")) != []
    assert rules(failed(503), SLAMMED) != []
    assert rules(failed(502), SEEN + SLAMMED) != []


def refused(status: int, log: str, line: Line = NO_BACKEND) -> list[str]:
    return rules(failed(status), log, lines=(replace(line, status=status),))


def test_a_503_is_excused_when_each_backend_of_its_slot_refused_meanwhile() -> None:
    both = window("refuse", 1, 9, 12) + window("refuse", 2, 9, 12)
    assert refused(503, both) == []
    assert refused(502, both + window("slam", 1, 9, 12)) == []
    assert refused(503, window("refuse", 1, 9, 12) + window("slam", 2, 9, 12)) == []


@pytest.mark.parametrize(
    ("log", "line", "status"),
    [
        pytest.param(window("refuse", 1, 9, 12), NO_BACKEND, 503, id="one backend served"),
        pytest.param(
            window("refuse", 1, 9, 12) + window("refuse", 2, 12, 13), NO_BACKEND, 503, id="the other refused later"
        ),
        pytest.param(
            window("refuse", 3, 9, 12) + window("refuse", 4, 9, 12), NO_BACKEND, 503, id="those of the other slot"
        ),
        pytest.param(window("refuse", 1, 9, 12) + window("refuse", 2, 9, 12), LINE, 503, id="one had it"),
        pytest.param(
            window("refuse", 1, 9, 12) + window("refuse", 2, 9, 12), NO_BACKEND, 502, id="none ended a connection"
        ),
        pytest.param(window("slam", 1, 9, 12) + window("slam", 2, 9, 12), NO_BACKEND, 503, id="none refused"),
        pytest.param(
            window("refuse", 1, 9, 12) + window("refuse", 2, 9, 12), replace(NO_BACKEND, slot="-"), 503, id="no slot"
        ),
    ],
)
def test_less_than_that_excuses_no_refusal(log: str, line: Line, status: int) -> None:
    assert refused(status, log, line) != []


def test_a_request_that_met_a_fault_and_could_be_sent_again_may_find_no_backend_then() -> None:
    both = SEEN + window("refuse", 1, 9, 12) + window("refuse", 2, 9, 12)
    retried = replace(failed(503, "GET"), asked=Asked(7, "close", 10))
    lines = (replace(NO_BACKEND, status=503),)
    assert rules(retried, both, lines=lines) == []
    assert rules(retried, SEEN, lines=lines) != []
    assert rules(replace(retried, method="POST"), both, lines=lines) != []
    assert rules(replace(retried, asked=Asked(7, "sized", 10)), both, lines=lines) != []
    assert rules(replace(retried, asked=Asked(7, "cut-sized", 10)), both, lines=lines) != []


def test_an_excuse_needs_a_line_in_the_access_log() -> None:
    assert len(rules(failed(502), MISSED, lines=())) == 2


def test_when_a_killed_worker_owes_the_line_the_backends_notes_still_have_to_excuse_it() -> None:
    kill = Kill(11 * SECOND, frozenset(), "aa")
    assert rules(failed(502), MISSED, (kill,), lines=()) == []
    assert rules(failed(502, "GET"), SLAMMED, (kill,), lines=()) == []
    assert rules(failed(502), "", (kill,), lines=()) != []
    assert rules(failed(502), SEEN, (kill,), lines=()) != []
    assert rules(failed(502), MISSED, (replace(kill, life="bb"),), lines=()) != []


def test_a_kill_excuses_only_the_clients_of_its_worker() -> None:
    cut = replace(GOOD, answer=answered(0, End.NONE))
    assert rules(cut, SEEN, (Kill(10 * SECOND + 1, frozenset((5000,)), "aa"),), lines=()) == []
    assert rules(cut, SEEN, (Kill(10 * SECOND + 1, frozenset((5001,)), "aa"),), lines=()) != []
    assert rules(cut, SEEN, (Kill(20 * SECOND, frozenset((5000,)), "aa"),), lines=()) != []
    assert rules(cut, SEEN, (Kill(7 * SECOND, frozenset((5000,)), "aa"),), lines=()) != []
    begun_on_it = Kill(9 * SECOND, frozenset((5000,)), "aa")
    assert rules(cut, "", (begun_on_it,), lines=()) == []
    assert rules(failed(502), SEEN, (Kill(10 * SECOND + 1, frozenset((5000,)), "aa"),)) != []


def test_a_client_that_sends_on_over_the_limit_may_lose_a_large_early_answer_but_not_its_beginning() -> None:
    lost = replace(GOOD, method="POST", asked=Asked(7, "early", 100_000, LARGE), answer=answered(200, End.CUT))
    lines = (LINE,)
    assert rules(lost, SEEN, lines=lines) == []
    assert rules(replace(lost, asked=replace(lost.asked, upload=LARGE - 1)), SEEN, lines=lines) != []
    assert rules(replace(lost, asked=replace(lost.asked, size=60_000)), SEEN, lines=lines) != []
    assert rules(replace(lost, asked=replace(lost.asked, behaviour="sized")), SEEN, lines=lines) != []
    assert rules(lost, SEEN, lines=(replace(LINE, cut=True),)) != []
    assert rules(replace(lost, answer=answered(0, End.NONE)), SEEN, lines=lines) != []


def test_a_faulted_get_may_be_sent_twice_and_a_faulted_post_may_not() -> None:
    reset = replace(GOOD, asked=Asked(7, "reset", 10), answer=answered(502))
    assert rules(reset, SEEN + SEEN) == []
    assert len(rules(reset, SEEN * 3)) == 1
    assert len(rules(replace(reset, method="POST"), SEEN + SEEN)) == 1


# --- the access log -------------------------------------------------------------------------------------------------

ABORTED = replace(GOOD, visit="aborted", answer=Answer(End.NONE))
GONE = replace(LINE, status=499)
MALFORMED = replace(GOOD, visit="malformed", answer=answered(400))
REFUSED = Line(ID, None, 400)


@pytest.mark.parametrize(
    ("exchange", "log", "lines"),
    [
        pytest.param(GOOD, SEEN, (), id="no line"),
        pytest.param(GOOD, SEEN, (LINE, LINE), id="two lines"),
        pytest.param(GOOD, SEEN, (LINE, replace(LINE, id="aa000002")), id="two lines with two ids"),
        pytest.param(GOOD, SEEN, (replace(LINE, status=502),), id="another status"),
        pytest.param(GOOD, SEEN, (replace(LINE, cut=True),), id="said to be cut"),
        pytest.param(GOOD, SEEN, (LINE, replace(LINE, id="aa000002", number=9)), id="a line of nobody"),
        pytest.param(GOOD, SEEN, (LINE, Line("aa000002", None, 400)), id="a refusal of nobody"),
        pytest.param(ABORTED, SEEN, (), id="aborted, seen by a backend, no line"),
        pytest.param(ABORTED, "", (), id="aborted after its head, no line"),
        pytest.param(ABORTED, SEEN, (GONE, GONE), id="aborted, two lines"),
        pytest.param(replace(ABORTED, sent=Sent.RESET), SEEN, (), id="aborted with a reset, seen, no line"),
        pytest.param(replace(ABORTED, sent=Sent.PART), "", (GONE,), id="a part of a head was a request"),
        pytest.param(MALFORMED, "", (), id="malformed, no line"),
        pytest.param(MALFORMED, "", (replace(REFUSED, status=502),), id="malformed, another status"),
        pytest.param(replace(MALFORMED, visit="half a head", answer=answered(408)), "", (), id="half a head, no line"),
        pytest.param(replace(MALFORMED, visit="half a body", answer=answered(408)), SEEN, (), id="half a body, none"),
    ],
)
def test_what_the_access_log_has_wrongly_is_a_violation(exchange: Exchange, log: str, lines: tuple[Line, ...]) -> None:
    assert rules(exchange, log, lines=lines) != []


def test_the_lines_of_clients_that_went_away_or_were_refused() -> None:
    assert rules(ABORTED, SEEN, lines=(GONE,)) == []
    assert rules(replace(ABORTED, sent=Sent.RESET), "", lines=()) == []
    assert rules(replace(ABORTED, sent=Sent.RESET), "", lines=(GONE,)) == []
    assert rules(replace(ABORTED, sent=Sent.PART), "", lines=()) == []
    assert rules(MALFORMED, "", lines=(REFUSED,)) == []


def test_a_killed_workers_last_line_may_be_missing_and_only_its_last() -> None:
    kill = Kill(11 * SECOND + SECOND // 2, frozenset((5000,)), "aa")
    assert rules(GOOD, SEEN, (kill,), lines=()) == []
    assert rules(GOOD, SEEN, (replace(kill, at=13 * SECOND),), lines=()) != []
    assert rules(GOOD, SEEN, (replace(kill, at=13 * SECOND, stopped=kill.at),), lines=()) == []
    assert rules(GOOD, SEEN, (replace(kill, at=9 * SECOND, stopped=9 * SECOND),), lines=()) != []
    assert rules(GOOD, SEEN, (replace(kill, life="bb"),), lines=()) != []


def test_a_kill_excuses_a_missing_line_only_of_its_own_life() -> None:
    kill = Kill(11 * SECOND + SECOND // 2, frozenset((5000,)), "aa")
    other = replace(GOOD, asked=Asked(8, "sized", 10), port=5001, answer=replace(GOOD.answer, id="bb000001"))
    records = read_records(SEEN + SEEN.replace("E 7", "E 8"), SLOTS)
    found = account([GOOD, other], records, Killed.of([kill]), Lines())
    assert [violation.exchange.split()[2] for violation in found.violations] == [other.asked.target + ":"]


def test_an_aborted_request_is_of_the_life_that_its_backend_saw() -> None:
    kill = Kill(11 * SECOND, frozenset((5000,)), "aa")
    for life_seen, count in (("aa", 0), ("bb", 1)):
        records = read_records(f"E 7 1 arrived {10 * SECOND} {life_seen}000002\n", SLOTS)
        neighbour = replace(GOOD, visit="static file", asked=Asked(8, "file", 10))
        lines = Lines.of([replace(LINE, number=8, backend=None, slot="-")])
        found = account([ABORTED, neighbour], records, Killed.of([kill]), lines)
        assert len(found.violations) == count


def test_a_request_whose_client_has_left_may_go_on_until_its_backend_is_late() -> None:
    for at, count in ((19, 0), (20, 1)):
        killed = Killed((), {"aa": Kill(at * SECOND, frozenset(), "aa")})
        records = read_records(f"E 7 1 arrived {10 * SECOND} aa000002\n", SLOTS)
        assert len(account([ABORTED], records, killed, Lines()).violations) == count
        assert len(account([GOOD], records, killed, Lines()).violations) > 0


def life(*sequence: int, name: str = "aa") -> list[Line]:
    return [Line(f"{name}{number:06x}", number, 200) for number in sequence]


def test_the_sums_of_each_workers_life() -> None:
    lines = Lines.of([*life(1, 2, 3), *life(1, 2, name="bb")])
    assert life_rules([], lines, Killed(), (3, 2), 5) == []
    assert [rule for rule, _ in life_rules([], lines, Killed(), (3, 2), 6)] == ["sums"]
    assert [rule for rule, _ in life_rules([], lines, Killed(), (3, 2), None)] == ["sums"]
    assert len(life_rules([], lines, Killed(), (4, 2), 5)) == 1


def test_a_gap_in_a_life_and_a_last_request_that_only_its_client_knows_are_violations() -> None:
    gap = Lines.of([*life(1, 3)])
    assert [rule for rule, _ in life_rules([], gap, Killed(), (), 2)] == ["a worker's log is not whole"]
    last = replace(GOOD, answer=replace(GOOD.answer, id="aa000003"))
    lines = Lines.of(life(1, 2))
    assert [rule for rule, _ in life_rules([last], lines, Killed(), (), 2)] == ["a worker's log is not whole"]
    kill = Kill(11 * SECOND, frozenset((5000,)), "aa")
    assert life_rules([last], lines, Killed.of([kill]), (), 3) == []
    assert [rule for rule, _ in life_rules([last], lines, Killed.of([kill]), (), 4)] == ["sums"]
    assert len(life_rules([last], lines, Killed.of([replace(kill, life="bb")]), (), 2)) == 1


def test_lines_are_read_with_what_the_account_needs() -> None:
    text = (
        '{"time":"t","id":"aa000001","client":"c","method":"GET","target":"/soak/7/sized/10/0","status":200,"bytes":10,'
        '"ms":1.00,"slot":"production","backend":"127.0.0.1:1","referer":"","agent":""}\n'
        '{"time":"t","id":"aa000002","client":"c","method":"","target":"","status":400,"bytes":10,'
        '"ms":1.00,"slot":"-","backend":"-","cut":true,"referer":"","agent":""}\n'
    )
    assert read_lines(text).all == (LINE, Line("aa000002", None, 400, "-", None, cut=True))


def test_a_line_that_a_killed_worker_left_half_written_does_not_take_the_next_one_with_it() -> None:
    whole = (
        '{"time":"t","id":"aa000001","target":"/soak/7/sized/10/0","status":200,"slot":"production",'
        '"backend":"127.0.0.1:1"}\n'
    )
    assert read_lines(whole[:50] + whole + whole[:40]).all == (LINE,)


# --- the rest -------------------------------------------------------------------------------------------------------


def test_the_stated_answers_of_bad_clients() -> None:
    assert stated(replace(GOOD, visit="malformed"), answered(400))
    assert not stated(replace(GOOD, visit="malformed"), answered(502))
    assert stated(replace(GOOD, visit="half a body"), answered(408))
    assert not stated(replace(GOOD, visit="half a body"), answered(200))


def test_a_cut_answer_is_delivered_cut_also_where_its_backend_left_a_part_of_the_upload_unread() -> None:
    cut = replace(GOOD, method="POST", asked=Asked(7, "cut-sized", 10, 5000))
    assert stated(cut, answered(200, End.CUT))
    assert not stated(cut, answered(502))
    assert not stated(cut, answered(200))
    assert stated(replace(cut, asked=Asked(7, "garbage-chunk", 10)), answered(502))


def test_a_target_says_what_is_asked_for_and_a_body_whose_it_is() -> None:
    what = Asked(12, "chunked", 9000, 17)
    assert asked(what.target) == what
    assert asked("/health") is None
    assert len(content(12, 9000)) == 9000
    assert content(12, 9000) != content(13, 9000)
    assert content(12, 9000)[:4096] != content(12, 9000)[4096:8192]
