"""One slot as the release's steps see it (`deployer.site.SlotServer`), on a Jetty."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.jetty import layout
from deployer.server.files import prepare
from deployer.server.launcher import Launch
from deployer.ways import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deployer.errors import DeployerError
    from deployer.jetty.home import JettyHome
    from deployer.jetty.layout import JettySpec
    from deployer.release import InstanceFacts, Release
    from deployer.server.account import Account
    from deployer.server.answering import AnsweringServer
    from deployer.server.java import Java
    from deployer.site import Say, SlotServer

NOT_SHARED = "the sessions of Jetty slots are not shared"


@dataclass(frozen=True)
class JettySlot:
    """A slot. env: the environment that Jetty gets. ready, grace: seconds."""

    spec: JettySpec
    home: JettyHome
    java: Java
    server: AnsweringServer
    account: Account
    env: Mapping[str, str]
    ready: float
    grace: float
    cluster: None = None

    @property
    def warning(self) -> str:
        """See SlotServer."""
        return self.account.warning

    @property
    def place(self) -> Place:
        """See SlotServer."""
        spec = self.spec
        return Place(
            name=spec.name,
            url=self.server.address.origin + spec.context,
            base=str(spec.base),
            log=str(spec.log_file),
            ports=(spec.http_port,),
            command=shlex.join(layout.java_command(spec, self.home, self.java)),
            emptied=(f"{spec.base}/app", f"{spec.base}/work"),
        )

    def observe(self) -> InstanceFacts:
        """See SlotServer."""
        return self.server.observe()

    def faults(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        return self.server.launcher.obstacles()

    def obstacles(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        return [*self.faults(), *self.server.obstacles()]

    def deploy(self, release: Release) -> None:
        """See SlotServer."""
        self.server.need_stopped()
        self._prepare()
        self.server.deployment.place(release.war, release.id, self.account, layout.RELEASE_FILE)

    def start(self) -> None:
        """See SlotServer."""
        self._prepare()
        self.server.start(self._launch)

    def wait_ready(self, say: Say) -> None:
        """See SlotServer."""
        self.server.wait_ready(self.ready, say)

    def wait_sessions(self, other: SlotServer, say: Say, *, fresh: bool) -> str:
        """See SlotServer."""
        return NOT_SHARED

    def stop(self) -> str:
        """See SlotServer."""
        return str(self.server.stop(self.grace))

    def log_tail(self, lines: int) -> list[str]:
        """See SlotServer."""
        return self.server.tail(lines)

    def _prepare(self) -> None:
        prepare(self.spec.name, self.spec.base, layout.tree(self.spec, self.home), self.account)

    def _launch(self, _file: Path) -> Launch:
        spec, account = self.spec, self.account
        command = layout.java_command(spec, self.home, self.java)
        env = {**self.env, **account.environment(spec.base)}
        return Launch(command, spec.base, env, account, spec.log_file)
