"""Builds what a command works with from the settings: slots, the proxy's client, store, journal, lock."""

from __future__ import annotations

import getpass
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.journal import Journal
from deployer.lock import Lock
from deployer.proxy_client import ProxyClient
from deployer.site import Site
from deployer.store import Store
from deployer.tomcat import layout
from deployer.tomcat.home import find_java, find_tomcat
from deployer.tomcat.keys import Keys, installation_keys
from deployer.tomcat.layout import InstanceSpec, Peer
from deployer.tomcat.process import Instance
from deployer.tomcat.slot import SlotTimes, TomcatSlot
from deployer.ways import Place, Timings, Ways

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.checks import HttpChecks
    from deployer.clock import Clock
    from deployer.hooks import ShellHooks
    from deployer.release import Release
    from deployer.settings import Settings
    from deployer.tomcat.home import Java, TomcatHome

RUN_PATIENCE = 15.0
"""Seconds that a running release waits for a proxy whose admin API restarts."""


@dataclass(frozen=True)
class Workshop:
    """What a command works with. asking: the proxy's client that does not wait for a proxy that is down."""

    settings: Settings
    slots: Mapping[str, TomcatSlot]
    home: TomcatHome
    java: Java
    asking: ProxyClient
    store: Store
    journal: Journal
    lock: Lock
    ways: Ways
    clock: Clock

    def site(self, clock: Clock) -> Site:
        """The site as a plan's steps see it; `clock` may be one whose waits can be interrupted."""
        settings = self.settings
        return Site(
            app=settings.app,
            slots=_slots(settings, self.home, self.java, clock, make_keys=True),
            proxy=_proxy(settings, clock, RUN_PATIENCE),
            store=self.store,
            static=_Static(settings),
            checks=_checks(settings, clock),
            hooks=_hooks(settings, clock),
            clock=clock,
            timings=self.ways.timings,
        )

    def warnings(self) -> list[str]:
        """What the operator should know of how the slots run."""
        said = (slot.instance.account.warning for slot in self.slots.values())
        return list(dict.fromkeys(text for text in said if text))


@dataclass(frozen=True, slots=True)
class _Static:
    """The static files of the settings. See site.StaticFiles."""

    settings: Settings

    def publish(self, release: Release) -> str:
        """See site.StaticFiles."""
        from deployer.static_files import publish_static

        static = self.settings.static
        if static is None:
            return "none"
        done = publish_static(release.war, static.from_war, Path(static.to))
        replaced = f", {len(done.replaced)} replaced" if done.replaced else ""
        return f"{len(done.added)} files added{replaced}, {done.same} were there"


def build(settings: Settings, clock: Clock, *, make_keys: bool) -> Workshop:
    """make_keys: make the installation's keys when there are none yet; a command that only asks does not.

    Raises ConfigurationError when Tomcat or Java are not found.
    """
    home = find_tomcat(settings.tomcat.home, os.environ)
    java = find_java(settings.tomcat.java_home, os.environ, home.least_java)
    slots = _slots(settings, home, java, clock, make_keys=make_keys)
    return Workshop(
        settings=settings,
        slots=slots,
        home=home,
        java=java,
        asking=_proxy(settings, clock, 0.0),
        store=Store(Path(settings.releases.dir), clock),
        journal=Journal(settings.state, clock),
        lock=Lock(settings.state, clock),
        ways=_ways(settings, slots),
        clock=clock,
    )


def who() -> str:
    """Who runs this command, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    behind_sudo = os.environ.get("SUDO_USER")
    return f"{behind_sudo or user}@{os.uname().nodename}"


def keys_file(settings: Settings) -> Path:
    """Where the cluster's encryption key and the control services' password are."""
    return settings.state / "keys.json"


def _keys(settings: Settings, *, make: bool) -> Keys:
    file = keys_file(settings)
    if make or file.exists():
        return installation_keys(file)
    # Without the file no slot was ever started, so that nothing is asked with these.
    return Keys("0" * 32, "none")


def _slots(
    settings: Settings, home: TomcatHome, java: Java, clock: Clock, *, make_keys: bool
) -> Mapping[str, TomcatSlot]:
    keys = _keys(settings, make=make_keys)
    times = SlotTimes(
        settings.health.timeout, settings.tomcat.stop, settings.sessions.timeout, settings.sessions.tolerance
    )
    user = layout.TOMCAT_USER if os.geteuid() == 0 else None
    slots = {}
    for number, (name, slot) in enumerate(settings.slots.items(), 1):
        base = Path(slot.base).absolute()
        spec = InstanceSpec(
            name=name,
            base=base,
            http_port=slot.http_port,
            control_port=slot.control,
            cluster_port=slot.cluster_port,
            unique_id=number,
            log_file=base / "logs" / "tomcat.log",
            tomcat_major=home.major,
            encryption_key=keys.encryption_key,
            control_password=keys.control_password,
            peers=tuple(
                Peer(other.cluster_port, peer)
                for peer, other in enumerate(settings.slots.values(), 1)
                if peer != number
            ),
            context=settings.context,
            replicate=settings.sessions.replicate,
            jvm=settings.tomcat.jvm_options,
            user=user,
        )
        instance = Instance(spec, home, java, env=os.environ, clock=clock)
        slots[name] = TomcatSlot(instance, settings.health, times, settings.sessions.replicate, clock)
    return slots


def _proxy(settings: Settings, clock: Clock, patience: float) -> ProxyClient:
    token = None if settings.proxy.token_file is None else Path(settings.proxy.token_file)
    return ProxyClient(settings.proxy.url, settings.app, token, clock, patience)


def _checks(settings: Settings, clock: Clock) -> HttpChecks:
    # Imported when a plan runs, as the hooks and the static files: `deployer status` must be quick.
    from deployer.checks import HttpChecks

    warmup = settings.warmup
    return HttpChecks(
        tests=settings.smoke,
        warmup_requests=warmup.requests if warmup else 0,
        warmup_paths=warmup.paths if warmup else (),
        warmup_seconds=warmup.timeout if warmup else 0.0,
        max_error_ratio=settings.watch.max_error_ratio if settings.watch else 0.02,
        public_url=settings.proxy.public_url,
        health_path=settings.health.path,
        clock=clock,
    )


def _hooks(settings: Settings, clock: Clock) -> ShellHooks:
    from deployer.hooks import ShellHooks

    moments = settings.hooks
    commands = {moment: getattr(moments, moment) for moment in type(moments).model_fields}
    return ShellHooks(commands, os.environ, clock)


def _ways(settings: Settings, slots: Mapping[str, TomcatSlot]) -> Ways:
    watch, static, warmup, hooks = settings.watch, settings.static, settings.warmup, settings.hooks
    timings = Timings(hold=settings.switch.hold, drain=settings.switch.drain, watch=0.0)
    if watch is not None:
        timings = Timings(
            settings.switch.hold,
            settings.switch.drain,
            watch=watch.seconds,
            max_error_ratio=watch.max_error_ratio,
            max_p99=watch.max_p99,
            hooks=sum(hook.timeout for hook in hooks.after_switch),
            grace=watch.grace,
        )
    return Ways(
        app=settings.app,
        places={name: _place(slot.instance) for name, slot in slots.items()},
        timings=timings,
        replicate=settings.sessions.replicate,
        static_patterns=static.from_war if static else (),
        static_to=static.to if static else "",
        smoke_tests=len(settings.smoke),
        warmup_requests=warmup.requests if warmup else 0,
        warmup_paths=warmup.paths if warmup else (),
        hooks={moment: len(getattr(hooks, moment)) for moment in type(hooks).model_fields},
        keep=settings.releases.keep,
        public_url=settings.proxy.public_url,
    )


def _place(instance: Instance) -> Place:
    spec = instance.spec
    return Place(
        name=spec.name,
        url=spec.origin + spec.context,
        base=str(spec.base),
        log=str(instance.log_path),
        ports=spec.ports,
        command=shlex.join(layout.java_command(spec, instance.home, instance.java)),
    )
