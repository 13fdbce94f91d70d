"""Unit files for systemd (systemd.service(5), systemd.exec(5), systemd.socket(5)): text from settings.

What is not obvious in them:

- KillMode=process: when the supervisor dies, its workers serve on, and the restarted one takes their place. With mixed
  or control-group, systemd would kill them at that moment, and every connection with them. At a stop it is the
  supervisor that ends its workers; if it hangs and is killed, ExecStopPost tells them to end.
- OOMPolicy=continue: a worker that the kernel kills is replaced; it is no reason to stop the others.
- The exit codes 2, 3 and 4 are for an operator to act on; starting again would not help.
- capset is allowed, as workers use it to give up what they have.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.address import UnixEndpoint
from proxy.control.listeners import KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES
from proxy.unit_text import CONFINED, command, escaped, file_access, word
from proxy.urgency import SUPERVISOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.settings import Settings

STOP_MARGIN: Final = 15.0
"""Seconds more than `timeouts.stop`, so that it is the supervisor that ends late requests, and reports them."""
_DESCRIPTORS: Final = 4096


@dataclass(frozen=True, slots=True)
class Place:
    """Where and as whom it is to run. `command`: interpreter and module; relative paths start from `directory`."""

    name: str
    user: str
    command: Sequence[str]
    config: str
    directory: str

    def path(self, path: str) -> str:
        """An absolute one, without links followed."""
        return os.path.normpath(os.path.join(self.directory, path))


def units(settings: Settings, place: Place, workers: int, *, sockets: bool) -> dict[str, str]:
    """File name -> text. `sockets`: systemd listens, with one socket for each of `workers`, and hands them over."""
    service = f"{place.name}.service"
    made = {service: _service(settings, place, sockets=sockets)}
    if sockets:
        made[f"{place.name}.socket"] = _socket(settings, place, workers)
    return made


def _service(settings: Settings, place: Place, *, sockets: bool) -> str:
    writable = writable_directories(settings, place)
    program = os.path.realpath(place.command[0])  # of a virtual environment it is but a link
    read = [place.directory, place.command[0], program, place.path(place.config)]
    listens = [f"Requires={place.name}.socket", f"After={place.name}.socket"] if sockets else []
    capabilities = "" if sockets else "CAP_NET_BIND_SERVICE"
    stop = settings.timeouts.stop + STOP_MARGIN
    lines = [
        f"# {place.name}.service, made by `proxy systemd`. Before the first start, as root:",
        f"#   useradd --system --no-create-home --shell /usr/sbin/nologin {place.user}",
        *(f"#   install -d -o {place.user} -g {place.user} {word(path)}" for path in writable),
        f"#   systemctl daemon-reload && systemctl enable --now {place.name}.{'socket' if sockets else 'service'}",
        "",
        "[Unit]",
        "Description=Switchyard, the public front server",
        "After=network-online.target",
        "Wants=network-online.target",
        *listens,
        "StartLimitIntervalSec=60",
        "StartLimitBurst=10",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"User={place.user}",
        f"WorkingDirectory={escaped(place.directory)}",
        f"ExecStart={_command(place, 'run')}",
        f"ExecReload={_command(place, 'reload')}",
        f'ExecStopPost=/bin/sh -c \'[ "$$SERVICE_RESULT" != timeout ] || exec "$$@"\' sh {_command(place, "stop")}',
        "Restart=on-failure",
        "RestartSec=100ms",
        "RestartPreventExitStatus=2 3 4",
        "KillMode=process",
        "OOMPolicy=continue",
        "TimeoutStartSec=120",
        f"TimeoutStopSec={math.ceil(stop)}",
        f"LimitNOFILE={_descriptors(settings)}",
        f"LimitRTPRIO={SUPERVISOR}",
        "UMask=0027",
        "",
        "# What it may write, call and see.",
        "NoNewPrivileges=yes",
        f"CapabilityBoundingSet={capabilities}",
        f"AmbientCapabilities={capabilities}",
        *file_access(read, writable),
        "MemoryDenyWriteExecute=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        *CONFINED,
        "SystemCallFilter=~@privileged",
        "SystemCallFilter=capset",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def _socket(settings: Settings, place: Place, workers: int) -> str:
    lines = [
        f"# {place.name}.socket, made by `proxy systemd`. Each address is named once for each of {workers} workers:",
        "# the kernel then spreads connections over them. With fewer sockets than workers some share one; make this",
        "# file again when `workers` or `listen` changes.",
        "",
        "[Unit]",
        "Description=Switchyard's public addresses",
        "",
        "[Socket]",
        *(f"ListenStream={endpoint}" for endpoint in settings.endpoints for _ in range(workers)),
        "ReusePort=yes",
        "BindIPv6Only=ipv6-only",
        "Backlog=4096",
        "KeepAlive=yes",
        f"KeepAliveTimeSec={KEEPALIVE_IDLE}",
        f"KeepAliveIntervalSec={KEEPALIVE_INTERVAL}",
        f"KeepAliveProbes={KEEPALIVE_PROBES}",
        "",
        "[Install]",
        "WantedBy=sockets.target",
        "",
    ]
    return "\n".join(lines)


def writable_directories(settings: Settings, place: Place) -> list[str]:
    """Absolute paths of the directories in which the proxy makes files, each before those in it."""
    files = [settings.admin.token_file]
    if isinstance(settings.admin.endpoint, UnixEndpoint):
        files.append(settings.admin.endpoint.path)
    if settings.access_log.format != "off" and settings.access_log.path != "-":
        files.append(settings.access_log.path)
    directories = [settings.state_dir, *(str(Path(file).parent) for file in files if file is not None)]
    return sorted({place.path(directory) for directory in directories})


def _descriptors(settings: Settings) -> int:
    """Each client's connection may have one to a backend, and a file."""
    return settings.limits.connections * 3 + _DESCRIPTORS


def _command(place: Place, verb: str) -> str:
    return command([*place.command, verb, "-c", place.path(place.config)])
