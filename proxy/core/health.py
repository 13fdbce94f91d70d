"""From a backend's probes to its health: `rise` successes in a row call it up, `fall` failures in a row down."""

from __future__ import annotations


class BackendHealth:
    """`up` None: not probed yet. `since`: Unix time of the last change. The first probe decides at once."""

    __slots__ = ("_fall", "_rise", "_streak", "last_error", "since", "up")

    def __init__(self, rise: int, fall: int, now: float) -> None:
        self._rise = rise
        self._fall = fall
        self._streak = 0
        self.up: bool | None = None
        self.since = now
        self.last_error: str | None = None

    def note(self, error: str | None, now: float) -> bool:
        """One probe's outcome: None, or why it failed. Returns whether the health has changed."""
        works = error is None
        self.last_error = error
        if self.up is works:
            self._streak = 0
            return False
        self._streak += 1
        if self.up is not None and self._streak < (self._rise if works else self._fall):
            return False
        self.up = works
        self.since = now
        self._streak = 0
        return True

    def __repr__(self) -> str:
        state = {True: "up", False: "down", None: "unknown"}[self.up]
        return f"<BackendHealth {state} streak={self._streak}>"
