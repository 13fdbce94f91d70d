"""Who runs a slot's server.

A deployer that is root runs it as a user of its own (`tomcat`, `jetty`) where that user exists. Where this user cannot
reach a directory that it needs (a checkout under a closed home directory), it runs as the invoking user and the
account carries a warning: a slot that does not start at all would help nobody, and the operator must know.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class PopenArguments(TypedDict, total=False):
    """What subprocess needs to start a process as another user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """The user who runs a server. other: not the deployer's own. warning: "" or what the operator must know."""

    name: str
    uid: int
    gid: int
    other: bool = False
    warning: str = ""

    @property
    def popen_arguments(self) -> PopenArguments:
        """For subprocess; empty when the user does not change."""
        if not self.other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": _groups(self.name, self.gid)}

    def environment(self, home: Path) -> dict[str, str]:
        """The variables that name the user; empty when the user does not change."""
        return {"HOME": str(home), "USER": self.name, "LOGNAME": self.name} if self.other else {}


def choose(needed: Iterable[Path], name: str) -> Account:
    """The account for a server that needs to reach these paths (existing parts of them are looked at)."""
    own = _own()
    if own.uid != 0:
        return own
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        advice = f"create it: useradd --system --shell /usr/sbin/nologin {name}"
        return _own(f"slots run as {own.name}, because there is no user {name}; {advice}")
    groups = {entry.pw_gid, *_groups(name, entry.pw_gid)}
    for path in needed:
        closed = _closed_to(path.absolute(), entry.pw_uid, groups)
        if closed is not None:
            advice = f"run chmod o+x {closed}, or choose another slots.*.base"
            return _own(f"slots run as {own.name}, because the user {name} may not enter {closed}: {advice}")
    return Account(name, entry.pw_uid, entry.pw_gid, other=True)


def named(name: str | None, needed: Iterable[Path]) -> Account:
    """The account called `name`, or the invoking user's when None. A name that is not `choose`'s is taken as it is."""
    return _own() if name is None else choose(needed, name)


def _own(warning: str = "") -> Account:
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name, uid, os.getegid(), warning=warning)


def _groups(name: str, gid: int) -> list[int]:
    return sorted({gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)})


def _closed_to(path: Path, uid: int, groups: set[int]) -> Path | None:
    """The outermost directory on the way to `path` that this user may not enter, by its mode bits."""
    for directory in reversed([path, *path.parents]):
        if not directory.is_dir():
            continue
        status = directory.stat()
        if status.st_uid == uid:
            enterable = status.st_mode & 0o100
        elif status.st_gid in groups:
            enterable = status.st_mode & 0o010
        else:
            enterable = status.st_mode & 0o001
        if not enterable:
            return directory
    return None
