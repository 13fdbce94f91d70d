"""Reads a WAR and says what is wrong with it before anything is touched. The rules are in war_rules.py.

A WAR is a ZIP file (APPNOTE 6.3) laid out by the Servlet specification, section 10.5 and 10.6.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from deployer import war_rules
from deployer.errors import Refused
from deployer.war_rules import JETTY_9, Contents, Finding, ServletServer, Severity, tomcat_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["JETTY_9", "Finding", "ServletServer", "Severity", "War", "check_war", "read_war", "tomcat_server"]

MOST_ENTRIES = 100_000
LARGEST_UNPACKED = 8 << 30
MOST_EXPANSION = 200
"""Unpacked bytes for each packed one, over the whole WAR; deflate reaches 1032, real applications 2 to 5."""

_CHUNK = 1 << 20
_MANIFEST = "META-INF/MANIFEST.MF"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class War:
    """A WAR that can be opened. size: bytes. entries: files in it. version: the manifest's Implementation-Version."""

    path: Path
    sha256: str
    size: int
    entries: int
    version: str | None


def read_war(path: Path) -> War:
    """Hashes the WAR and reads its manifest. Raises Refused when it is missing, unreadable, empty or no ZIP file."""
    problems = _file_problem(path)
    if problems:
        raise Refused(problems[0].what, problems[0].advice)
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
        with zipfile.ZipFile(path) as archive:
            return War(path, sha256, size, len(archive.infolist()), _manifest(archive).get("Implementation-Version"))
    except (OSError, NotImplementedError, *_DAMAGE) as why:
        raise Refused(f"cannot read {path}: {why}", "build or upload the WAR again") from why


def check_war(path: Path, java_version: int, server: ServletServer) -> list[Finding]:
    """All that is wrong with the WAR for this Java and this server, errors first; [] when it is faultless.

    It reads every entry to its end, so that damage anywhere is found; about 100 MB a second. Raises nothing.
    """
    problems = _file_problem(path)
    if problems:
        return problems
    try:
        with zipfile.ZipFile(path) as archive:
            found = _too_large(archive, path.stat().st_size) or _name_problems(archive)
            if not _hopeless(found):
                contents, damage = _read_all(archive)
                found += damage or war_rules.check(contents, java_version, server)
    except (OSError, NotImplementedError, *_DAMAGE) as why:
        return [_damaged(path, str(why))]
    order: tuple[Severity, ...] = ("error", "warning", "note")
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _file_problem(path: Path) -> list[Finding]:
    """At most one: why the file cannot be a WAR at all."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            return [Finding("error", f"{path} is {kind}", "give the path of a WAR file")]
        if status.st_size == 0:
            return [Finding("error", f"{path} is empty", "build or upload it again")]
        with path.open("rb") as stream:
            start = stream.read(64)
            whole = zipfile.is_zipfile(stream)
    except FileNotFoundError:
        return [Finding("error", f"there is no file {path}", "check the path")]
    except OSError as why:
        return [Finding("error", f"cannot read {path}: {why.strerror}", "check the file's mode and owner")]
    if whole:
        return []
    if start.startswith(b"PK\x03\x04"):
        return [_damaged(path, "its end is missing, so it was cut off")]
    kind = f"begins with {start[:24]!r}"
    return [Finding("error", f"{path} is not a WAR (a ZIP file): it {kind}", "check what was built or downloaded")]


def _damaged(path: Path, why: str) -> Finding:
    return Finding("error", f"{path} is damaged: {why}", "build or upload it again, and compare its SHA-256")


def _too_large(archive: zipfile.ZipFile, packed: int) -> list[Finding]:
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_ENTRIES:
        what = f"it has {len(entries)} entries; {MOST_ENTRIES} are the most"
    elif unpacked > LARGEST_UNPACKED:
        what = f"it unpacks to {unpacked >> 20} MiB; {LARGEST_UNPACKED >> 20} are the most"
    elif unpacked > MOST_EXPANSION * packed:
        what = f"its {packed} bytes unpack to {unpacked}, {unpacked // packed} times as many: a ZIP bomb?"
    else:
        return []
    return [Finding("error", what, "check where this WAR comes from")]


def _name_problems(archive: zipfile.ZipFile) -> list[Finding]:
    found = []
    seen: set[str] = set()
    for entry in archive.infolist():
        # orig_filename: zipfile itself cuts a name at a NUL byte.
        name = entry.orig_filename
        if not safe_name(name):
            found.append(Finding("error", f"entry {name!r} would be written outside of the application", "rebuild it"))
        elif name in seen:
            found.append(Finding("error", f"entry {name!r} is there twice, and which one counts is open", "rebuild it"))
        if stat.S_ISLNK(entry.external_attr >> 16):
            found.append(Finding("warning", f"entry {name!r} is a symbolic link; the server unpacks a text file", ""))
        if entry.flag_bits & 1:
            found.append(Finding("error", f"entry {name!r} is encrypted; the server cannot read it", "pack it without"))
        seen.add(name)
        if len(found) >= war_rules.MOST_EXAMPLES:
            break
    return found


def _hopeless(found: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in found)


def safe_name(name: str) -> bool:
    """Whether a ZIP entry's name stays inside the directory that it is unpacked to, on every system."""
    parts = name.removesuffix("/").split("/")
    return (
        bool(name)
        and "\\" not in name
        and "\0" not in name
        and ":" not in parts[0]
        and not {"", ".", ".."} & set(parts)
    )


def _read_all(archive: zipfile.ZipFile) -> tuple[Contents, list[Finding]]:
    """Reads every entry to its end, which checks its CRC, and keeps what the rules look at."""
    contents = Contents()
    found = []
    for entry in archive.infolist():
        if entry.is_dir():
            continue
        try:
            with archive.open(entry) as stream:
                contents.add(entry.filename, entry.file_size, _chunks(stream))
        except NotImplementedError:
            found.append(Finding("error", f"entry {entry.filename} uses a compression that Java lacks", "use deflate"))
        except (OSError, RuntimeError, *_DAMAGE) as why:
            found.append(Finding("error", f"entry {entry.filename} is damaged: {why}", "build or upload the WAR again"))
        if len(found) >= war_rules.MOST_EXAMPLES:
            break
    return contents, found


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _manifest(archive: zipfile.ZipFile) -> Mapping[str, str]:
    """The main section of META-INF/MANIFEST.MF (JAR file specification); {} when there is none."""
    try:
        entry = archive.getinfo(_MANIFEST)
        text = archive.read(entry).decode("utf-8", errors="replace") if entry.file_size < _CHUNK else ""
    except (KeyError, NotImplementedError, RuntimeError):
        return {}
    section = text.replace("\r\n", "\n").replace("\n ", "").split("\n\n")[0]
    pairs = (line.partition(":") for line in section.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
