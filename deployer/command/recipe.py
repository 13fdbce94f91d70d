"""What starts a command's slot (`deployer.server.answering_slot.Recipe`)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.command.layout import TREE
from deployer.errors import InstanceError
from deployer.server.launcher import Launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deployer.command.layout import CommandSpec
    from deployer.errors import DeployerError
    from deployer.release import Release
    from deployer.server.account import Account
    from deployer.server.files import Tree


@dataclass(frozen=True, slots=True)
class CommandRecipe:
    """env: the environment that the server gets, besides the slot's own."""

    spec: CommandSpec
    account: Account
    env: Mapping[str, str]

    @property
    def base(self) -> Path:
        """See Recipe."""
        return self.spec.base

    @property
    def context(self) -> str:
        """See Recipe."""
        return self.spec.context

    @property
    def tree(self) -> Tree:
        """See Recipe."""
        return TREE

    def file_name(self, release: Release) -> str:
        """See Recipe. Its own name: what runs it may go by how that ends."""
        return release.name

    def launch(self, file: Path) -> Launch:
        """See Recipe."""
        spec, account = self.spec, self.account
        env = {**self.env, **account.environment(spec.directory), **spec.variables(file)}
        return Launch(spec.line(file), spec.directory, env, account, spec.log_file)

    def faults(self) -> Sequence[DeployerError]:
        """See Recipe."""
        program = self.spec.command[0]
        if "{" in program or shutil.which(program, path=self.env.get("PATH", "")):
            return []
        what = f"there is no program {program} to start slot {self.spec.name} with"
        return [InstanceError(what, "install it, or set command")]
