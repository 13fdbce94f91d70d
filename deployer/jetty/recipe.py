"""What starts a Jetty's slot (`deployer.server.answering_slot.Recipe`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.jetty import layout
from deployer.server.launcher import Launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deployer.errors import DeployerError
    from deployer.jetty.home import JettyHome
    from deployer.jetty.layout import JettySpec
    from deployer.release import Release
    from deployer.server.account import Account
    from deployer.server.files import Tree
    from deployer.server.java import Java


@dataclass(frozen=True, slots=True)
class JettyRecipe:
    """env: the environment that Jetty gets."""

    spec: JettySpec
    home: JettyHome
    java: Java
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
        return layout.tree(self.spec, self.home)

    def file_name(self, release: Release) -> str:
        """See Recipe."""
        return layout.RELEASE_FILE

    def launch(self, file: Path) -> Launch:
        """See Recipe. Jetty finds the file by its generated context."""
        spec, account = self.spec, self.account
        command = layout.java_command(spec, self.home, self.java)
        env = {**self.env, **account.environment(spec.base)}
        return Launch(command, spec.base, env, account, spec.log_file)

    def faults(self) -> Sequence[DeployerError]:
        """See Recipe. Without Jetty or Java there would be no slot at all."""
        return []
