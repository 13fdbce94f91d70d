"""What is: the facts that a plan is made from. Pure data; nothing here looks at the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.wire import TrialStatus


@dataclass(frozen=True, slots=True)
class Release:
    """One WAR in the release store.

    id: the first 12 hex digits of `sha256`, the WAR's SHA-256. war: its absolute path in the store.
    size: bytes. added: Unix seconds. name: the file name that the WAR was given with, for people.
    """

    id: str
    sha256: str
    war: Path
    size: int
    added: float
    name: str


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What one slot's Tomcat is doing now, as seen from outside.

    started: Unix seconds. http_ready: the application is STARTED and its port accepts connections.
    release_id: what was last deployed whole, None when nothing was or a deployment was cut off.
    sessions: active sessions, None when Tomcat does not say. memory: resident bytes.
    """

    running: bool
    pid: int | None
    started: float | None
    http_ready: bool
    release_id: str | None
    sessions: int | None
    memory: int | None


@dataclass(frozen=True, slots=True)
class Observed:
    """The site as it is now.

    active: the slot that the proxy sends new requests to. slots: every configured slot, home first.
    in_flight: the proxy's outstanding exchanges by slot. trial: of the last switch, while the proxy may undo it.
    """

    active: str
    switching: bool
    slots: Mapping[str, InstanceFacts]
    in_flight: Mapping[str, int]
    trial: TrialStatus | None = None

    @property
    def home(self) -> str:
        """The slot to which the strategy `return` returns."""
        return next(iter(self.slots))

    @property
    def live(self) -> InstanceFacts:
        """The active slot's facts."""
        return self.slots[self.active]

    @property
    def idle(self) -> str:
        """The slot that a release may work in: the first that is not active. During a trial the one it goes back to."""
        if self.trial is not None and self.trial.from_slot in self.slots:
            return self.trial.from_slot
        return next(name for name in self.slots if name != self.active)
