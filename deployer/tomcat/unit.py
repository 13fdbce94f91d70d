"""A slot's unit file for systemd (systemd.service(5), systemd.exec(5)): text, with the command of the process way.

What is not obvious in it:

- Memory that is written and executed is what a JVM's compiler works with, so MemoryDenyWriteExecute is not set.
- SuccessExitStatus=143: a JVM that ends by SIGTERM.
- Restart=on-failure: a Tomcat that dies comes back with its release; a release's start that fails is stopped again by
  the deployer, which sees that the process it waits for has ended.
- The deployer makes the log before each start, so that each run has its own; a restart goes on in the same one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deployer.tomcat.layout import DIRECTORIES_WRITTEN
from proxy.unit_text import CONFINED, command, escaped, file_access, word

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.server.launcher import Launch

_DESCRIPTORS = 65_536


def unit_name(app: str, slot: str) -> str:
    """The name of a slot's unit."""
    return f"switchyard-{app}-{slot}.service"


def unit_text(app: str, slot: str, home: Path, launch: Launch, stop: float) -> str:
    """The unit's file. home: Tomcat's. stop: seconds of a graceful stop."""
    base = launch.cwd
    written = [f"{base}/{name}" for name in DIRECTORIES_WRITTEN]
    read = [str(base), str(home), launch.command[0]]
    lines = [
        f"# {unit_name(app, slot)}, made by `deployer systemd`. `deployer release` starts and stops it.",
        "# Made anew after a change of deployer.yaml, as root:",
        "#   deployer systemd --write /etc/systemd/system && systemctl daemon-reload",
        "# To start it with the machine too (the slot that is home, with the strategy `return`):",
        f"#   systemctl enable {unit_name(app, slot)}",
        "",
        "[Unit]",
        f"Description=Switchyard, {app}: the Tomcat of {slot}",
        "After=network.target",
        "StartLimitIntervalSec=60",
        "StartLimitBurst=3",
        "",
        "[Service]",
        "Type=exec",
        f"User={launch.account.name}",
        f"WorkingDirectory={escaped(str(base))}",
        *(f"Environment={word(f'{name}={value}')}" for name, value in launch.account.environment(base).items()),
        "Environment=LANG=C.UTF-8",
        f"ExecStart={command(launch.command)}",
        f"StandardOutput=append:{escaped(str(launch.log))}",
        "StandardError=inherit",
        "SuccessExitStatus=143",
        "KillMode=mixed",
        f"TimeoutStopSec={math.ceil(stop)}",
        "Restart=on-failure",
        "RestartSec=2",
        f"LimitNOFILE={_DESCRIPTORS}",
        "UMask=0027",
        "",
        "# What it may write, call and see.",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        *file_access(read, written),
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        *CONFINED,
        "RestrictRealtime=yes",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)
