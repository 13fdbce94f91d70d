"""The demo's verdict: facts of the release and of the load, as lines of text. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.shop.load.results import Report, Window


@dataclass
class Release:
    """What `deployer release --json` told. `steps`: name, seconds; `switches`: the proxy's reports."""

    started: float = 0.0
    ended: float = 0.0
    exit_code: int = -1
    steps: list[tuple[str, float]] = field(default_factory=list)
    switches: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def take(self, event: dict[str, Any]) -> str | None:
        """Notes one event; the line to show for it, or None."""
        kind = event.get("event")
        if kind == "step" and event["state"] in ("done", "failed", "undone", "undo-failed"):
            seconds = float(event["seconds"] or 0.0)
            self.steps.append((event["step"], seconds))
            if "hold_ms" in event["data"]:
                self.switches.append(event["data"])
            sign = {"done": "ok"}.get(event["state"], event["state"].upper())
            text = str(event["text"]).splitlines()
            return f"  {sign:6} {seconds:6.1f} s  {event['step']}" + (f" - {text[0]}" if text else "")
        if kind == "result":
            self.problem = event["problem"]
        elif kind == "error":
            self.problem = event["message"]
        return None


def lines(release: Release, report: Report) -> list[str]:
    """The verdict, line by line."""
    facts = report.facts
    sessions = facts["sessions"]
    longest = facts["longest"] or {"wait_ms": 0.0, "name": "-"}
    versions = ", ".join(f"version {name}: {seen['pages']}" for name, seen in sorted(facts["versions"].items()))
    windows = {
        "before": report.window(facts["started"], release.started),
        "during": report.window(release.started, release.ended),
        "after": report.window(release.ended, facts["ended"]),
    }
    return [
        f"requests      {facts['requests']}  ({versions})",
        f"failures      {facts['failed']}",
        f"sessions      {sessions['checked']} checked, {sessions['lost']} lost, {sessions['torn']} torn",
        *(_window(name, window) for name, window in windows.items()),
        f"longest wait  {longest['wait_ms']:.0f} ms ({longest['name']})",
        *(_switch(switch) for switch in release.switches),
        f"release       {release.ended - release.started:.1f} s: " + _by_step(release.steps),
        *(f"failed        {failure['name']}: {failure['what']}" for failure in facts["failures"][:10]),
    ]


def failed(release: Release, report: Report) -> list[str]:
    """Why the demo did not succeed; empty when it did."""
    facts = report.facts
    reasons = []
    if release.exit_code:
        reasons.append(f"the release ended with {release.exit_code}: {release.problem or 'no reason given'}")
    if facts["failed"]:
        reasons.append(f"{facts['failed']} requests failed")
    if facts["sessions"]["lost"] or facts["sessions"]["torn"]:
        reasons.append(f"{facts['sessions']['lost']} sessions were lost and {facts['sessions']['torn']} torn")
    if not facts["requests"] or not facts["sessions"]["checked"]:
        reasons.append("nothing was checked")
    if not release.exit_code and "2" not in facts["versions"]:
        reasons.append("no user saw version 2")
    return reasons


def _window(name: str, window: Window) -> str:
    if window.p50_ms is None or window.p99_ms is None or window.max_ms is None:
        return f"{name:13} no request"
    return (
        f"{name:13} p50 {window.p50_ms:.1f} ms, p99 {window.p99_ms:.1f} ms, longest {window.max_ms:.0f} ms"
        f"  ({window.requests} requests)"
    )


def _switch(report: dict[str, Any]) -> str:
    drained = f"drained in {report['drain_ms']:.0f} ms" if report["drained"] else f"{len(report['cut'])} cut"
    return (
        f"switch        {report['from']} -> {report['to']}: held {report['held']} requests for at most "
        f"{report['hold_ms']:.1f} ms, {report['in_flight']} in flight, {drained}"
    )


def _by_step(steps: list[tuple[str, float]]) -> str:
    slow = [f"{name} {seconds:.1f} s" for name, seconds in steps if seconds >= 0.1]
    return ", ".join(slow)
