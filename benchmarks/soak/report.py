"""What a soak came to: Markdown for people, JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.report import mib, table
from benchmarks.soak.account import LISTED
from benchmarks.soak.samples import FLAT_BYTES

if TYPE_CHECKING:
    from datetime import datetime

    from benchmarks.machine import Machine
    from benchmarks.soak.run import Result


def to_markdown(result: Result, where: Machine, made: datetime, commit: str) -> str:
    plan = result.plan
    counted = f"{result.after.counted:,}" if result.after is not None and result.after.counted is not None else "no"
    verdict = "**nothing leaked, every request accounted for**" if result.ok else "**violations, listed below**"
    parts = [
        "# Soak",
        "",
        f"Made {made:%Y-%m-%d %H:%M} UTC by `scripts/bench soak --minutes {plan.seconds / 60:g} --seed {plan.seed}` "
        f"at commit {commit}; {where.cpu}, Linux {where.kernel}, Python {where.python}.",
        "",
        f"{result.requests:,} requests in {result.seconds:.0f} s over 2 workers: {verdict}.",
        "",
        _disturbances(result),
        "",
        "Each request, by the client's kind and the backend's behaviour, and how it ended: a status, or a status and "
        "`cut` when the connection was ended in the middle of the answer, or `none` when no answer began.",
        "",
        _outcomes(result),
        "Failures that are stated only because of what is known to have happened to just that request:",
        "",
        table(("why", "requests"), [(why, f"{count:,}") for why, count in sorted(result.account.excused.items())]),
        f"Requests that a backend got twice, all of which may be (RFC 9110 section 9.2.2): {result.account.retried:,}.",
        "",
        f"The access log has {result.lines:,} lines, the counters have {counted} requests. Without a line are clients "
        "that said nothing or a part of a head, or went away with a reset. A killed worker's counters are those of the "
        "last look.",
        "",
        _leaks(result),
    ]
    if result.account.violations:
        counts = Counter(one.rule for one in result.account.violations).most_common()
        parts += ["## Violations", "", table(("rule", "requests"), [(rule, str(count)) for rule, count in counts])]
        parts += [f"- {one.rule}: {one.exchange}" for one in result.account.violations[:LISTED]]
        parts.append("")
    return "\n".join(parts)


def _disturbances(result: Result) -> str:
    return table(
        ("meanwhile", "times"),
        [
            ("switches between the slots", str(result.switches)),
            ("switches that were refused", str(result.refused_switches)),
            ("switches after which the old slot was not drained", str(result.undrained)),
            ("longest hold, ms", f"{result.longest_hold_ms:.1f}"),
            ("workers killed (SIGKILL)", str(len(result.kills))),
            ("reloads (SIGHUP)", str(result.reloads)),
            ("windows in which a backend refused, or ended, new connections", str(result.windows)),
        ],
    )


def _outcomes(result: Result) -> str:
    rows = [
        (visit, behaviour, ", ".join(f"{end}: {count:,}" for end, count in sorted(ends.items())))
        for (visit, behaviour), ends in sorted(_by_kind(result).items())
    ]
    return table(("client", "backend", "ended"), rows, left=3)


def _by_kind(result: Result) -> dict[tuple[str, str], Counter[str]]:
    kinds: dict[tuple[str, str], Counter[str]] = {}
    for (visit, behaviour, end), count in result.account.table.items():
        kinds.setdefault((visit, behaviour), Counter())[end] += count
    return kinds


def _leaks(result: Result) -> str:
    rows = []
    for name, one in (("before the load", result.before), ("when it had ended", result.after)):
        if one is not None:
            numbers = (one.in_flight, one.backends_in_flight, one.held, one.tunnels, one.connections)
            lists = [", ".join(str(getattr(w, key)) for w in one.workers) for key in ("descriptors", "tasks")]
            rss = ", ".join(mib(worker.rss) for worker in one.workers)
            rows.append((name, *map(str, numbers), *lists, rss))
    head = ("", "tickets", "at backends", "held", "tunnels", "connections", "descriptors", "tasks", "RSS, MiB")
    text = table(head, rows)
    if result.growth:
        changes = "; ".join(f"{mib(first)} to {mib(last)} MiB" for first, last in result.growth.values())
        text += (
            f"\nResident memory of each worker that lived to the end, median of the first and of the last quarter of "
            f"its time after warm-up: {changes}. Flat means at most {FLAT_BYTES // 2**20} MiB more.\n"
        )
    return text


def to_json(result: Result, made: datetime, commit: str) -> str:
    kinds = _by_kind(result)
    return json.dumps(
        {
            "made": f"{made:%Y-%m-%dT%H:%M:%SZ}",
            "commit": commit,
            "ok": result.ok,
            "seed": result.plan.seed,
            "seconds": round(result.seconds, 1),
            "requests": result.requests,
            "switches": result.switches,
            "refused_switches": result.refused_switches,
            "undrained": result.undrained,
            "kills": len(result.kills),
            "reloads": result.reloads,
            "windows": result.windows,
            "retried": result.account.retried,
            "log_lines": result.lines,
            "counted": None if result.after is None else result.after.counted,
            "kills_at": [{"stopped": kill.stopped, "killed": kill.at} for kill in result.kills],
            "excused": dict(result.account.excused),
            "outcomes": [{"client": v, "backend": b, "ended": dict(ends)} for (v, b), ends in sorted(kinds.items())],
            "violations": [{"rule": one.rule, "exchange": one.exchange} for one in result.account.violations],
            "growth": [{"first": first, "last": last} for first, last in result.growth.values()],
            "samples": [
                {
                    "at": round(one.at, 1),
                    "rss": [worker.rss for worker in one.workers],
                    "descriptors": [worker.descriptors for worker in one.workers],
                    "tasks": [worker.tasks for worker in one.workers],
                    "connections": one.connections,
                    "in_flight": one.in_flight,
                    "held": one.held,
                    "tunnels": one.tunnels,
                }
                for one in result.samples
            ],
        },
        indent=1,
    )
