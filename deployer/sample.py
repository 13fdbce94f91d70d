"""What users asked for of late, for the new slot: which of it may be sent before they come, and what differs. Pure.

A GET is safe by RFC 9110 section 9.2.1, but not every application keeps to that: what sounds as if it changed
something is not sent. Nothing has a cookie, so the slots answer as they do to a stranger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxy.wire import RecentRequest

SLOWEST_MS = 5000.0
"""What took longer may be a stream without end."""
_MASKED = "*"
_CHANGES = frozenset(
    re.findall(
        "[a-z]+",
        "accept activate add apply approve book buy callback cancel charge checkout clear close confirm create decline"
        " deactivate delete deploy disable do edit enable exec execute export import insert install invite kill login"
        " logoff logout merge move new order pay post publish purge put refund register reject remove rename reset"
        " restart restore revoke run save send set shutdown signin signout signup start stop submit subscribe switch"
        " sync trigger undo unlock unsubscribe update upload verify vote write",
    )
)
_WORD = re.compile(r"[A-Za-z][a-z]*|[A-Z]+")


@dataclass(frozen=True, slots=True)
class Compared:
    """One target's answers: a status as text, or why there was none."""

    target: str
    here: str
    live: str

    @property
    def differs(self) -> bool:
        """Whether users would notice."""
        return self.here != self.live

    @property
    def broken(self) -> bool:
        """Whether only the new slot fails."""
        return is_error(self.here) and not is_error(self.live)

    def __str__(self) -> str:
        return f"{self.target}: {self.here}, the live slot answers {self.live}"


def is_error(answer: str) -> bool:
    """Whether an answer, a status or why there was none, is an error of the server."""
    return not answer.isdigit() or int(answer) >= 500


def harmless(target: str) -> bool:
    """Whether the address sounds as if nothing was changed by asking for it: `/cart?page=2`, not `/cart/add?item=3`."""
    words = {word.lower() for word in _WORD.findall(target)}
    return target.startswith("/") and _MASKED not in target and not words & _CHANGES


def choose(recent: Iterable[RecentRequest], most: int) -> tuple[str, ...]:
    """The most frequent targets that may be sent again: GETs that went well, and that were not slow."""
    wanted = (
        one.path
        for one in sorted(recent, key=lambda one: -one.count)
        if one.method == "GET" and 200 <= one.status < 400 and one.slowest_ms <= SLOWEST_MS and harmless(one.path)
    )
    return tuple(dict.fromkeys(wanted))[:most]


def differences(compared: Sequence[Compared], most: int = 10) -> list[str]:
    """Those that differ, one a line."""
    different = [str(one) for one in compared if one.differs]
    more = len(different) - most
    return [*different[:most], *([f"and {more} more"] if more > 0 else [])]
