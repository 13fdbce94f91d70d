"""Which sessions must wait after a switch, as they may still have an exchange on a slot that they have left."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Barrier:
    """The barrier of the last switch. It is there until the last session has ended in all workers, or until `until`.

    While nobody can tell which sessions are busy, it blocks all of them.
    """

    __slots__ = ("_blocked", "_everybody", "until")

    def __init__(self) -> None:
        self._blocked: Counter[str] = Counter()  # by number of workers that have the session
        self._everybody = False
        self.until = 0.0

    def __repr__(self) -> str:
        return "<Barrier all sessions>" if self._everybody else f"<Barrier sessions={len(self._blocked)}>"

    def __bool__(self) -> bool:
        return self._everybody or bool(self._blocked)

    def put(self, busy: Mapping[str, int] | None, until: float) -> None:
        """In place of the one before. `busy`: session -> workers that have it; None: nobody knows."""
        self._blocked = Counter(busy or {})
        self._everybody = busy is None
        self.until = until

    def lift(self) -> None:
        self.put({}, 0.0)

    def blocks(self, session: str) -> bool:
        return self._everybody or session in self._blocked

    def ended(self, sessions: Iterable[str]) -> list[str]:
        """One worker less has these sessions. Returns those that no worker has any more."""
        free = []
        for session in sessions:
            if self._blocked[session] > 1:
                self._blocked[session] -= 1
            elif session in self._blocked:
                del self._blocked[session]
                free.append(session)
        return free
