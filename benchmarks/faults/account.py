"""Whose doing a failed request was. Pure: the users' records, the proxy's access log and the kill are compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["failed", "lost", "torn"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One request without a whole and right answer. Times are Unix seconds; `number` is its User-Agent's.

    kind: `lost`, the server did not know the session any more; `torn`, it had other content than was put there.
    """

    number: int
    name: str
    begun: float
    ended: float
    kind: Kind
    what: str


@dataclass(frozen=True, slots=True)
class Death:
    """A Tomcat that was killed. active: new requests went to it; alone: the other slot was not up to take over.

    until: when the site served again.
    """

    slot: str
    at: float
    active: bool
    alone: bool
    until: float


@dataclass(frozen=True, slots=True)
class Account:
    """Requests that failed, by cause; sessions that were lost or torn; texts of those that nothing excuses.

    in_flight: the killed Tomcat had them. dead: they came while it was the active one, and before anybody switched.
    """

    in_flight: int = 0
    dead: int = 0
    ours: int = 0
    lost: int = 0
    torn: int = 0
    unexcused: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        return self.in_flight + self.dead + self.ours


def read_slots(log: str) -> dict[int, str]:
    """Request number -> the slot that it was sent to, from the proxy's access log; "-" when to none."""
    slots = {}
    for line in log.splitlines():
        try:
            entry = json.loads(line)
            number, slot = int(entry["agent"].removeprefix(AGENT)), str(entry["slot"])
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
        slots[number] = slot
    return slots


AGENT = "faults-"
"""How the users' User-Agent begins; the request's number follows, by which it is found in the access log."""


def account(failures: Iterable[Failure], slots: Mapping[int, str], death: Death | None) -> Account:
    """All failures of one row."""
    counts = {"in_flight": 0, "dead": 0, "ours": 0, "lost": 0, "torn": 0}
    unexcused = []
    for failure in failures:
        cause = failure.kind if failure.kind != "failed" else _cause(failure, slots.get(failure.number), death)
        counts[cause] += 1
        if cause == "ours" or (cause in ("lost", "torn") and not (death is not None and death.alone)):
            unexcused.append(f"{failure.name}: {failure.what}")
    return Account(**counts, unexcused=tuple(unexcused))


def _cause(failure: Failure, slot: str | None, death: Death | None) -> Literal["in_flight", "dead", "ours"]:
    """A request that the log does not name was sent to nobody that is known; then the times alone decide."""
    if death is None or (slot not in (None, "-") and slot != death.slot):
        return "ours"
    if failure.begun <= death.at <= failure.ended:
        return "in_flight"
    return "dead" if death.active and death.at <= failure.begun <= death.until else "ours"
