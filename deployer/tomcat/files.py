"""Brings an instance's directories and generated files into being, with modes and owners."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from deployer import durable
from deployer.errors import ConfigurationError
from deployer.tomcat import layout

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.tomcat.account import Account
    from deployer.tomcat.home import TomcatHome
    from deployer.tomcat.layout import InstanceSpec


def prepare(spec: InstanceSpec, home: TomcatHome, account: Account) -> list[str]:
    """Makes the base directory what `spec` says; the paths of the files that it changed, relative to the base.

    Tomcat's user can read the configuration and not write it. Raises ConfigurationError: not allowed, disk full.
    """
    try:
        _directories(spec, account)
        return _files(spec, home, account)
    except OSError as why:
        raise ConfigurationError(
            f"cannot prepare slot {spec.name} in {spec.base}: {why}",
            f"mend the permissions, or set slots.{spec.name}.base to a directory that may be written",
        ) from why


def _directories(spec: InstanceSpec, account: Account) -> None:
    # The way to the base is open to all, the base itself to Tomcat's group alone.
    for parent in reversed(spec.base.parents):
        if not parent.exists():
            parent.mkdir(mode=0o755)
            parent.chmod(0o755)
    gid = account.gid if account.other else -1
    for name in ("", *layout.DIRECTORIES_READ):
        _directory(spec.base / name, 0o750, -1, gid)
    uid = account.uid if account.other else -1
    for name in layout.DIRECTORIES_WRITTEN:
        _directory(spec.base / name, 0o750, uid, gid)
        if account.other:
            _hand_over(spec.base / name, uid, gid)
    spec.log_file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)


def _hand_over(directory: Path, uid: int, gid: int) -> None:
    """Gives away what a Tomcat left that ran as another user, such as root: this one could not go on with it.

    A WAR that the deployer placed stays the deployer's. Links are changed, not followed.
    """
    for _, folders, names, descriptor in os.fwalk(directory):
        for name in (*folders, *names):
            # A running Tomcat removes temporary files meanwhile.
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


def _files(spec: InstanceSpec, home: TomcatHome, account: Account) -> list[str]:
    wanted = {path: (file.text.encode(), file.mode) for path, file in layout.files(spec).items()}
    wanted["conf/web.xml"] = (home.web_xml.read_bytes(), 0o640)
    gid = account.gid if account.other else -1
    return [
        path for path, (data, mode) in wanted.items() if durable.write_if_changed(spec.base / path, data, mode, gid)
    ]
