"""The requests that wait in a gate: bounded in number and time, and found by the session that they wait for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.core.admission import GateFullError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.core.tickets import Owner


class Waiting:
    """At most `most` requests in the order of their arrival; each waits for `patience` seconds at most.

    One that waits for the barrier of its session is found by that session, so that the end of one session's exchange
    costs as much as the session has requests, however many others wait. All others wait for what ends for all at once.

    `places` is empty when nobody waits: each claim asks, and asking a dict costs least.
    """

    __slots__ = ("_arrivals", "_by_session", "_most", "_patience", "_until", "places")

    def __init__(self, most: int, patience: float) -> None:
        self._most = most
        self._patience = patience
        self.places: dict[Owner, _Place] = {}
        self._by_session: dict[str, dict[Owner, _Place]] = {}
        self._arrivals = 0
        self._until = 0.0  # when the patience of the last one ends: nobody's ends before that of one who came before

    def __repr__(self) -> str:
        return f"<Waiting {len(self.places)} sessions={len(self._by_session)}>"

    def __len__(self) -> int:
        return len(self.places)

    def add(self, owner: Owner, session: str | None, now: float) -> None:
        """`session`: the one whose barrier it waits for. Who waits already keeps its place and its patience.

        Raises GateFullError.
        """
        place = self.places.get(owner)
        if place is None:
            if len(self.places) >= self._most:
                raise GateFullError("too many requests wait for it")
            self._arrivals += 1
            self._until = max(self._until, now + self._patience)
            place = self.places[owner] = _Place(self._arrivals, self._until, None)
        elif place.session == session:
            return
        self._leave_session(owner, place)
        place.session = session
        if session is not None:
            self._by_session.setdefault(session, {})[owner] = place

    def remove(self, owner: Owner) -> None:
        """It waits no more, if it did."""
        place = self.places.pop(owner, None)
        if place is not None:
            self._leave_session(owner, place)

    def all(self) -> list[Owner]:
        return list(self.places)

    def of(self, sessions: Iterable[str]) -> list[Owner]:
        """Those who wait for the barrier of one of these sessions, in the order of their arrival."""
        found = [pair for session in sessions for pair in self._by_session.get(session, {}).items()]
        found.sort(key=lambda pair: pair[1].arrival)
        return [owner for owner, _ in found]

    def expire(self, now: float) -> list[Owner]:
        """Removes and returns those whose patience is over."""
        late = []
        for owner, place in self.places.items():
            if place.until > now:
                break
            late.append(owner)
        for owner in late:
            self.remove(owner)
        return late

    def _leave_session(self, owner: Owner, place: _Place) -> None:
        if place.session is not None:
            owners = self._by_session[place.session]
            del owners[owner]
            if not owners:
                del self._by_session[place.session]


@dataclass(slots=True)
class _Place:
    arrival: int
    until: float
    session: str | None
