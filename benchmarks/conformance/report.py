"""What a run came to: Markdown for people, JSON for programs. Formatting only."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.conformance.model import Miss, Score
    from benchmarks.machine import Machine

LISTED: Final = 12
KEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Report:
    """`titles` and `versions` are by the server's name, `groups` say what each group is, by its name."""

    made: str
    commit: str
    machine: Machine
    titles: Mapping[str, str]
    versions: Mapping[str, str]
    groups: Mapping[str, str]
    step: int
    scores: tuple[Score, ...]


def summary(report: Report) -> str:
    """The table of passed and total, a row for each group."""
    by_place = {(score.group, score.server): score for score in report.scores}
    rows = []
    for group in report.groups:
        cells = [by_place.get((group, server)) for server in report.titles]
        rows.append((group, *(f"{cell.passed:,} of {cell.total:,}" if cell else "-" for cell in cells)))
    return table(("group", *report.titles.values()), rows)


def to_markdown(report: Report) -> str:
    parts = [
        "# Conformance",
        "",
        f"Made {report.made} by `scripts/bench conformance` at commit {report.commit}; {report.machine.cpu}, "
        f"Linux {report.machine.kernel}, Python {report.machine.python}. "
        + "; ".join(f"{report.titles[name]}: {version}" for name, version in report.versions.items())
        + ".",
        "",
        *([f"Only every {report.step}th attempt was made.", ""] if report.step > 1 else []),
        "Passed, of all:",
        "",
        summary(report),
        *(f"- {name}: {text}" for name, text in report.groups.items()),
        "",
    ]
    for score in report.scores:
        if score.misses:
            parts += _misses(report, score)
    return "\n".join(parts).rstrip() + "\n"


def _misses(report: Report, score: Score) -> list[str]:
    families = Counter(miss.family for miss in score.misses).most_common()
    counted = ", ".join(f"{family} {count}" for family, count in families)
    parts = [f"## {report.titles[score.server]}, {score.group}: {len(score.misses)} missed", "", counted, ""]
    parts += [text for miss in _spread(score.misses) for text in _tell(miss)]
    if len(score.misses) > LISTED:
        parts.append(f"- … and {len(score.misses) - LISTED} more; up to {KEPT} are in conformance.json")
    return [*parts, ""]


def _spread(misses: tuple[Miss, ...]) -> list[Miss]:
    """As many as are listed, first one of each family."""
    first = {miss.family: miss for miss in reversed(misses)}
    chosen = [miss for miss in misses if first[miss.family] is miss]
    chosen += [miss for miss in misses if first[miss.family] is not miss]
    return chosen[:LISTED]


def _tell(miss: Miss) -> list[str]:
    parts = [f"- {miss.family}, {_code(miss.name)}: {_code(miss.why)}", f"  - sent {_code(miss.sent)}"]
    return parts + [f"  - {_code(got)}" for got in miss.got if got]


def _code(text: str) -> str:
    """Text in a code span that no backtick in it can end (CommonMark section 6.1)."""
    clean = " ".join(text.split()).replace("`", "'")
    return f"`{clean}`"


def to_json(report: Report) -> str:
    data = asdict(report)
    for score in data["scores"]:
        score["missed"] = len(score["misses"])
        score["misses"] = score["misses"][:KEPT]
    return json.dumps(data, indent=1, ensure_ascii=True) + "\n"
