"""What unit files of systemd have in common: how words are written, and what a service is kept from. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOMES: Final = ("/home", "/root", "/run/user")
_TEMPORARY: Final = ("/tmp", "/var/tmp")

CONFINED: Final = (
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "LockPersonality=yes",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallErrorNumber=EPERM",
)
"""What no service of ours needs (systemd.exec(5), Sandboxing)."""


def file_access(read: Sequence[str], written: Sequence[str]) -> list[str]:
    """The lines that let a service write to some directories and read what lies in home or temporary ones."""
    every = [*read, *written]
    return [
        "ProtectSystem=strict",
        *(f"ReadWritePaths={word(path)}" for path in written),
        f"ProtectHome={'read-only' if _in(every, _HOMES) else 'yes'}",
        f"PrivateTmp={'no' if _in(every, _TEMPORARY) else 'yes'}",
    ]


def command(words: Sequence[str]) -> str:
    """A command line for ExecStart and the like (systemd.service(5), Command lines)."""
    return " ".join(word(one).replace("$", "$$") for one in words)


def word(text: str) -> str:
    """One word of a list (systemd.syntax(7)): with blanks or quotes in it, it stands in quotes."""
    written = escaped(text)
    if not any(character in " \t\"'\\" for character in written):
        return written
    quoted = written.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def escaped(text: str) -> str:
    """Without specifiers (systemd.unit(5))."""
    return text.replace("%", "%%")


def _in(paths: Sequence[str], directories: Sequence[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for path in paths for each in directories)
