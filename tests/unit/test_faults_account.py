"""The table of faults: its rows, whose doing a failure was, what the operator types, and the page."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from benchmarks.faults.account import AGENT, Account, Death, Failure, account, read_slots
from benchmarks.faults.operator import needs_mending, next_command
from benchmarks.faults.report import Made, to_markdown
from benchmarks.faults.rows import FAULTS, Row, all_rows, choose
from benchmarks.faults.run import Record
from benchmarks.machine import Machine

FAILED = Failure(7, "GET /cart", 10.0, 11.0, "failed", "status 502")
DEATH = Death("temp", at=10.5, active=True, alone=False, until=20.0)
LATER = replace(FAILED, begun=12.0, ended=12.1)


def test_each_step_has_each_fault_where_there_is_something_to_kill() -> None:
    rows = all_rows()
    assert len({row.name for row in rows}) == len(rows)
    assert {row.fault for row in rows if row.step == "watch temp"} == set(FAULTS)
    assert {row.fault for row in rows if row.step == "store"} == {"deployer", "active Tomcat", "supervisor"}
    assert {row.then for row in rows} == {"resume", "abort"}


def test_rows_are_chosen_by_a_part_of_their_name() -> None:
    assert list(dict.fromkeys(row.step for row in choose(["Watch TEMP", "store"]))) == ["watch temp", "store"]
    assert len(choose(["store", "store: deployer"])) == len(choose(["store"]))
    assert choose([]) == all_rows()
    with pytest.raises(ValueError, match="no row has 'wach'"):
        choose(["store", "wach"])


@pytest.mark.parametrize(
    ("failure", "slot", "death", "cause"),
    [
        pytest.param(FAILED, "temp", DEATH, "in_flight", id="the killed one had it"),
        pytest.param(FAILED, None, DEATH, "in_flight", id="not in the log"),
        pytest.param(FAILED, "production", DEATH, "ours", id="the other one had it"),
        pytest.param(FAILED, "temp", None, "ours", id="nothing was killed"),
        pytest.param(LATER, "temp", DEATH, "dead", id="sent to the dead active one"),
        pytest.param(LATER, "-", DEATH, "dead", id="answered by the proxy itself"),
        pytest.param(LATER, "temp", replace(DEATH, active=False), "ours", id="sent to a dead one that was idle"),
        pytest.param(replace(LATER, begun=21.0, ended=21.1), "temp", DEATH, "ours", id="after the mend"),
        pytest.param(replace(FAILED, begun=9.0, ended=9.5), "temp", DEATH, "ours", id="before the kill"),
    ],
)
def test_whose_doing(failure: Failure, slot: str | None, death: Death | None, cause: str) -> None:
    found = account([failure], {} if slot is None else {7: slot}, death)
    assert {name for name in ("in_flight", "dead", "ours") if getattr(found, name)} == {cause}
    assert bool(found.unexcused) is (cause == "ours")


@pytest.mark.parametrize("kind", ["lost", "torn"])
def test_a_session_may_be_lost_only_with_the_last_tomcat(kind: str) -> None:
    failure = replace(LATER, kind=kind)
    assert account([failure], {7: "temp"}, DEATH).unexcused == ("GET /cart: status 502",)
    alone = account([failure], {7: "temp"}, replace(DEATH, alone=True))
    assert (getattr(alone, kind), alone.failed, alone.unexcused) == (1, 0, ())


def test_the_access_log_is_read_by_the_users_numbers() -> None:
    lines = [{"agent": f"{AGENT}7", "slot": "temp"}, {"agent": "curl", "slot": "temp"}, {"agent": f"{AGENT}8"}]
    log = "\n".join(map(json.dumps, lines)) + '\n{"agent":"fau'
    assert read_slots(log) == {7: "temp"}


def status(*advice: str, cut: bool = False, ready: bool = True, active: str | None = "temp") -> dict[str, object]:
    return {
        "cut_off": {} if cut else None,
        "active": active,
        "slots": {"temp": {"http_ready": ready}},
        "advice": list(advice),
    }


@pytest.mark.parametrize(
    ("advice", "then", "words"),
    [
        ("`deployer resume` makes it live; `deployer abort` goes back", "abort", ("abort",)),
        ("`deployer resume` makes it live; `deployer abort` goes back", "resume", ("resume",)),
        ("`deployer resume` makes it live", "abort", ("resume",)),
        ("it is down; `deployer start temp`, or `deployer switch production`", "abort", ("switch", "production")),
        ("`deployer release` of shop.war begins again", "abort", ("release", "shop.war")),
        ("see `deployer logs temp`", "abort", None),
    ],
)
def test_the_operator_types_what_is_advised(advice: str, then: str, words: tuple[str, ...] | None) -> None:
    assert next_command(status(advice), then, "shop.war") == words


def test_what_needs_mending() -> None:
    assert not needs_mending(status())
    assert needs_mending(status(cut=True))
    assert needs_mending(status(ready=False))
    assert needs_mending(status(active=None))


def test_the_page_counts_by_cause_and_names_what_is_not_right() -> None:
    row = Row("swap", "watch temp", "active Tomcat", "resume")
    good = Record(row, "killed", (), ("deployer resume",), "new release, temp", Account(2, 9, 0), False, 1.5, 20.0)
    alone = replace(good, account=Account(lost=3), alone=True, down=0.0)
    bad = replace(good, account=Account(ours=1, unexcused=("GET /: status 502",)))
    machine = Machine("a CPU", 2, 4.0, "6.1", "3.11.7", 0.5)
    page = to_markdown([good, alone, bad], Made("2026-11-22", machine, 12))
    assert (
        "| watch temp | active Tomcat | killed | `deployer resume` | new release, temp | 2 | 9 | 0 | 0 | 1.5 s |"
        in page
    )
    assert "| active Tomcat (alone) | killed | `deployer resume` | new release, temp | 0 | 0 | 0 | 3 | - |" in page
    assert "3 rows: 1 requests failed by the deployer's or the proxy's doing; 0 sessions lost" in page
    assert "- swap: watch temp: active Tomcat: GET /: status 502" in page
    assert f"{len(all_rows()) - 3} rows are not made yet" in page
    assert good.is_right
    assert alone.is_right
    assert not bad.is_right


def test_a_record_is_read_back() -> None:
    row = Row("swap", "watch temp", "active Tomcat", "resume")
    record = Record(row, "killed", ("a",), ("b", "c"), "new", Account(1, unexcused=("d",)), False, 1.5, 20.0, "", "abc")
    assert Record.read(json.loads(json.dumps(asdict(record)))) == record
