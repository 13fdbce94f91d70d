"""Brings a slot's directories and generated files into being, with modes and owners."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer import durable
from deployer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployer.server.account import Account


@dataclass(frozen=True, slots=True)
class Tree:
    """What a slot's base shall hold; paths are relative to it, parents before what is in them.

    read: directories that the server's user may read and not write. written: that it owns. files: content and mode.
    """

    read: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    files: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)


def prepare(name: str, base: Path, tree: Tree, account: Account) -> list[str]:
    """Makes the slot's base what `tree` says; the paths of the files that it changed.

    The way to the base is open to all, the base itself to the server's group alone.
    Raises ConfigurationError: not allowed, disk full.
    """
    try:
        _directories(base, tree, account)
        gid = account.gid if account.other else -1
        return [
            path for path, (data, mode) in tree.files.items() if durable.write_if_changed(base / path, data, mode, gid)
        ]
    except OSError as why:
        raise ConfigurationError(
            f"cannot prepare slot {name} in {base}: {why}",
            f"mend the permissions, or set slots.{name}.base to a directory that may be written",
        ) from why


def _directories(base: Path, tree: Tree, account: Account) -> None:
    for parent in reversed(base.parents):
        if not parent.exists():
            parent.mkdir(mode=0o755)
            parent.chmod(0o755)
    gid = account.gid if account.other else -1
    for name in ("", *tree.read):
        _directory(base / name, 0o750, -1, gid)
    uid = account.uid if account.other else -1
    for name in tree.written:
        _directory(base / name, 0o750, uid, gid)
        if account.other:
            _hand_over(base / name, uid, gid)


def _hand_over(directory: Path, uid: int, gid: int) -> None:
    """Gives away what a server left that ran as another user, such as root: this one could not go on with it.

    A release that the deployer placed stays the deployer's. Links are changed, not followed.
    """
    for _, folders, names, descriptor in os.fwalk(directory):
        for name in (*folders, *names):
            # A running server removes temporary files meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_gid != gid:
                    os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)


def _directory(path: Path, mode: int, uid: int, gid: int) -> None:
    path.mkdir(mode=mode, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if uid >= 0 or gid >= 0:
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
