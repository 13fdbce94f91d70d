"""One slot as the release's steps see it (`deployer.site.SlotServer`), with a server that a command starts."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.command.layout import TREE
from deployer.errors import InstanceError
from deployer.server.files import prepare
from deployer.server.launcher import Launch
from deployer.ways import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deployer.command.layout import CommandSpec
    from deployer.errors import DeployerError
    from deployer.release import InstanceFacts, Release
    from deployer.server.account import Account
    from deployer.server.answering import AnsweringServer
    from deployer.site import Say, SlotServer

NOT_SHARED = "the deployer does not share the sessions of this kind of slot"


@dataclass(frozen=True)
class CommandSlot:
    """A slot. env: the environment that the server gets, besides the slot's own. ready, grace: seconds."""

    spec: CommandSpec
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
            command=shlex.join(spec.line(self._file)),
            emptied=(f"{spec.base}/release",),
        )

    def observe(self) -> InstanceFacts:
        """See SlotServer."""
        return self.server.observe()

    def faults(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        program = self.spec.command[0]
        if "{" in program or shutil.which(program, path=self.env.get("PATH", "")):
            return self.server.launcher.obstacles()
        what = f"there is no program {program} to start slot {self.spec.name} with"
        return [InstanceError(what, "install it, or set command"), *self.server.launcher.obstacles()]

    def obstacles(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        return [*self.faults(), *self.server.obstacles()]

    def deploy(self, release: Release) -> None:
        """See SlotServer."""
        self.server.need_stopped()
        prepare(self.spec.name, self.spec.base, TREE, self.account)
        self.server.deployment.place(release.war, release.id, self.account, release.name)

    def start(self) -> None:
        """See SlotServer."""
        prepare(self.spec.name, self.spec.base, TREE, self.account)
        for fault in self.faults():
            raise fault
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

    @property
    def _file(self) -> Path:
        return self.server.deployment.file() or self.spec.base / "release" / "RELEASE"

    def _launch(self, file: Path) -> Launch:
        spec, account = self.spec, self.account
        env = {**self.env, **account.environment(spec.directory), **spec.variables(file)}
        return Launch(spec.line(file), spec.directory, env, account, spec.log_file)
