"""Who listens on a TCP port, as /proc tells (proc_pid_net(5): state 0A is LISTEN)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"


def port_holder(port: int, proc: Path = Path("/proc")) -> str:
    """`"pid 123 (java)"`, or "" when it can't be found out, as for another user's process."""
    inodes = _listening_inodes(port, proc)
    if not inodes:
        return ""
    links = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        if process.name.isdigit() and _has_link(process / "fd", links):
            return f"pid {process.name} ({_name(process)})"
    return ""


def _listening_inodes(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        with suppress(OSError):
            for line in (proc / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _has_link(directory: Path, links: set[str]) -> bool:
    with suppress(OSError):
        for descriptor in directory.iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in links:
                    return True
    return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "?"
