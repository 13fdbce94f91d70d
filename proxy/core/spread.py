"""Which slot a request goes to while the slots of an app have weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_COOKIE: Final = r"(?:^|[;,])[ \t]*{name}[ \t]*=[ \t]*\"?([^;,\" \t]+)"
_DIGITS: Final = 12


class Spread:
    """The weights of one app in one worker. Slots of weight 0 are not among them.

    Sticky: a visitor is known by the cookie `slot-APP` and keeps the slot that it names, as long as the slot has a
    weight and a usable backend. Who has no such cookie but a session is assigned by a hash of the session, and so to
    the same slot by every worker, whichever of them its first parallel requests meet. Everybody else is assigned in
    turn, by weight.

    Not sticky: every request is assigned in turn, and each backend of a slot has the slot's weight.

    `cookies`: slot -> the value that stands for it, which nobody else can make up. `usable(slot)`: how many backends of
    it are usable; when no slot has one, all are tried.
    """

    __slots__ = ("_cookie", "_credit", "_name", "_path", "_slots", "_usable", "_values", "sticky", "weights")

    def __init__(
        self,
        app: str,
        weights: Mapping[str, int],
        *,
        sticky: bool,
        cookies: Mapping[str, str],
        path: str,
        usable: Callable[[str], int],
    ) -> None:
        self.weights = {slot: weight for slot, weight in weights.items() if weight > 0}
        self.sticky = sticky
        self._name = b"slot-" + app.encode()
        self._path = path.encode()
        self._cookie = re.compile(_COOKIE.format(name=re.escape(self._name.decode())).encode())
        self._values = {slot: cookies[slot].encode() for slot in self.weights} if sticky else {}
        self._slots = {value: slot for slot, value in self._values.items()}
        self._usable = usable
        self._credit = dict.fromkeys(self.weights, 0)

    def __repr__(self) -> str:
        shares = ", ".join(f"{slot} {weight}" for slot, weight in self.weights.items())
        return f"<Spread {shares}{'' if self.sticky else ' by turns'}>"

    def assign(self, cookies: bytes, session: str | None) -> str:
        """The slot of a request. `cookies`: the value of its Cookie field; `session`: its hash in hexadecimal."""
        if not self.sticky:
            return self._next(self._shares(per_backend=True))
        kept = self.slot_in(cookies)
        if kept is not None and self._usable(kept):
            return kept
        shares = self._shares()
        if session is not None:
            return _by_hash(shares, session)
        return self._next(shares)

    def slot_in(self, cookies: bytes) -> str | None:
        """The slot that the request's cookie names; None without one, or when its slot has no weight."""
        match = self._cookie.search(cookies)
        return self._slots.get(match[1]) if match is not None else None

    def set_cookie(self, cookies: bytes, slot: str) -> bytes:
        """The Set-Cookie line for a visitor who was served by the slot; empty when the visitor has that cookie."""
        if not self.sticky or slot not in self._values or self.slot_in(cookies) == slot:
            return b""
        return b"Set-Cookie: %b=%b; Path=%b; HttpOnly; SameSite=Lax\r\n" % (self._name, self._values[slot], self._path)

    def _shares(self, *, per_backend: bool = False) -> dict[str, int]:
        usable = {slot: self._usable(slot) for slot in self.weights}
        shares = {
            slot: weight * (usable[slot] if per_backend else 1) for slot, weight in self.weights.items() if usable[slot]
        }
        return shares or self.weights

    def _next(self, shares: dict[str, int]) -> str:
        """Takes turns by weight, the heavy ones spread between the light ones as evenly as can be.

        As nginx does it: each slot gains its weight, the richest one is taken and pays for all.
        """
        credit = self._credit
        for slot, share in shares.items():
            credit[slot] += share
        chosen = max(shares, key=credit.__getitem__)
        credit[chosen] -= sum(shares.values())
        return chosen


def _by_hash(shares: dict[str, int], session: str) -> str:
    point = int(session[:_DIGITS], 16) / 16**_DIGITS * sum(shares.values())
    for slot, share in shares.items():
        point -= share
        if point < 0:
            return slot
    return next(reversed(shares))
