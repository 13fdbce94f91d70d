"""Who has a TCP port: asked before a start, so that the operator reads a name and not a stack trace.

Linux: /proc/net/tcp and the socket links of /proc/PID/fd (proc(5)). Without root, other users' links are hidden.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path

_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has a port; pid None when the kernel does not show it to us."""

    port: int
    pid: int | None
    program: str

    def __str__(self) -> str:
        if self.pid is None:
            return f"port {self.port} is taken by a process of another user"
        return f"port {self.port} is taken by pid {self.pid} ({self.program})"


def bindable(address: str, port: int) -> str:
    """ "" when a server could listen there now, "taken", or the reason why not in the system's words."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As a Java server does on Linux: connections in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as why:
            return "taken" if why.errno == errno.EADDRINUSE else why.strerror or str(why)
    return ""


def holder(port: int, proc: Path = Path("/proc")) -> Holder:
    """The process that listens on `port`, or whose connection occupies it."""
    inodes = _socket_inodes(port, proc)
    for inode in inodes:
        for entry in proc.iterdir():
            if entry.name.isdigit() and _has_socket(entry, inode):
                return Holder(port, int(entry.name), _program(entry))
    return Holder(port, None, "")


def _socket_inodes(port: int, proc: Path) -> list[str]:
    """The inodes of sockets with this local port, listening ones first."""
    found: list[tuple[bool, str]] = []
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
                found.append((fields[3] != _LISTEN, fields[9]))
    return [inode for _, inode in sorted(found)]


def _has_socket(process: Path, inode: str) -> bool:
    try:
        with os.scandir(process / "fd") as links:
            return any(_target(link.path) == f"socket:[{inode}]" for link in links)
    except OSError:
        return False


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "unknown"
