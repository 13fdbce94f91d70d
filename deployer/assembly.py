"""Builds what a command works with from the settings: slots, the proxy's client, store, journal, lock."""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.journal import Journal
from deployer.kinds import find_kind
from deployer.lock import Lock
from deployer.proxy_client import ProxyClient
from deployer.site import Site
from deployer.store import Store
from deployer.ways import Timings, Ways

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.checks import HttpChecks
    from deployer.clock import Clock
    from deployer.hooks import ShellHooks
    from deployer.kinds import Kind
    from deployer.release import Release
    from deployer.settings import Settings
    from deployer.site import SlotServer

RUN_PATIENCE = 15.0
"""Seconds that a running release waits for a proxy whose admin API restarts."""


@dataclass(frozen=True)
class Workshop:
    """What a command works with. asking: the proxy's client that does not wait for a proxy that is down."""

    settings: Settings
    kind: Kind
    slots: Mapping[str, SlotServer]
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
            slots=self.kind.slots(clock, make_keys=True),
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
        said = (slot.warning for slot in self.slots.values())
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

    Raises ConfigurationError when what the slots need is not found, such as Tomcat or Java.
    """
    kind = find_kind(settings)
    slots = kind.slots(clock, make_keys=make_keys)
    return Workshop(
        settings=settings,
        kind=kind,
        slots=slots,
        asking=_proxy(settings, clock, 0.0),
        store=Store(Path(settings.releases.dir), clock),
        journal=Journal(settings.state, clock),
        lock=Lock(settings.state, clock),
        ways=_ways(settings, kind, slots),
        clock=clock,
    )


def who() -> str:
    """Who runs this command, as user@host; from another machine, who sent it, as whom here."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    behind_sudo = os.environ.get("SUDO_USER")
    here = f"{behind_sudo or user}@{os.uname().nodename}"
    sender = os.environ.get("DEPLOYER_BY")
    return f"{sender} as {here}" if sender else here


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
        warmup_rate=warmup.rate if warmup else 1.0,
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


def _ways(settings: Settings, kind: Kind, slots: Mapping[str, SlotServer]) -> Ways:
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
        places={name: slot.place for name, slot in slots.items()},
        timings=timings,
        replicate=settings.sessions.replicate,
        sessions_note=kind.sessions_note,
        static_patterns=static.from_war if static else (),
        static_to=static.to if static else "",
        smoke_tests=len(settings.smoke),
        warmup_requests=warmup.requests if warmup else 0,
        warmup_paths=warmup.paths if warmup else (),
        warmup_sample=warmup.sample if warmup else 0,
        hooks={moment: len(getattr(hooks, moment)) for moment in type(hooks).model_fields},
        keep=settings.releases.keep,
        public_url=settings.proxy.public_url,
    )
