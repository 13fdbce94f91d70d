"""From root to a user that owns nothing else: what is kept is the right to listen on ports below 1024.

The supervisor keeps that one capability, as a reload may name a new port and an upgrade must not lose the old ones; it
is ambient, so that it survives execve (capabilities(7)). Workers get open listeners, and give it up before they read
their first byte.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_KEEPCAPS: Final = 8
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAP_NET_BIND_SERVICE: Final = 10


def become(name: str, directories: Iterable[str]) -> None:
    """Goes on as the user, with its groups. `directories` that are missing are made first, and belong to it.

    Does nothing when it runs as that user already. Raises ConfigurationError when it can't.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        advice = f"make it (useradd --system --shell /usr/sbin/nologin {name}), or set user"
        raise ConfigurationError(f"user: there is no user {name} on this machine", advice) from error
    if os.geteuid() == user.pw_uid:
        return
    if os.geteuid() != 0:
        mine = os.geteuid()
        raise ConfigurationError(
            f"user: only root can go on as {name}, and this runs as user {mine}", "start it as root, or remove user"
        )
    try:
        for directory in directories:
            _make(Path(directory), user.pw_uid, user.pw_gid)
        _switch_to(user)
    except OSError as error:
        advice = "start it with the capabilities CAP_SETUID, CAP_SETGID and CAP_CHOWN, or remove user"
        where = f"{error.filename}: " if error.filename else ""
        raise ConfigurationError(f"user: can't go on as {name}: {where}{error.strerror}", advice) from error
    _check_readable(name)


def _check_readable(name: str) -> None:
    """The program reads its own files all the time; what it can't would come to light at any later moment."""
    for path in (sys.executable, os.__file__, __file__):
        if not os.access(path, os.R_OK):
            raise ConfigurationError(
                f"user: {name} can't read {path}", "install Python and this program where every user can read them"
            )


def give_up_capabilities() -> None:
    """From now on neither this process nor its children can do more than any process of its user. Root stays root."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() != 0:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        _set_capabilities(0)


def _make(directory: Path, user: int, group: int) -> None:
    """Each that is missing; what is there already may belong to anybody, and stays as it is."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o755, exist_ok=True)
        os.chown(each, user, group, follow_symlinks=False)


def _switch_to(user: pwd.struct_passwd) -> None:
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    with suppress(OSError):  # In a container root itself may lack it; then ports below 1024 are refused when opened.
        _set_capabilities(1 << _CAP_NET_BIND_SERVICE)
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_NET_BIND_SERVICE)
        return
    _set_capabilities(0)


def _set_capabilities(mask: int) -> None:
    """Permitted, effective and inheritable ones, bit by number (capset(2))."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    _call(_LIBC.capset, header, struct.pack("=6I", low, low, low, high, high, high))


def _prctl(option: int, first: int, second: int = 0) -> None:
    _call(_LIBC.prctl, option, ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
