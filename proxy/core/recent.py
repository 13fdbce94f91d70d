"""Which requests came of late: a small sample of GETs, and those that failed or were slow. Pure; no clock of its own.

It is for a release's warm-up and for saying what a trial failed by. It holds no header, cookie or body. As an
address can be a secret too, what looks like one is left out: a query with a parameter of a telling name or with a long
random value, the path's parameters (`;jsessionid=…`), and long random words in the path, which become `*`.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from proxy.wire import RecentRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

WANTED: Final = 8
"""GETs that are noted between two looks: enough for a sample, too few to be felt."""
WANTED_BAD: Final = 64
SLOW_SECONDS: Final = 1.0
MAX_KEPT: Final = 128
"""Different ones that are kept of each sort; the one that came longest ago makes room."""
MAX_TARGET: Final = 512
MAX_AGE: Final = 600.0

# Runs are taken whole and then looked into. A pattern that looks into them itself would begin anew at each byte.
_RUN: Final = re.compile(rb"[\w.~%+-]{24,}+")
_DIGIT: Final = re.compile(rb"[0-9]")
_LETTER: Final = re.compile(rb"[A-Za-z]")
_RANDOM_SEGMENT: Final = re.compile(rb"(?<=/)(?=[A-Za-z_~%-]*+[0-9])[\w~%-]{24,}+(?=/|$)")
_PARAMETERS: Final = re.compile(rb";[^/]*+")
_NAMES: Final = re.compile(rb"(?:^|&)([^=&]*+)=")
_TELLING: Final = re.compile(
    rb"(?i)pass|pwd|secret|token|key|auth|sign|sig|sess|sid|code|otp|nonce|jwt|ticket|mail|phone|user"
)
_Key = tuple[str, bytes, bytes, int]


class Recent:
    """One app's requests in one worker. `wanted`: how many GETs are still noted before the next look."""

    __slots__ = ("_bad", "_good", "_wanted_bad", "wanted")

    def __init__(self) -> None:
        self.wanted = WANTED
        self._wanted_bad = WANTED_BAD
        self._good: OrderedDict[_Key, list[float]] = OrderedDict()
        self._bad: OrderedDict[_Key, list[float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Recent good={len(self._good)} bad={len(self._bad)}>"

    def look(self) -> None:
        """Some time has passed."""
        self.wanted = WANTED
        self._wanted_bad = WANTED_BAD

    def note(self, slot: str, method: bytes, target: bytes, status: int, seconds: float, now: float) -> None:
        """An exchange has ended. How long a tunnel was open, or until when a client waited, is not the slot's doing."""
        if status >= 500 or (seconds >= SLOW_SECONDS and status >= 200):
            if self._wanted_bad:
                self._wanted_bad -= 1
                _count(self._bad, (slot, method, told(target), status), seconds, now)
        elif self.wanted and method == b"GET" and 200 <= status < 400:
            self.wanted -= 1
            _count(self._good, (slot, method, told(target), status), seconds, now)

    def rows(self, now: float) -> tuple[RecentRequest, ...]:
        """Those of the last MAX_AGE seconds."""
        return tuple(
            RecentRequest(
                slot=slot,
                method=method.decode("latin-1"),
                path=path.decode("latin-1"),
                status=status,
                count=int(count),
                slowest_ms=round(slowest * 1000, 1),
            )
            for kept in (self._bad, self._good)
            for (slot, method, path, status), (count, slowest, last) in kept.items()
            if last >= now - MAX_AGE
        )


def _count(kept: OrderedDict[_Key, list[float]], key: _Key, seconds: float, now: float) -> None:
    row = kept.get(key)
    if row is None:
        if len(kept) >= MAX_KEPT:
            kept.popitem(last=False)
        kept[key] = [1.0, seconds, now]
        return
    row[0] += 1
    row[1] = max(row[1], seconds)
    row[2] = now
    kept.move_to_end(key)


def told(target: bytes) -> bytes:
    """The target without what looks like a secret."""
    path, _, query = target[: 4 * MAX_TARGET].partition(b"?")
    path = _RANDOM_SEGMENT.sub(b"*", _PARAMETERS.sub(b"", path))[:MAX_TARGET]
    if not query or len(target) > MAX_TARGET or _tells(query):
        return path
    return path + b"?" + query


def _tells(query: bytes) -> bool:
    """Whether a parameter's name or a long random run looks like a secret."""
    return any(_TELLING.search(name) for name in _NAMES.findall(query)) or any(
        _DIGIT.search(run) and _LETTER.search(run) for run in _RUN.findall(query)
    )


def merge_samples(samples: Iterable[Iterable[RecentRequest]]) -> tuple[RecentRequest, ...]:
    """Several workers' rows as one list, the most frequent first."""
    found: dict[tuple[str, str, str, int], RecentRequest] = {}
    for row in (row for sample in samples for row in sample):
        key = (row.slot, row.method, row.path, row.status)
        known = found.get(key)
        if known is not None:
            counted = {"count": row.count + known.count, "slowest_ms": max(row.slowest_ms, known.slowest_ms)}
            row = known.model_copy(update=counted)
        found[key] = row
    return tuple(sorted(found.values(), key=lambda row: -row.count))
