"""What is: the facts that a plan is made from. Pure data; nothing here looks at the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


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
