"""`kind: command`: what its slots are made of."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.command import layout
from deployer.command.recipe import CommandRecipe
from deployer.errors import ConfigurationError, Refused
from deployer.kinds import PlainFile
from deployer.server import account as accounts
from deployer.server.answering import Address, AnsweringServer
from deployer.server.answering_slot import AnsweringSlot
from deployer.server.deployment import Deployment
from deployer.server.launcher import ProcessLauncher
from deployer.server.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.clock import Clock
    from deployer.settings import CommandSettings, Settings
    from deployer.war import Finding


_NOT_SHARED = "the deployer shares no sessions of this kind of slot"


@dataclass(frozen=True)
class CommandKind:
    """See kinds.Kind."""

    settings: Settings
    command: CommandSettings

    @property
    def software(self) -> Sequence[str]:
        """See Kind."""
        return (f"slots are started by {self.command.run[0]}",)

    @property
    def sessions_note(self) -> str:
        """See Kind."""
        return (
            "the deployer shares no sessions of kind command: each switch logs users out, unless the application "
            "keeps its sessions outside of its process (a database, Redis, signed cookies)"
        )

    def read(self, path: Path) -> PlainFile:
        """See Kind."""
        try:
            with path.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                return PlainFile(sha256, stream.tell())
        except OSError as why:
            raise Refused(f"cannot read {path}: {why.strerror}", "check the path and the file's mode") from why

    def check(self, path: Path) -> list[Finding]:
        """See Kind."""
        from deployer.war import Finding

        try:
            status = path.stat()
        except OSError as why:
            return [Finding("error", f"cannot read {path}: {why.strerror}", "check the path and the file's mode")]
        if not stat.S_ISREG(status.st_mode):
            return [Finding("error", f"{path} is not a file", "pack a directory into one file, such as a tar.gz")]
        if status.st_size == 0:
            return [Finding("error", f"{path} is empty", "build or upload it again")]
        if self.settings.static and not zipfile.is_zipfile(path):
            return [Finding("error", f"{path} is no ZIP file, and static.from_war is set", "set static: null")]
        advice = "have smoke tests that show that it works"
        return [Finding("note", "a release of kind command is not looked into: the checks of WARs are skipped", advice)]

    def slots(self, clock: Clock, *, make_keys: bool) -> Mapping[str, AnsweringSlot]:
        """See Kind."""
        return {name: self._slot(name, clock) for name in self.settings.slots}

    def _slot(self, name: str, clock: Clock) -> AnsweringSlot:
        settings, slot, processes = self.settings, self.settings.slots[name], Processes()
        program, *words = self.command.run
        spec = layout.CommandSpec(
            name=name,
            base=Path(slot.base).absolute(),
            http_port=slot.http_port,
            # A program in the project is named from where the deployer is started; its server is started elsewhere.
            command=(str(Path(program).absolute()) if "/" in program and "{" not in program else program, *words),
            environment=self.command.environment,
            context=settings.context,
        )
        account = _account(self.command.user, spec.base)
        users = {os.geteuid(), account.uid}
        launcher = ProcessLauncher(
            name,
            spec.base / "server.pid.json",
            lambda: processes.find_marked(layout.MARK, str(spec.base), users),
            processes,
            clock,
        )
        server = AnsweringServer(
            address=Address(name, spec.host, spec.http_port),
            log=spec.log_file,
            health=settings.health,
            launcher=launcher,
            deployment=Deployment(spec.base, "release", (("release", "*"),), 0o750),
            explain=layout.explain,
            processes=processes,
            clock=clock,
        )
        recipe = CommandRecipe(spec, account, os.environ)
        return AnsweringSlot(recipe, server, account, settings.health.timeout, self.command.stop, _NOT_SHARED)


def find(settings: Settings) -> CommandKind:
    """Raises ConfigurationError when there is no command."""
    if settings.command is None:
        raise ConfigurationError("kind: command needs the key command", "name what starts a slot")
    return CommandKind(settings, settings.command)


def _account(user: str | None, base: Path) -> accounts.Account:
    if user is not None:
        return accounts.choose([base], user)
    own = accounts.named(None, [])
    if own.uid != 0:
        return own
    warning = "slots run as root: set command.user to a user of their own"
    return accounts.Account(own.name, own.uid, own.gid, warning=warning)
