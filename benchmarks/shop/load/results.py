"""What the load saw, kept cheaply while it runs and written as one JSON file at its end.

`scripts/demo` reads that file back with `Report.load` and asks it for windows of time. All times are Unix seconds;
all waits are milliseconds beyond what the request itself asked to wait (a slow page of 300 ms that took 310 ms has
waited 10).
"""

from __future__ import annotations

import base64
import json
import os
import sys
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_SAMPLES = 2_000_000
MAX_FAILURES = 50
MAX_VERSIONS = 20
FORMAT = 1
TICKS_PER_SECOND = 10_000


class Results:
    """Counts and samples of a running load. Bounded: 50 failures with their text, 2,000,000 samples of 9 bytes."""

    def __init__(self, started: float) -> None:
        self.started = started
        self.requests = 0
        self.failed = 0
        self.sessions_opened = 0
        self.sessions_checked = 0
        self.sessions_lost = 0
        self.sessions_torn = 0
        self._failures: list[dict[str, Any]] = []
        self._failed_by_name: dict[str, int] = {}
        self._versions: dict[str, dict[str, float]] = {}
        self._kinds: dict[str, int] = {}
        self._ends = array("I")
        self._waits = array("f")
        self._sample_kinds = array("B")
        self._longest: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return (
            f"<Results: {self.requests} requests, {self.failed} failures, "
            f"{self.sessions_checked} sessions checked, {self.sessions_lost} lost>"
        )

    def add_request(self, kind: str, end: float, wait_ms: float) -> None:
        """One request that got an answer or failed."""
        self.requests += 1
        if self._longest is None or wait_ms > self._longest["wait_ms"]:
            self._longest = {"name": kind, "wait_ms": wait_ms, "when": end}
        if len(self._ends) < MAX_SAMPLES:
            self._ends.append(max(0, int((end - self.started) * TICKS_PER_SECOND)))
            self._waits.append(max(0.0, wait_ms))
            self._sample_kinds.append(self._kinds.setdefault(kind, len(self._kinds)))

    def add_failure(self, name: str, what: str, when: float) -> None:
        """Anything that a user would have noticed: no answer, a wrong one, a session lost or torn."""
        self.failed += 1
        self._failed_by_name[name] = self._failed_by_name.get(name, 0) + 1
        if len(self._failures) < MAX_FAILURES:
            self._failures.append({"name": name, "what": what, "when": when})

    def add_page(self, version: str, when: float) -> None:
        """A page named this version."""
        if version not in self._versions and len(self._versions) == MAX_VERSIONS:
            return
        seen = self._versions.setdefault(version, {"pages": 0, "first": when, "last": when})
        seen["pages"] += 1
        seen["last"] = when

    def document(self, ended: float) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "started": self.started,
            "ended": ended,
            "requests": self.requests,
            "failed": self.failed,
            "failed_by_name": self._failed_by_name,
            "failures": self._failures,
            "sessions": {
                "opened": self.sessions_opened,
                "checked": self.sessions_checked,
                "lost": self.sessions_lost,
                "torn": self.sessions_torn,
            },
            "versions": self._versions,
            "longest": self._longest,
            "samples": {
                "byteorder": sys.byteorder,
                "ticks_per_second": TICKS_PER_SECOND,
                "dropped": self.requests - len(self._ends),
                "kinds": list(self._kinds),
                "ends": _encode(self._ends),
                "waits_ms": _encode(self._waits),
                "kind": _encode(self._sample_kinds),
            },
        }

    def write(self, path: Path, ended: float) -> None:
        """Writes the file as a whole or not at all. Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(self.document(ended), file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _encode(values: array[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _decode(typecode: str, text: str, byteorder: str) -> array[Any]:
    values = array(typecode)
    values.frombytes(base64.b64decode(text))
    if byteorder != sys.byteorder:
        values.byteswap()
    return values


@dataclass(frozen=True)
class Window:
    """The requests that ended within a span of time. The waits are None when there were none."""

    requests: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class Report:
    """A results file, read back. `facts` is its document without the samples (`Results.document`)."""

    def __init__(self, document: dict[str, Any]) -> None:
        samples = document["samples"]
        order = samples["byteorder"]
        started, ticks = document["started"], samples["ticks_per_second"]
        ends = _decode("I", samples["ends"], order)
        waits = _decode("f", samples["waits_ms"], order)
        rows = sorted(zip(ends, waits, strict=True))
        self._ends = [started + end / ticks for end, _ in rows]
        self._waits = [wait for _, wait in rows]
        self.facts: dict[str, Any] = {key: value for key, value in document.items() if key != "samples"}

    def __repr__(self) -> str:
        return f"<Report: {self.facts['requests']} requests, {self.facts['failed']} failures>"

    @classmethod
    def load(cls, path: Path) -> Report:
        """Raises OSError when the file cannot be read, ValueError when it is no results file of this format."""
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"{path} is not a results file of format {FORMAT}")
        return cls(document)

    def window(self, start: float, end: float) -> Window:
        """The requests that ended at or after `start` and at or before `end` (Unix seconds)."""
        waits = sorted(self._waits[bisect_left(self._ends, start) : bisect_right(self._ends, end)])
        if not waits:
            return Window(0, None, None, None)
        return Window(len(waits), _rank(waits, 50), _rank(waits, 99), waits[-1])


def _rank(ordered: list[float], percent: int) -> float:
    """The nearest-rank percentile: the least value that at least so many per cent of the values do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
