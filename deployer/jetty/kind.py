"""`kind: jetty`: what its slots are made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.jetty import layout
from deployer.jetty.home import LEAST_JAVA, find_jetty
from deployer.jetty.recipe import JettyRecipe
from deployer.server import account as accounts
from deployer.server.answering import Address, AnsweringServer
from deployer.server.answering_slot import AnsweringSlot
from deployer.server.deployment import Deployment
from deployer.server.java import find_java
from deployer.server.launcher import ProcessLauncher
from deployer.server.processes import Processes
from deployer.settings import JettySettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.clock import Clock
    from deployer.jetty.home import JettyHome
    from deployer.kinds import ReleaseFile
    from deployer.server.java import Java
    from deployer.settings import Settings
    from deployer.war import Finding


_NOT_SHARED = "the sessions of Jetty slots are not shared"


@dataclass(frozen=True)
class JettyKind:
    """See kinds.Kind."""

    settings: Settings
    home: JettyHome
    java: Java

    @property
    def software(self) -> Sequence[str]:
        """See Kind."""
        return (str(self.home), str(self.java))

    @property
    def sessions_note(self) -> str:
        """See Kind."""
        return "sessions of Jetty slots are not shared: each switch logs users out, and a stop forgets their sessions"

    def read(self, path: Path) -> ReleaseFile:
        """See Kind."""
        from deployer.war import read_war

        return read_war(path)

    def check(self, path: Path) -> list[Finding]:
        """See Kind."""
        from deployer.war import JETTY_9, check_war

        return check_war(path, self.java.version, JETTY_9)

    def slots(self, clock: Clock, *, make_keys: bool) -> Mapping[str, AnsweringSlot]:
        """See Kind."""
        return {name: self._slot(name, clock) for name in self.settings.slots}

    def _slot(self, name: str, clock: Clock) -> AnsweringSlot:
        settings, slot, processes = self.settings, self.settings.slots[name], Processes()
        jetty = settings.jetty or JettySettings()
        spec = layout.JettySpec(
            name=name,
            base=Path(slot.base).absolute(),
            http_port=slot.http_port,
            context=settings.context,
            jvm=jetty.jvm_options,
            graceful_stop=max(1.0, jetty.stop - 5.0),
        )
        needed = [spec.base, self.home.path / "lib", self.java.path.parent]
        account = accounts.named(layout.JETTY_USER if os.geteuid() == 0 else None, needed)
        users = {os.geteuid(), account.uid}
        launcher = ProcessLauncher(
            name,
            spec.base / "jetty.pid.json",
            lambda: processes.find("java", layout.base_argument(spec.base), users),
            processes,
            clock,
        )
        server = AnsweringServer(
            address=Address(name, spec.host, spec.http_port),
            log=spec.log_file,
            health=settings.health,
            launcher=launcher,
            deployment=Deployment(spec.base, "app", layout.EMPTIED),
            explain=layout.explain,
            processes=processes,
            clock=clock,
        )
        recipe = JettyRecipe(spec, self.home, self.java, account, os.environ)
        return AnsweringSlot(recipe, server, account, settings.health.timeout, jetty.stop, _NOT_SHARED)


def find(settings: Settings) -> JettyKind:
    """Raises ConfigurationError when Jetty or Java are not found."""
    jetty = settings.jetty or JettySettings()
    home = find_jetty(jetty.home, os.environ)
    return JettyKind(settings, home, find_java(jetty.java_home, os.environ, LEAST_JAVA, key="jetty"))
