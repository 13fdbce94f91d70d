"""The kinds of slots. All slots of an app are of one kind, as each release runs in each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deployer.clock import Clock
    from deployer.settings import Settings
    from deployer.site import SlotServer
    from deployer.war import Finding


class ReleaseFile(Protocol):
    """A file that can be released."""

    @property
    def sha256(self) -> str:
        """Its SHA-256, in hex."""

    @property
    def size(self) -> int:
        """Its bytes."""


@dataclass(frozen=True, slots=True)
class PlainFile:
    """See ReleaseFile."""

    sha256: str
    size: int


class Kind(Protocol):
    """What a kind of slot can do, and what runs it here."""

    @property
    def software(self) -> Sequence[str]:
        """What was found on this machine."""

    @property
    def sessions_note(self) -> str:
        """What users lose at a switch; "" when their sessions are on every slot."""

    def read(self, path: Path) -> ReleaseFile:
        """Hashes a release. Raises Refused when it can't be one."""

    def check(self, path: Path) -> list[Finding]:
        """What would make a release fail here, errors first. Raises nothing."""

    def slots(self, clock: Clock, *, make_keys: bool) -> Mapping[str, SlotServer]:
        """The slots of the settings. make_keys: make the installation's secrets when there are none yet."""


def find_kind(settings: Settings) -> Kind:
    """The settings' kind. Raises ConfigurationError when what it needs is not here."""
    # Each kind is imported only where it is used: `deployer status` must be quick.
    if settings.kind == "jetty":
        from deployer.jetty import kind as jetty

        return jetty.find(settings)
    if settings.kind == "command":
        from deployer.command import kind as command

        return command.find(settings)
    from deployer.tomcat import kind as tomcat

    return tomcat.find(settings)
