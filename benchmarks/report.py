"""A run's results as JSON and as Markdown. Formatting only: text from data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.model import QUIET, Kind, Measurement, Source, Summary, Work

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.machine import Machine
    from benchmarks.targets import Verdict

ALIGN_RIGHT = "---:"
SHORT = {"proxied-1k": "1 KB proxied, logged", "static-10k": "10 KB static, logged"}


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a run has to tell. `made` is the date and time, `commit` the project's; `cores` says who ran where."""

    made: str
    machine: Machine
    versions: Mapping[str, str]
    commit: str
    cores: str
    seconds: int
    rounds: int
    works: tuple[Work, ...]
    measurements: list[Measurement]
    summaries: list[Summary]
    failures: list[tuple[str, str, str]]
    verdicts: list[Verdict]


def to_json(report: Report) -> str:
    data = asdict(report)
    for work in data["works"]:
        work["kind"], work["source"] = work["kind"].value, work["source"].value
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table whose first `left` columns are text and whose others are numbers."""
    rule = ["---"] * left + [ALIGN_RIGHT] * (len(head) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows)) + "\n"


def milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f}" if microseconds else "-"


def mib(count: float) -> str:
    return f"{count / 2**20:.1f}"


def disturbance(summaries: list[Summary]) -> str:
    """How much of the cores other processes used during the measurements."""
    shares = [summary.foreign for summary in summaries]
    most, usual = max(shares, default=0.0), median(shares) if shares else 0.0
    text = f"Processes that aren't the benchmark's used {usual:.2f} cores while it measured (at most {most:.2f})."
    return text if most <= QUIET else f"**The machine was not quiet.** {text}"


def word(verdict: Verdict) -> str:
    """The verdict in a word; a value without a bound is shown and not judged."""
    if verdict.value is None:
        return "not measured"
    return {True: "met", False: "**not met**", None: "shown"}[verdict.met]


def measured(value: float | None, unit: str) -> str:
    """A count as it is, and everything else with two digits."""
    if value is None:
        return "-"
    return f"{value:,}{unit}" if isinstance(value, int) else f"{value:.2f}{unit}"


def targets_table(verdicts: list[Verdict]) -> str:
    goals = {True: "reached", False: "not yet", None: ""}
    return table(
        ("target", "bound", "measured", "verdict", "goal", "the values themselves"),
        [
            (v.title, v.bound or "none", measured(v.value, v.unit), word(v), goals[v.goal_met], v.beside)
            for v in verdicts
        ],
    )


def in_short(summaries: list[Summary]) -> str:
    """CPU microseconds a request of the two works that say most, with the servers side by side; "" without them."""
    servers = list(dict.fromkeys(s.server for s in summaries if s.work in SHORT))
    costs = {(s.work, s.server): f"{s.cpu_us:.0f}" for s in summaries}
    if not servers:
        return ""
    return table(
        ("CPU µs a request, one worker", *servers),
        [(title, *(costs.get((work, server), "") for server in servers)) for work, title in SHORT.items()],
    )


def count_met(verdicts: list[Verdict]) -> str:
    """A sentence on how many targets are met, and which are not."""
    judged = [verdict for verdict in verdicts if verdict.met is not None]
    missed = [f"{v.title} ({measured(v.value, v.unit)}, {v.bound})" for v in judged if not v.met]
    absent = [verdict.title for verdict in verdicts if verdict.bound and verdict.value is None]
    return "".join(
        (
            f"{len(judged) - len(missed)} of {len(judged)} targets that were measured are met.",
            f" Not met: {'; '.join(missed)}." if missed else "",
            f" Not measured: {'; '.join(absent)}." if absent else "",
        )
    )


def requests_table(summaries: list[Summary]) -> str:
    return table(
        (
            *("server", "CPU µs/request", "user", "system", "rounds' spread", "requests/s", "core busy"),
            *("p50 ms", "p99 ms", "max ms", "RSS MiB", "PSS MiB", "errors"),
        ),
        [
            (
                *(s.server, f"{s.cpu_us:.1f}", f"{s.user_us:.1f}", f"{s.system_us:.1f}"),
                *(f"{s.cpu_low:.1f} to {s.cpu_high:.1f}", f"{s.rate:,.0f}", f"{s.busy:.0%}"),
                *(milliseconds(s.p50_us), milliseconds(s.p99_us), milliseconds(s.max_us)),
                *(mib(s.rss), mib(s.pss), str(s.errors)),
            )
            for s in summaries
        ],
    )


def download_table(summaries: list[Summary]) -> str:
    return table(
        (
            *("server", "MB/s", "CPU ms/request", "user", "system", "rounds' spread", "core busy"),
            *("p50 ms", "p99 ms", "RSS MiB", "growth MiB", "errors"),
        ),
        [
            (
                *(s.server, f"{s.throughput / 1e6:,.0f}", f"{s.cpu_us / 1000:.3f}", f"{s.user_us / 1000:.3f}"),
                *(f"{s.system_us / 1000:.3f}", f"{s.cpu_low / 1000:.3f} to {s.cpu_high / 1000:.3f}", f"{s.busy:.0%}"),
                *(milliseconds(s.p50_us), milliseconds(s.p99_us), mib(s.rss), mib(s.growth), str(s.errors)),
            )
            for s in summaries
        ],
    )


def idle_table(summaries: list[Summary]) -> str:
    return table(
        ("server", "KiB a connection after 1 s", "after 8 s", "RSS MiB", "PSS MiB", "errors"),
        [
            (s.server, f"{s.idle_kib:.2f}", f"{s.settled_kib:.2f}", mib(s.rss), mib(s.pss), str(s.errors))
            for s in summaries
        ],
    )


def work_section(work: Work, summaries: list[Summary]) -> str:
    """One work's heading and table; nothing when no server was measured."""
    rows = [summary for summary in summaries if summary.work == work.name]
    if not rows:
        return ""
    rows.sort(key=lambda s: s.idle_kib if work.kind is Kind.IDLE else s.cpu_us)
    form = {Kind.REQUESTS: requests_table, Kind.DOWNLOAD: download_table, Kind.IDLE: idle_table}[work.kind]
    origin = "from the backend" if work.source is Source.PROXIED else "from the server's own disk"
    workers = f"{work.workers} worker{'s' * (work.workers > 1)}"
    rounds = max(row.rounds for row in rows)
    note = f"{work.connections:,} keep-alive connections, {workers}, {origin}; {rounds} round{'s' * (rounds > 1)}."
    problems = [f"- {row.server}: {problem}" for row in rows for problem in row.problems]
    return "\n".join((f"## {work.title}", "", note, "", form(rows), *problems)) + "\n"


def to_markdown(report: Report, picture: str) -> str:
    """The report, which shows the picture of that file name."""
    machine = report.machine
    head = [
        "# Benchmark results",
        "",
        f"Made {report.made} by `scripts/bench`: interleaved rounds of {report.seconds} s, {report.rounds} or, where "
        "the tables say so, more; medians.",
        f"Machine: {machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, Linux {machine.kernel}, "
        f"Python {machine.python}; load average before the run {machine.load}. {report.cores}",
        f"Commit {report.commit}. Versions: {'; '.join(f'{name}: {text}' for name, text in report.versions.items())}.",
        disturbance(report.summaries),
        "",
        "How each number is made, and the limits of the method: [benchmarks/README.md](../README.md).",
        "",
        f"![CPU time a request, beside the peers]({picture})",
        "",
        "## Targets",
        "",
        in_short(report.summaries),
        count_met(report.verdicts),
        "Rows without a bound are shown for comparison: the targets name p99, and no number for it.",
        "",
        targets_table(report.verdicts),
    ]
    sections = [section for work in report.works if (section := work_section(work, report.summaries))]
    failures = [f"- {work}, {server}: {reason.splitlines()[0]}" for work, server, reason in report.failures]
    tail = ["## Not measured", "", *failures, ""] if failures else []
    return "\n".join((*head, *sections, *tail)).rstrip() + "\n"
