"""From measurements to verdicts, tables and pictures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from benchmarks import bytecodes, measure, picture, report, stacks, switching_run, targets, works
from benchmarks.machine import Machine
from benchmarks.model import KB, OURS, Kind, Load, Measurement, Source, Summary, Work, summarize
from benchmarks.servers import BenchError

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20
MACHINE = Machine("A processor", 2, 24.0, "6.1", "3.11.7", 0.1)


def measurement(server: str, number: int = 1, cpu: float = 30.0, **changes: object) -> Measurement:
    values: dict[str, object] = {
        "work": "proxied-1k",
        "server": server,
        "round": number,
        "load": Load(1000, 2.0, 2_000_000, 0, 500.0, 900.0, 1500.0),
        "requests": 1000,
        "window": 2.0,
        "user_us": cpu / 3,
        "system_us": cpu * 2 / 3,
        "busy": 0.9,
        "foreign": 0.02,
        "rss_before": 20 * MIB,
        "rss_after": 21 * MIB,
        "rss_peak": 22 * MIB,
        "pss_before": 10 * MIB,
        "pss_after": 12 * MIB,
    }
    return Measurement(**(values | changes))  # type: ignore[arg-type]


def summary(work: str, server: str, cpu: float = 30.0, **changes: object) -> Summary:
    return summarize([measurement(server, 1, cpu, work=work, **changes)], connections=1024)


def verdict(title: str, summaries: list[Summary]) -> targets.Verdict:
    return next(v for v in targets.judge_all(summaries) if v.title == title)


def test_a_summary_is_the_median_of_the_rounds_and_keeps_their_spread() -> None:
    rounds = [measurement("nginx", number, cpu) for number, cpu in enumerate((40.0, 20.0, 33.0), 1)]
    result = summarize(rounds, connections=1024)
    assert result.cpu_us == pytest.approx(33)
    assert result.cpu_low == pytest.approx(20)
    assert result.cpu_high == pytest.approx(40)
    assert result.rounds == 3
    assert result.rate == 500
    assert result.throughput == 1_000_000
    assert result.idle_kib == 2
    assert result.growth == 2 * MIB


def test_a_summary_keeps_what_went_wrong_in_any_round() -> None:
    bad = measurement("nginx", 2, problem="3 errors", load=Load(10, 1.0, 10, 3))
    result = summarize([measurement("nginx"), bad], 64)
    assert result.errors == 3
    assert result.problems == ("3 errors",)


@pytest.mark.parametrize(("cpu", "met", "goal_met"), [(47.9, True, False), (48.1, False, False), (35.0, True, True)])
def test_cpu_is_judged_by_its_ratio(cpu: float, met: bool, goal_met: bool) -> None:
    found = verdict(
        "1 KB proxied, CPU beside nginx", [summary("proxied-1k", OURS, cpu), summary("proxied-1k", "nginx")]
    )
    assert found.value == pytest.approx(cpu / 30)
    assert (found.met, found.goal_met) == (met, goal_met)


def test_cpu_is_compared_within_each_round() -> None:
    """The machine was twice as slow in the second round, and something disturbed nginx in the third."""
    mine = [measurement(OURS, number, cpu, work="proxied-1k") for number, cpu in enumerate((42.0, 90.0, 45.0), 1)]
    theirs = [measurement("nginx", number, cpu, work="proxied-1k") for number, cpu in enumerate((30.0, 60.0, 90.0), 1)]
    found = verdict("1 KB proxied, CPU beside nginx", [summarize(mine, 64), summarize(theirs, 64)])
    assert found.value == pytest.approx(1.4)


def test_a_round_that_one_of_both_lacks_is_not_compared() -> None:
    mine = summarize([measurement(OURS, 2, 42.0, work="proxied-1k")], 64)
    theirs = [measurement("nginx", number, cpu, work="proxied-1k") for number, cpu in ((1, 10.0), (2, 30.0))]
    found = verdict("1 KB proxied, CPU beside nginx", [mine, summarize(theirs, 64)])
    assert found.value == pytest.approx(1.4)
    assert verdict("1 KB proxied, CPU beside nginx", [mine, summarize(theirs[:1], 64)]).value is None


@pytest.mark.parametrize(("seconds", "met", "goal_met"), [(2.0, True, True), (2.4, True, False), (2.6, False, False)])
def test_throughput_must_reach_its_bound(seconds: float, met: bool, goal_met: bool) -> None:
    ours = summary("proxied-1m", OURS, load=Load(10, seconds, 1_000_000, 0))
    nginx = summary("proxied-1m", "nginx", load=Load(10, 2.0, 1_000_000, 0))
    found = verdict("proxied-1m, throughput beside nginx", [ours, nginx])
    assert (found.met, found.goal_met) == (met, goal_met)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    for found in targets.judge_all([summary("proxied-1k", "nginx")]):
        assert found.met is None
        assert found.value is None


def test_scaling_needs_every_number_of_connections_and_is_the_dearest_over_the_cheapest() -> None:
    costs = dict(zip(works.CONNECTIONS, (20.0, 22.0, 25.0, 24.0), strict=True))
    found = [summary(f"connections-{n}", OURS, cpu) for n, cpu in costs.items()]
    title = "10 to 5,000 connections, dearest request over cheapest"
    assert verdict(title, found).value == pytest.approx(1.25)
    assert verdict(title, found[1:]).value is None


def test_scaling_is_not_what_the_machines_speed_did_between_the_rounds() -> None:
    """Twice as slow in the second round; in the third one of the works was disturbed, and in the fourth one failed."""
    rounds = ((20.0, 22.0, 25.0, 24.0), (40.0, 44.0, 50.0, 48.0), (20.0, 22.0, 60.0, 24.0), (20.0, 22.0, 25.0))
    found = [
        summarize(
            [
                measurement(OURS, r, costs[i], work=f"connections-{n}")
                for r, costs in enumerate(rounds)
                if i < len(costs)
            ],
            n,
        )
        for i, n in enumerate(works.CONNECTIONS)
    ]
    assert verdict("10 to 5,000 connections, dearest request over cheapest", found).value == pytest.approx(1.25)


def test_the_peers_own_scaling_stands_beside_ours() -> None:
    costs = dict(zip(works.CONNECTIONS, (20.0, 22.0, 25.0, 30.0), strict=True))
    found = [summary(f"connections-{n}", OURS, cpu) for n, cpu in costs.items()]
    found += [summary(f"connections-{n}", "haproxy", cpu * (3 if n == 5000 else 1)) for n, cpu in costs.items()]
    title = "10 to 5,000 connections, dearest request over cheapest"
    assert verdict(title, found).beside == "switchyard 1.50 x, haproxy 4.50 x"


@pytest.mark.parametrize("work", [work for work in works.WORKS if work.kind is Kind.REQUESTS])
def test_p99_stands_beside_nginxs_for_every_work_of_requests_and_is_not_judged(work: Work) -> None:
    slow = Load(1000, 2.0, 2_000_000, 0, 500.0, 1800.0, 2500.0)
    found = verdict(
        f"{work.title}, p99 beside nginx", [summary(work.name, OURS, load=slow), summary(work.name, "nginx")]
    )
    assert found.value == pytest.approx(2)
    assert (found.bound, found.met, found.goal_met) == ("", None, None)
    assert found.beside == "switchyard 1.80 ms, nginx 0.90 ms"
    assert report.word(found) == "shown"


def test_throughput_is_also_set_beside_the_fastest_peer() -> None:
    rates = {OURS: 2.0, "nginx": 4.0, "caddy": 1.0}
    found = [summary("proxied-1m", name, load=Load(10, seconds, 8_000_000, 0)) for name, seconds in rates.items()]
    assert (
        verdict("proxied-1m, throughput beside nginx", found).beside == "switchyard 4 MB/s, nginx 2 MB/s, caddy 8 MB/s"
    )
    assert verdict("proxied-1m, throughput beside the fastest peer", found).value == pytest.approx(0.5)


SWITCHING = {
    "made": "2026-01-02 03:04 UTC",
    "servers": {
        OURS: {"figures": {"hold": {"p99": 6.6}, "faults": {"failed": 0}}},
        "nginx": {"figures": {"hold": None, "faults": {"failed": 2818}}},
        "haproxy-map": {"figures": None},
    },
}


def test_the_hold_is_judged_by_the_last_run_of_switches_with_its_date() -> None:
    hold, failed = targets.judge_all([], switching_run.parse(json.dumps(SWITCHING)))[-2:]
    assert hold.title == "switch under full load, hold p99 (run of 2026-01-02 03:04 UTC)"
    assert (hold.value, hold.met, hold.goal_met) == (6.6, False, False)
    assert (failed.value, failed.met, failed.beside) == (0, True, "switchyard 0, nginx 2,818")
    assert "| ≤ 5 ms | 6.60 ms | **not met** |" in report.targets_table([hold])
    assert "| ≤ 0 | 0 | met |" in report.targets_table([failed])


def test_a_run_of_switches_that_is_not_there_is_not_measured_and_a_broken_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "switching.json"
    assert switching_run.read(path) is None
    assert [v.value for v in targets.judge_all([])[-2:]] == [None, None]
    for text in ("{", "[]", json.dumps({"made": "today", "servers": {}})):
        path.write_text(text)
        with pytest.raises(BenchError, match="not a run of switches"):
            switching_run.read(path)


def test_idle_connections_are_judged_fresh_and_settled() -> None:
    found = [summary("idle", OURS, pss_after=16 * MIB, pss_settled=11 * MIB)]
    fresh, settled = (
        verdict(f"10,000 idle connections, memory of each, {seconds} s after the last request", found)
        for seconds in (measure.SETTLE_SECONDS, measure.IDLE_SECONDS)
    )
    assert (fresh.value, fresh.met) == (6, False)
    assert (settled.value, settled.met) == (1, True)
    assert "| switchyard | 6.00 | 1.00 |" in report.idle_table(found)


def test_memory_is_flat_when_the_peak_stays_near_the_start() -> None:
    title = "static-100m, growth of memory"
    assert verdict(title, [summary("static-100m", OURS)]).met is True
    assert verdict(title, [summary("static-100m", OURS, rss_peak=40 * MIB)]).met is False


def a_report(summaries: list[Summary], failures: list[tuple[str, str, str]] | None = None) -> report.Report:
    return report.Report(
        made="2026-01-02 03:04 UTC",
        machine=MACHINE,
        versions={"nginx": "nginx/1.22"},
        commit="abc1234",
        cores="The server runs on core 0, load and backend on 1.",
        seconds=5,
        rounds=3,
        works=works.WORKS,
        measurements=[measurement("nginx")],
        summaries=summaries,
        failures=failures or [],
        verdicts=targets.judge_all(summaries),
    )


def test_markdown_states_each_target_and_shows_only_works_that_were_measured() -> None:
    text = report.to_markdown(
        a_report(
            [summary("proxied-1k", OURS, 60), summary("proxied-1k", "nginx"), summary("idle", "nginx")],
            [("idle", OURS, "it broke\nsecond line")],
        ),
        "bench.svg",
    )
    beside = "medians: switchyard 60.0 µs, nginx 30.0 µs"
    assert f"| 1 KB proxied, CPU beside nginx | ≤ 1.6 x | 2.00 x | **not met** | not yet | {beside} |" in text
    assert "| 1 KB proxied, CPU beside Caddy | ≤ 0.35 x | - | not measured |  |  |" in text
    assert (
        "0 of 1 targets that were measured are met. Not met: 1 KB proxied, CPU beside nginx (2.00 x, ≤ 1.6 x)." in text
    )
    assert "| 1 KB proxied, logged | 60 | 30 |" in text
    assert "## 1 KB proxied\n" in text
    assert "## 100 MB static" not in text
    assert text.index("| nginx | 30.0") < text.index("| switchyard | 60.0")
    assert "- idle, switchyard: it broke\n" in text


def test_the_report_says_when_the_machine_was_not_quiet() -> None:
    assert "not quiet" not in report.to_markdown(a_report([summary("proxied-1k", OURS)]), "bench.svg")
    disturbed = a_report([summary("proxied-1k", OURS, foreign=0.8)])
    assert "**The machine was not quiet.**" in report.to_markdown(disturbed, "bench.svg")


def test_json_holds_every_round_and_reads_back() -> None:
    data = json.loads(report.to_json(a_report([summary("proxied-1k", OURS)])))
    assert data["measurements"][0]["user_us"] == 10
    assert data["works"][0]["kind"] == "requests"
    assert data["verdicts"][0]["met"] is None


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_picture_has_a_chart_for_each_work(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bench.{suffix}"
    picture.draw(works.WORKS, [summary("proxied-1k", OURS), summary("idle", "nginx")], "a caption", path)
    content = path.read_bytes()
    if suffix == "svg":
        assert b"10,000 idle connections" in content
        assert b"10 KB static" not in content
    else:
        assert content.startswith(b"\x89PNG")


def test_a_work_names_its_path() -> None:
    assert Work("w", "t", Kind.REQUESTS, Source.PROXIED, KB, 1).path == "/1k.bin"
    assert Work("w", "t", Kind.REQUESTS, Source.STATIC, 10 * KB, 1).path == "/static/10k.js"


def test_names_of_works_are_unique() -> None:
    names = [work.name for work in works.WORKS]
    assert len(set(names)) == len(names)


def test_profile_report_names_functions_costs_and_calls() -> None:
    from benchmarks.hot_path import Profile, to_markdown

    frames = ("uv_run (core.c:464)", "Client.data_received (proxy/net/downstream.py:5)")
    samples = [stacks.Stack((*frames, "write (libc.so.6)"), 3), stacks.Stack(frames, 1)]
    functions = (
        bytecodes.FunctionCount("net/exchange.py Exchange.claim", 1.0, 30.0, 2.0),
        bytecodes.FunctionCount("(now and then)", 0.5, 10.0, 0.25),
    )
    text = to_markdown(
        Profile(works.WORKS[0], 4, samples, 1.0, 3.0, {"write": 2.0, "read": 1.5}, functions),
        MACHINE,
        datetime(2026, 1, 2, tzinfo=UTC),
        "p.svg",
    )
    assert "| net/downstream.py Client.data_received | 100.0% | 75.0% |" in text
    assert "| write | 75.0% | 2.000 |" in text
    assert "1.0 s user and 3.0 s system" in text
    assert "| read |  | 1.500 |" in text
    assert "| kernel | 75.0% |\n| Python interpreter | 25.0% |\n| uvloop |  |" in text
    assert "1.0 calls of Python functions with 30 bytecodes, and 2.0 calls of functions written in C." in text
    assert "| net/exchange.py Exchange.claim | 1.00 | 30.0 | 2.00 |" in text
