"""`deployer doctor`: everything that a release needs, looked at without changing it; each finding with its mend."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deployer.assembly import build
from deployer.errors import DeployerError
from deployer.tomcat.keys import keys_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.assembly import Workshop
    from deployer.clock import Clock
    from deployer.settings import Settings
    from proxy.wire import AppStatus

LEAST_DISK = 512 << 20
LEAST_MEMORY = 384 << 20
"""Bytes of free memory for a second Tomcat: about 120 MiB resident at the start, more with its heap (-Xmx256m)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. missing: a release would fail. note: it would not."""

    state: Literal["made", "ok", "note", "missing"]
    what: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state:8}{self.what}" + (f"\n        {self.advice}" if self.advice else "")


def examine(settings: Settings, clock: Clock, *, need_proxy: bool) -> list[Finding]:
    """Looks at the machine, the slots and the proxy. Changes nothing. need_proxy: it should be running by now."""
    try:
        shop = build(settings, clock, make_keys=False)
    except DeployerError as error:
        return [Finding("missing", str(error), error.advice)]
    found = [Finding("ok", software) for software in shop.kind.software]
    found += [Finding("note", shop.kind.sessions_note)] if shop.kind.sessions_note else []
    found += [Finding("note", warning) for warning in shop.warnings()]
    found += _keys(settings) if settings.kind == "tomcat" else ()
    found += _directories(settings)
    for name in shop.slots:
        found += _slot(shop, name)
    found += _memory(shop)
    found += _proxy(shop, need_proxy=need_proxy)
    found += _journal(shop)
    return found


def directories(settings: Settings) -> list[str]:
    """Every directory that the deployer writes to."""
    static = [settings.static.to] if settings.static else []
    return [settings.state_dir, settings.releases.dir, *static, *(slot.base for slot in settings.slots.values())]


def _keys(settings: Settings) -> Iterator[Finding]:
    file = keys_file(settings.state)
    if not file.exists():
        yield Finding("note", f"{file} is not there yet", "`deployer init` or the first release makes it")
    elif file.stat().st_mode & 0o077:
        yield Finding("missing", f"{file} can be read by others", f"chmod 600 {file}")


def _directories(settings: Settings) -> Iterator[Finding]:
    for path in map(Path, directories(settings)):
        if not path.exists():
            yield Finding("note", f"{path} is not there yet", "`deployer init` or the first release makes it")
        elif not os.access(path, os.W_OK | os.X_OK):
            yield Finding("missing", f"{path} can't be written to", "mend its mode or owner")
        elif shutil.disk_usage(path).free < LEAST_DISK:
            free = shutil.disk_usage(path).free >> 20
            yield Finding("note", f"{path} has {free} MiB free", "make room: each release is stored and unpacked")


def _slot(shop: Workshop, name: str) -> Iterator[Finding]:
    slot, facts = shop.slots[name], shop.slots[name].observe()
    ports = ", ".join(map(str, shop.ways.places[name].ports))
    if not facts.running:
        obstacles = slot.obstacles()
        yield from (Finding("missing", f"slot {name}: {obstacle}", obstacle.advice) for obstacle in obstacles)
        if not obstacles:
            yield Finding("ok", f"slot {name}: ports {ports} are free")
    elif not facts.http_ready:
        yield Finding("missing", f"slot {name} runs (pid {facts.pid}) but is not ready", f"see `deployer logs {name}`")
    else:
        yield Finding("ok", f"slot {name} runs (pid {facts.pid}) on ports {ports}")
        yield from (Finding("missing", f"slot {name}: {fault}", fault.advice) for fault in slot.faults())
        yield from _members(shop, name)


def _members(shop: Workshop, name: str) -> Iterator[Finding]:
    every = shop.settings.slots
    others = {one.cluster_port: other for other, one in every.items() if one.cluster_port and other != name}
    running = {port for port, other in others.items() if shop.slots[other].observe().running}
    cluster = shop.slots[name].cluster
    if not shop.settings.sessions.replicate or not running or cluster is None:
        return
    try:
        unseen = running - set(cluster.members())
    except DeployerError as error:
        yield Finding("missing", f"slot {name}: {error}", error.advice)
        return
    for port in sorted(unseen):
        yield Finding(
            "missing",
            f"slot {name} does not see {others[port]} in the session cluster",
            f"restart the one of them that is idle: `deployer stop {others[port]}`, `deployer start {others[port]}`",
        )


def _memory(shop: Workshop) -> Iterator[Finding]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)
    if free is None or all(slot.observe().running for slot in shop.slots.values()):
        return
    if free < LEAST_MEMORY:
        kind = shop.settings.kind
        advice = "the command's server may need more" if kind == "command" else f"a JVM needs about 400; see {kind}.jvm"
        yield Finding("missing", f"{free >> 20} MiB of memory are free", advice)
    else:
        yield Finding("ok", f"{free >> 20} MiB of memory are free")


def _proxy(shop: Workshop, *, need_proxy: bool) -> Iterator[Finding]:
    try:
        app = shop.asking.app()
    except DeployerError as error:
        yield Finding("missing" if need_proxy else "note", str(error), error.advice)
        return
    yield Finding("ok", f"the proxy at {shop.settings.proxy.url} has the app {app.name}; {app.active} is active")
    yield from _backends(shop, app)


def _backends(shop: Workshop, app: AppStatus) -> Iterator[Finding]:
    in_proxy = {slot.name: slot for slot in app.slots}
    for name, settings in shop.settings.slots.items():
        ports = [one.address.rpartition(":")[2] for one in in_proxy[name].backends] if name in in_proxy else []
        if str(settings.http_port) not in ports:
            yield Finding(
                "missing",
                f"the proxy's slot {name} has the ports {', '.join(ports) or 'none'}, not {settings.http_port}",
                f"make slots.{name}.http_port and apps.{app.name}.slots.{name}.backends in proxy.yaml agree",
            )
        elif shop.slots[name].observe().http_ready and in_proxy[name].backends[0].health == "down":
            said = in_proxy[name].backends[0].last_error or "no reason given"
            yield Finding(
                "missing", f"slot {name} is ready, but the proxy calls it down: {said}", "check apps.*.health"
            )


def _journal(shop: Workshop) -> Iterator[Finding]:
    try:
        runs = shop.journal.runs(1)
    except DeployerError as error:
        yield Finding("missing", str(error), error.advice)
        return
    if runs and runs[0].state == "running" and shop.lock.holder() is None:
        yield Finding("missing", f"the last command, #{runs[0].id}, was cut off", "`deployer status` says what to do")
