"""One slot as the release's steps see it (`deployer.site.SlotServer`), with a server that its answers alone tell of."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deployer.server.files import Tree, prepare
from deployer.ways import Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployer.errors import DeployerError
    from deployer.release import InstanceFacts, Release
    from deployer.server.account import Account
    from deployer.server.answering import AnsweringServer
    from deployer.server.launcher import Launch
    from deployer.site import Say, SlotServer


class Recipe(Protocol):
    """What a kind makes of a slot's settings."""

    @property
    def base(self) -> Path:
        """The slot's directory."""

    @property
    def context(self) -> str:
        """The context path, or ""."""

    @property
    def tree(self) -> Tree:
        """What the directory holds."""

    def file_name(self, release: Release) -> str:
        """What a release's file is called where it is deployed."""

    def launch(self, file: Path) -> Launch:
        """What starts the deployed file."""

    def faults(self) -> Sequence[DeployerError]:
        """What it lacks to be started."""


@dataclass(frozen=True)
class AnsweringSlot:
    """A slot. ready, grace: seconds. not_shared: what its sessions are, in words."""

    recipe: Recipe
    server: AnsweringServer
    account: Account
    ready: float
    grace: float
    not_shared: str
    cluster: None = None

    @property
    def warning(self) -> str:
        """See SlotServer."""
        return self.account.warning

    @property
    def place(self) -> Place:
        """See SlotServer."""
        address, deployment = self.server.address, self.server.deployment
        file = deployment.file() or self.recipe.base / deployment.directory / "RELEASE"
        return Place(
            name=address.slot,
            url=address.origin + self.recipe.context,
            base=str(self.recipe.base),
            log=str(self.server.log),
            ports=(address.port,),
            command=shlex.join(self.recipe.launch(file).command),
            emptied=tuple(f"{self.recipe.base}/{directory}" for directory, _ in deployment.emptied),
        )

    def observe(self) -> InstanceFacts:
        """See SlotServer."""
        return self.server.observe()

    def faults(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        return [*self.recipe.faults(), *self.server.launcher.obstacles()]

    def obstacles(self) -> Sequence[DeployerError]:
        """See SlotServer."""
        return [*self.faults(), *self.server.obstacles()]

    def deploy(self, release: Release) -> None:
        """See SlotServer."""
        self.server.need_stopped()
        self._prepare()
        self.server.deployment.place(release.war, release.id, self.account, self.recipe.file_name(release))

    def start(self) -> None:
        """See SlotServer."""
        for fault in self.faults():
            raise fault
        self._prepare()
        self.server.start(self.recipe.launch)

    def wait_ready(self, say: Say) -> None:
        """See SlotServer."""
        self.server.wait_ready(self.ready, say)

    def wait_sessions(self, other: SlotServer, say: Say, *, fresh: bool) -> str:
        """See SlotServer. No plan asks for it, as the settings must say that sessions are not replicated."""
        return self.not_shared

    def stop(self) -> str:
        """See SlotServer."""
        return str(self.server.stop(self.grace))

    def log_tail(self, lines: int) -> list[str]:
        """See SlotServer."""
        return self.server.tail(lines)

    def _prepare(self) -> None:
        prepare(self.server.address.slot, self.recipe.base, self.recipe.tree, self.account)
