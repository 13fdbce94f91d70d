"""Which backend of a slot gets the next exchange.

Health (the probe's word), ejection (what the exchanges themselves met) and load are three separate facts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

FAILURES_TO_EJECT: Final = 2
FIRST_EJECTION: Final = 1.0
LONGEST_EJECTION: Final = 30.0
SLOW_START: Final = 10.0
"""Seconds in which a recovered backend's share grows. One that has just started has cold caches and compiles its code,
and, with nothing outstanding, would otherwise get every request until it has as many as the others."""
FIRST_SHARE: Final = 0.1


class Backend:
    """One `host:port` as this worker sees it.

    `healthy` None: not probed yet, which counts as usable. `troubled`: it has failed since it last answered. `label` is
    the address as the log writes it.
    """

    __slots__ = (
        "_credit", "_ejections", "_failures", "_recovered",
        "address", "ejected_until", "healthy", "in_flight", "label", "troubled",
    )  # fmt: skip

    def __init__(self, address: str, healthy: bool | None = None) -> None:
        self.address = address
        self.label = address.encode()
        self.healthy = healthy
        self.in_flight = 0
        self.ejected_until = 0.0
        self.troubled = False
        self._failures = 0
        self._ejections = 0
        self._recovered = -math.inf
        self._credit = 0.0

    def __repr__(self) -> str:
        health = {True: "up", False: "down", None: "unknown"}[self.healthy]
        return f"<Backend {self.address} {health} in_flight={self.in_flight}>"

    def failed(self, now: float) -> None:
        """A connection could not be made, or ended without a response. Several in a row eject, each time for longer.

        While it is ejected, failures are those of exchanges that had begun before, or had no other backend to try: they
        say nothing new, and however many there are, they do not make this ejection or the next one longer.
        """
        self.troubled = True
        if now < self.ejected_until:
            return
        self._failures += 1
        if self._failures >= FAILURES_TO_EJECT:
            self.ejected_until = now + min(FIRST_EJECTION * 2**self._ejections, LONGEST_EJECTION)
            self._recovered = self.ejected_until
            self._ejections = min(self._ejections + 1, 16)
            self._failures = 0

    def probed(self, up: bool | None, now: float) -> None:
        """The probe's word has changed."""
        if up and self.healthy is False:
            self._recovered = now
        self.healthy = up

    def takes_part(self, now: float) -> bool:
        """Whether it may have this request: in a slow start only a part of them, evenly spread, that grows to all."""
        since = now - self._recovered
        if since >= SLOW_START:
            return True
        self._credit += max(FIRST_SHARE, since / SLOW_START)
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True

    def answered(self) -> None:
        """A response came."""
        self.troubled = False
        self._failures = self._ejections = 0

    def usable(self, now: float) -> bool:
        return self.healthy is not False and self.ejected_until <= now


class BackendSet:
    """The backends of one slot."""

    __slots__ = ("_single", "_turn", "backends")

    def __init__(self, backends: Iterable[Backend]) -> None:
        self.backends = tuple(backends)
        self._single = self.backends[0] if len(self.backends) == 1 else None
        self._turn = -1

    def __repr__(self) -> str:
        return f"<BackendSet {', '.join(map(repr, self.backends))}>"

    def choose(self, now: float, tried: Collection[Backend] = ()) -> Backend | None:
        """The usable backend with the fewest exchanges; if none is usable any other; None if all were tried.

        Among equals they take turns. A recovered backend takes part in few choices at first. A probe or an ejection
        alone must not take a working site away, so with nothing better the others are tried.
        """
        if self._single is not None and not tried:
            return self._single
        untried = [backend for backend in self.backends if backend not in tried]
        if not untried:
            return None
        usable = [backend for backend in untried if backend.usable(now)]
        candidates = [backend for backend in usable if backend.takes_part(now)] or usable or untried
        self._turn += 1
        start = self._turn % len(candidates)
        return min(candidates[start:] + candidates[:start], key=lambda backend: backend.in_flight)

    def usable(self, now: float) -> int:
        """How many are."""
        return sum(backend.usable(now) for backend in self.backends)

    def find(self, address: str) -> Backend | None:
        return next((backend for backend in self.backends if backend.address == address), None)
