"""One slot as the release's steps see it (`deployer.site.SlotServer`), on a Tomcat instance."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.errors import DeployerError, InstanceError
from deployer.site import SessionsMissing, SlotServer
from deployer.tomcat import sessions
from deployer.ways import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.clock import Clock
    from deployer.release import InstanceFacts, Release
    from deployer.server.probe import Health
    from deployer.site import Say
    from deployer.tomcat.process import Instance
    from deployer.tomcat.sessions import SessionFacts


@dataclass(frozen=True, slots=True)
class SlotTimes:
    """Seconds: until ready, for a graceful stop, for sessions to arrive. tolerance: see sessions.compare."""

    ready: float
    stop: float
    sessions: float
    tolerance: float


@dataclass(frozen=True)
class TomcatSlot:
    """A slot. replicate: its sessions are on the other slots too."""

    instance: Instance
    health: Health
    times: SlotTimes
    replicate: bool
    clock: Clock

    @property
    def place(self) -> Place:
        """See SlotServer."""
        spec = self.instance.spec
        return Place(
            name=spec.name,
            url=spec.origin + spec.context,
            base=str(spec.base),
            log=str(spec.log_file),
            ports=spec.ports,
            command=shlex.join(self.instance.launch().command),
            emptied=(f"{spec.base}/webapps", f"{spec.base}/work"),
        )

    @property
    def warning(self) -> str:
        """See SlotServer."""
        return self.instance.account.warning

    @property
    def cluster(self) -> SessionFacts:
        """See SlotServer."""
        return self.instance.control

    def observe(self) -> InstanceFacts:
        """See SlotServer."""
        return self.instance.observe()

    def faults(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        return self.instance.faults()

    def obstacles(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        return self.instance.obstacles()

    def deploy(self, release: Release) -> None:
        """See SlotServer."""
        self.instance.prepare()
        self.instance.deploy(release.war, release.id)

    def start(self) -> None:
        """See SlotServer."""
        self.instance.prepare()
        self.instance.start()

    def wait_ready(self, say: Say) -> None:
        """See SlotServer."""
        self.instance.wait_ready(self.health, self.times.ready, say)

    def wait_sessions(self, other: SlotServer, say: Say, *, fresh: bool) -> str:
        """See SlotServer."""
        if not self.replicate:
            return "sessions are not replicated"
        if not isinstance(other, TomcatSlot):
            raise SessionsMissing(f"{other!r} can't tell its sessions")
        if not other.observe().running:
            return "the other slot does not run, so it has no sessions"
        here, there = self.instance.control, other.instance.control
        wait = self.times.sessions
        try:
            if fresh:
                sessions.wait_transferred(here, self.instance.records, wait, self.clock, say)
            found = sessions.check(there, here, self.instance.records, self.times.tolerance, wait, self.clock)
        except InstanceError as error:
            raise SessionsMissing(str(error), error.advice or _ADVICE) from error
        if not found.ok:
            raise SessionsMissing(str(found), _ADVICE)
        return str(found)

    def stop(self) -> str:
        """See SlotServer."""
        return str(self.instance.stop(self.times.stop))

    def log_tail(self, lines: int) -> list[str]:
        """See SlotServer."""
        return self.instance.tail(lines)


_ADVICE = "make the release's session classes read the old sessions; or --accept-session-loss logs these users out"
