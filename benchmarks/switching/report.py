"""The servers side by side: JSON, Markdown and a picture. Text from data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.model import OURS
from benchmarks.report import table
from benchmarks.switching.run import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.machine import Machine
    from benchmarks.switching.account import Account, Spread
    from benchmarks.switching.run import Plan, Result

INTRO: Final = (
    "The same load through each server, one after the other: keep-alive connections that ask without pause, GET and "
    "POST, with a length or chunked, some slow, each with an id of its own and bodies that the client can compute. "
    "Both slots' backends write down every request that they get, on the same clock as the client and the operator. "
    "Every request is sent once; nothing is asked again."
)
EXPLAINED: Final = (
    "*Failed*: no answer, or not 200. *Of these repeatable*: a GET whose connection was closed before the answer "
    "began: a browser would ask again by itself. *Torn*: an answer that was cut off, wrong bytes in it, or "
    "another upload at the backend than the client sent. *Doubled*: a backend got it more than once. *Lost*: "
    "answered without a backend. *Reached the old slot after the return*: its backend read it after the switch "
    "had been reported as done, and before the next one; *and was asked after it too*: its client sent it after "
    "the report. *A session in both slots at once*: the request began in one slot while another request of its "
    "session was at work in the other. *Settled*: from the call until the last request reached the old slot. "
    "*Added wait*: how much longer a request took than the median of its kind does without switches; a request "
    "waits for a core, too."
)


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run has to tell. `made` is date and time, `commit` the project's."""

    made: str
    commit: str
    machine: Machine
    versions: Mapping[str, str]
    plan: Plan
    results: Sequence[Result]


def to_json(report: Report) -> str:
    servers = {
        result.server.name: {
            "title": result.server.title,
            "version": report.versions[result.server.name],
            "problem": result.problem,
            "figures": asdict(result.account) if result.account is not None else None,
        }
        for result in report.results
    }
    plan = report.plan
    data = {
        "made": report.made,
        "commit": report.commit,
        "machine": asdict(report.machine),
        "workers": WORKERS,
        "connections": plan.connections,
        "pause_seconds": plan.pause,
        "servers": servers,
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _spread(values: Spread) -> str:
    if not values.most:
        return "-"
    return f"{values.p50:.1f} / {values.p99:.1f} / {values.most:.1f}"


ROWS: Final[Sequence[tuple[str, Callable[[Account], str]]]] = (
    ("switches", lambda found: _count(found.switches)),
    ("requests", lambda found: _count(found.requests)),
    ("requests a second", lambda found: _count(found.rate)),
    ("failed", lambda found: _count(found.faults.failed)),
    ("of these repeatable", lambda found: _count(found.repeatable)),
    ("torn", lambda found: _count(found.faults.torn)),
    ("doubled", lambda found: _count(found.faults.doubled)),
    ("lost", lambda found: _count(found.faults.lost)),
    ("reached the old slot after the return", lambda found: _count(found.faults.late)),
    ("and was asked after it too", lambda found: _count(found.faults.late_sent)),
    ("a session in both slots at once", lambda found: _count(found.faults.both_slots)),
    ("call until return, ms", lambda found: _spread(found.call)),
    ("hold, ms", lambda found: _spread(found.hold)),
    ("settled, ms", lambda found: _spread(found.settled)),
    ("request without switches, ms", lambda found: _spread(found.usual)),
    ("request with switches, ms", lambda found: _spread(found.longest)),
    ("added wait, ms", lambda found: _spread(found.added)),
    ("of requests in a session, ms", lambda found: _spread(found.added_session)),
)


def figures(results: Sequence[Result]) -> str:
    """The table: a column for each server that has figures."""
    found = [(result.server.name, result.account) for result in results if result.account is not None]
    head = ["", *(name for name, _ in found)]
    return table(head, [[title, *(show(account) for _, account in found)] for title, show in ROWS])


def to_markdown(report: Report, picture: str) -> str:
    where, plan = report.machine, report.plan
    lines = [
        "# Switching under full load",
        "",
        f"Made {report.made} by `scripts/bench switch` at commit {report.commit}; {where.cpu}, {where.cores} cores, "
        f"Linux {where.kernel}, Python {where.python}; load average {where.load} before the run.",
        "",
        f"{INTRO} {plan.connections} connections, {WORKERS} workers or threads, {plan.pause * 1000:g} ms between two "
        f"switches. Load, backends and server share the cores. Times are p50 / p99 / longest.",
        "",
        figures(report.results),
        EXPLAINED,
        "",
        *(
            f"- {result.server.name}: {result.server.title}; {report.versions[result.server.name]}"
            + (f". **Not measured**: {result.problem}" if result.problem else "")
            for result in report.results
        ),
        "",
        f"![Time to settle, and added wait]({picture})",
        "",
    ]
    return "\n".join(lines)


def verdict(results: Sequence[Result]) -> list[str]:
    """Why the proof has failed for ours; empty when it has not."""
    found = next((result.account for result in results if result.server.name == OURS), None)
    if found is None:
        return []
    return [f"{name.replace('_', ' ')}: {count}" for name, count in asdict(found.faults).items() if count]


def draw(report: Report, path: Path) -> None:
    """Two pictures beside each other: how soon the old slot was left, and what went wrong per 1,000 switches."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.hashsalt": "switchyard", "svg.fonttype": "none"}
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 3.2), layout="constrained")
    _draw_settled(left, report.results)
    _draw_faults(right, report.results)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    figure.suptitle(f"{report.made}, {report.machine.cpu}, {report.machine.cores} cores", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _draw_settled(axes: Axes, results: Sequence[Result]) -> None:
    for result in results:
        values = sorted(result.settled_ms)
        if values:
            shares = [(place + 1) / len(values) * 100 for place in range(len(values))]
            width = 2.2 if result.server.name == OURS else 1.2
            axes.step([max(value, 0.1) for value in values], shares, label=result.server.name, linewidth=width)
    axes.set_xscale("log")
    axes.set_title("From the call until the last request reached the old slot", fontsize=9)
    axes.set_xlabel("milliseconds", fontsize=8)
    axes.set_ylabel("% of the switches", fontsize=8)
    axes.legend(fontsize=8, frameon=False)


def _draw_faults(axes: Axes, results: Sequence[Result]) -> None:
    names = ("failed", "torn", "doubled", "late", "both_slots")
    found = [(result.server.name, result.account) for result in results if result.account is not None]
    width = 0.8 / max(1, len(found))
    for place, (name, account) in enumerate(found):
        counts = asdict(account.faults)
        values = [counts[fault] / account.switches * 1000 for fault in names]
        bars = axes.bar([at + place * width for at in range(len(names))], values, width, label=name)
        axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values], fontsize=6)
    axes.set_yscale("symlog")
    axes.set_title("Requests per 1,000 switches", fontsize=9)
    axes.set_xticks(
        [at + 0.4 - width / 2 for at in range(len(names))],
        ["failed", "torn", "doubled", "reached old\nafter return", "session in\nboth slots"],
    )
    axes.legend(fontsize=8, frameon=False)
