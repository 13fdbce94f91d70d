"""`kind: tomcat`: what its slots are made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import ConfigurationError
from deployer.server.java import find_java
from deployer.server.processes import Processes
from deployer.tomcat import layout
from deployer.tomcat.home import find_tomcat
from deployer.tomcat.keys import Keys, installation_keys, keys_file
from deployer.tomcat.process import Instance
from deployer.tomcat.slot import SlotTimes, TomcatSlot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployer.clock import Clock
    from deployer.kinds import ReleaseFile
    from deployer.server.java import Java
    from deployer.server.launcher import Launcher
    from deployer.settings import Settings, SlotSettings
    from deployer.tomcat.home import TomcatHome
    from deployer.war import Finding


@dataclass(frozen=True)
class TomcatKind:
    """See kinds.Kind."""

    settings: Settings
    home: TomcatHome
    java: Java

    @property
    def software(self) -> Sequence[str]:
        """See Kind."""
        return (str(self.home), str(self.java))

    @property
    def sessions_note(self) -> str:
        """See Kind."""
        return "" if self.settings.sessions.replicate else "sessions are not replicated: each switch logs users out"

    def read(self, path: Path) -> ReleaseFile:
        """See Kind."""
        from deployer.war import read_war

        return read_war(path)

    def check(self, path: Path) -> list[Finding]:
        """See Kind."""
        from deployer.war import check_war, tomcat_server

        return check_war(path, self.java.version, tomcat_server(self.home.major))

    def slots(self, clock: Clock, *, make_keys: bool) -> Mapping[str, TomcatSlot]:
        """See Kind."""
        keys = _keys(self.settings, make=make_keys)
        return {name: self._slot(name, keys, clock) for name in self.settings.slots}

    def units(self, clock: Clock) -> Mapping[str, str]:
        """Each slot's unit file for systemd, by its name."""
        from deployer.tomcat.unit import unit_name

        slots = self.slots(clock, make_keys=False)
        return {unit_name(self.settings.app, name): self._unit(slot.instance) for name, slot in slots.items()}

    def _slot(self, name: str, keys: Keys, clock: Clock) -> TomcatSlot:
        settings = self.settings
        slot, names = settings.slots[name], list(settings.slots)
        base = Path(slot.base).absolute()
        spec = layout.InstanceSpec(
            name=name,
            base=base,
            http_port=slot.http_port,
            control_port=slot.control,
            cluster_port=_cluster_port(name, slot),
            unique_id=names.index(name) + 1,
            log_file=base / "logs" / "tomcat.log",
            tomcat_major=self.home.major,
            encryption_key=keys.encryption_key,
            control_password=keys.control_password,
            peers=tuple(
                layout.Peer(_cluster_port(other, settings.slots[other]), number)
                for number, other in enumerate(names, 1)
                if other != name
            ),
            context=settings.context,
            replicate=settings.sessions.replicate,
            jvm=settings.tomcat.jvm_options,
            user=layout.TOMCAT_USER if os.geteuid() == 0 else None,
        )
        times = SlotTimes(
            settings.health.timeout, settings.tomcat.stop, settings.sessions.timeout, settings.sessions.tolerance
        )
        launcher = self._by_systemd(name, clock) if settings.tomcat.run == "systemd" else None
        instance = Instance(spec, self.home, self.java, env=os.environ, clock=clock, launcher=launcher)
        return TomcatSlot(instance, settings.health, times, settings.sessions.replicate, clock)

    def _by_systemd(self, name: str, clock: Clock) -> Callable[[Instance, Launcher], Launcher]:
        from deployer.server.systemctl import SystemdLauncher, systemctl
        from deployer.tomcat.unit import unit_name

        def make(instance: Instance, own: Launcher) -> Launcher:
            unit = unit_name(self.settings.app, name)
            return SystemdLauncher(unit, lambda: self._unit(instance), own, systemctl, Processes(), clock)

        return make

    def _unit(self, instance: Instance) -> str:
        from deployer.tomcat.unit import unit_text

        settings = self.settings
        return unit_text(settings.app, instance.spec.name, self.home.path, instance.launch(), settings.tomcat.stop)


def find(settings: Settings) -> TomcatKind:
    """Raises ConfigurationError when Tomcat or Java are not found."""
    home = find_tomcat(settings.tomcat.home, os.environ)
    return TomcatKind(settings, home, find_java(settings.tomcat.java_home, os.environ, home.least_java))


def _keys(settings: Settings, *, make: bool) -> Keys:
    file = keys_file(settings.state)
    if make or file.exists():
        return installation_keys(file)
    # Without the file no slot was ever started, so that nothing is asked with these.
    return Keys("0" * 32, "none")


def _cluster_port(name: str, slot: SlotSettings) -> int:
    if slot.cluster_port is None:
        raise ConfigurationError(f"slots.{name}.cluster_port is missing", "a Tomcat's slots need one each")
    return slot.cluster_port
