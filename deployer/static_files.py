"""Takes static files out of a WAR, for the proxy to serve. WEB-INF and META-INF never leave it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer import durable
from deployer.errors import Refused
from deployer.war import safe_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError)
_LARGEST_FILE = 1 << 30


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish_static` did: paths under the directory."""

    added: tuple[str, ...]
    replaced: tuple[str, ...]
    same: int


def selected(names: Iterable[str], patterns: Iterable[str]) -> dict[str, str]:
    """Which entries the patterns choose: the path under the target directory -> the entry's name.

    `*` and `?` stay within a directory, `**` spans directories. A pattern's leading directories without wildcards
    are left away: `static/**` puts static/css/a.css at css/a.css, as the proxy's prefix /static/ expects it.
    Raises Refused when two entries would have the same path.
    """
    found: dict[str, str] = {}
    rules = [(_fixed_part(pattern), _regex(pattern)) for pattern in patterns]
    for name in names:
        private = name.partition("/")[0].upper() in ("WEB-INF", "META-INF")
        if private or name.endswith("/") or not safe_name(name):
            continue
        for fixed, regex in rules:
            if regex.fullmatch(name):
                path = name.removeprefix(fixed)
                if found.setdefault(path, name) != name:
                    raise Refused(
                        f"static files {found[path]} and {name} would both become {path}", "change static.from_war"
                    )
                break
    return found


def extract_static(war: Path, patterns: Iterable[str], to: Path) -> list[str]:
    """Extracts into the new directory `to`, which appears whole or not at all; the paths in it. Raises Refused."""
    if to.exists():
        raise Refused(f"{to} is there already", "choose a directory that is not")
    temporary = ""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(prefix=durable.TEMPORARY_PREFIX, dir=to.parent)
        os.chmod(temporary, 0o755)
        published = publish_static(war, patterns, to.parent / os.path.basename(temporary))
        os.rename(temporary, to)
        durable.sync_directory(to.parent)
    except OSError as why:
        raise Refused(f"cannot extract static files to {to}: {why}", "make room or mend the permissions") from why
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    return list(published.added)


def publish_static(war: Path, patterns: Iterable[str], to: Path) -> Published:
    """Adds a WAR's static files to the directory `to`, each one whole or not at all; files of other releases stay.

    A file that is there with the same content is left alone, so that its times and ETag do not change.
    Raises Refused.
    """
    try:
        with zipfile.ZipFile(war) as archive:
            return _publish(archive, selected(archive.namelist(), patterns), to)
    except (OSError, *_DAMAGE) as why:
        raise Refused(
            f"cannot put the static files of {war} into {to}: {why}", "make room or mend the permissions"
        ) from why


def _publish(archive: zipfile.ZipFile, chosen: Mapping[str, str], to: Path) -> Published:
    added: list[str] = []
    replaced: list[str] = []
    same = 0
    to.mkdir(parents=True, exist_ok=True)
    for path, name in sorted(chosen.items()):
        if archive.getinfo(name).file_size > _LARGEST_FILE:
            raise Refused(f"static file {name} is larger than {_LARGEST_FILE >> 20} MiB", "leave it out")
        data = archive.read(name)
        target = to / path
        target.parent.mkdir(parents=True, exist_ok=True)
        there = target.exists()
        if there and target.stat().st_size == len(data) and target.read_bytes() == data:
            same += 1
            continue
        durable.write(target, data, 0o644, sync_name=False)
        (replaced if there else added).append(path)
    for directory in {(to / path).parent for path in (*added, *replaced)}:
        durable.sync_directory(directory)
    return Published(tuple(added), tuple(replaced), same)


def _fixed_part(pattern: str) -> str:
    match = re.match(r"(?:[^*?/]+/)*", pattern)
    return match.group() if match else ""


def _regex(pattern: str) -> re.Pattern[str]:
    parts = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL)
