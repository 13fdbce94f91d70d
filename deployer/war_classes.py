"""The classes of a WAR: WEB-INF/classes before WEB-INF/lib, as a Tomcat loads them. Reads files, changes nothing."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer.errors import Refused
from deployer.java.class_file import LARGEST_CLASS, ClassFileError, Header, read_header
from deployer.java.classes import Classes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_CLASSES = 200_000
LARGEST_LIBRARIES = 512 << 20
"""Bytes of the jars of one WAR, which are kept in memory while it is looked at."""

LARGEST_KEPT = 128 << 20
"""Bytes of unpacked classes of both WARs that are kept in memory, as each is looked at several times."""

LARGEST_UNPACKED = 1 << 30
"""Bytes of the classes of one library."""

LARGEST_PAGE = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError)
_CLASSES = "WEB-INF/classes/"
_BEAN = re.compile(r"<jsp:useBean\b([^<>]{1,2000})>")
_ATTRIBUTE = re.compile(r"""\b(scope|class|type)\s*=\s*(["'])([^"']{1,500})\2""")
_PAGES = (".jsp", ".jspx", ".jspf", ".tag", ".tagx")


@dataclass(frozen=True, slots=True)
class Entry:
    """One class in an archive. data: its bytes, None when they are read again where they are needed."""

    header: Header
    info: zipfile.ZipInfo
    archive: zipfile.ZipFile
    source: str
    data: bytes | None


@dataclass(slots=True)
class Archives:
    """Libraries read so far, by size and CRC, so that one that two WARs share is read once.

    left: how many bytes of classes may still be kept in memory.
    """

    left: int = LARGEST_KEPT
    libraries: dict[tuple[str, int, int], list[Entry]] = field(default_factory=dict)
    unreadable: dict[tuple[str, int, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Application:
    """A WAR's classes. beans: class and page of each `<jsp:useBean scope="session">`. skipped: what was not read."""

    classes: Classes
    entries: dict[str, Entry]
    distributable: bool
    beans: tuple[tuple[str, str], ...]
    skipped: tuple[str, ...]

    def digest(self, name: str) -> tuple[int, int] | None:
        """Size and CRC of a class file; None when there is no such class."""
        entry = self.entries.get(name)
        return None if entry is None else (entry.info.file_size, entry.info.CRC)

    def own(self, name: str) -> bool:
        """Whether a class is in WEB-INF/classes."""
        entry = self.entries.get(name)
        return entry is not None and entry.source == _CLASSES


@contextmanager
def application(path: Path, archives: Archives) -> Iterator[Application]:
    """The WAR's classes; they can be read within the with-block. Raises Refused when the WAR is damaged."""
    with ExitStack() as stack:
        try:
            found = _read(stack.enter_context(zipfile.ZipFile(path)), archives)
        except _DAMAGE as why:
            raise Refused(f"cannot read the classes of {path}: {why}", "build or upload the WAR again") from why
        yield found


def _read(archive: zipfile.ZipFile, archives: Archives) -> Application:
    own, unreadable = _entries(archive, _CLASSES, _CLASSES, archives)
    skipped = _unreadable(_CLASSES, unreadable)
    entries = {entry.header.name: entry for entry in own}
    left = LARGEST_LIBRARIES
    for info in archive.infolist():
        name = info.filename
        if not (name.startswith("WEB-INF/lib/") and name.endswith(".jar") and name.count("/") == 2):
            continue
        key = (name, info.file_size, info.CRC)
        if key not in archives.libraries:
            left -= info.file_size
            if left < 0:
                skipped.append(f"{name}: the libraries have more than {LARGEST_LIBRARIES >> 20} MiB")
                continue
            try:
                jar = zipfile.ZipFile(io.BytesIO(archive.read(info)))
                archives.libraries[key], archives.unreadable[key] = _entries(jar, "", name, archives)
            except _DAMAGE as why:
                skipped.append(f"{name}: {why}")
                continue
        skipped += _unreadable(name, archives.unreadable[key])
        for entry in archives.libraries[key]:
            entries.setdefault(entry.header.name, entry)
    headers = {name: entry.header for name, entry in entries.items()}
    classes = Classes(headers, lambda name: _bytes(entries[name]))
    return Application(classes, entries, _distributable(archive), tuple(_beans(archive)), tuple(skipped))


def _entries(archive: zipfile.ZipFile, prefix: str, source: str, archives: Archives) -> tuple[list[Entry], int]:
    """The classes below a directory of an archive, and how many could not be read."""
    found: list[Entry] = []
    unreadable, left = 0, LARGEST_UNPACKED
    for info in archive.infolist():
        name = info.filename
        if not name.startswith(prefix) or not name.endswith(".class") or info.file_size > LARGEST_CLASS:
            continue
        # Variants for newer Java releases (JEP 238) and descriptions of modules and packages hold no objects.
        if name.startswith("META-INF/") or name.endswith(("module-info.class", "package-info.class")):
            continue
        left -= info.file_size
        if left < 0 or len(found) >= MOST_CLASSES:
            raise ValueError(f"{source} has more classes than {MOST_CLASSES}, or than {LARGEST_UNPACKED >> 20} MiB")
        try:
            data = archive.read(info)
            header = read_header(data)
        except (ClassFileError, *_DAMAGE):
            unreadable += 1
            continue
        if header.name == name[len(prefix) : -len(".class")]:
            kept = archives.left >= len(data)
            archives.left -= len(data) if kept else 0
            found.append(Entry(header, info, archive, source, data if kept else None))
    return found, unreadable


def _bytes(entry: Entry) -> bytes:
    if entry.data is not None:
        return entry.data
    try:
        return entry.archive.read(entry.info)
    except _DAMAGE as why:
        raise ClassFileError(f"{entry.info.filename} in {entry.source} is damaged: {why}") from why


def _unreadable(source: str, count: int) -> list[str]:
    return [f"{source}: {count} class files cannot be read"] if count else []


def _distributable(archive: zipfile.ZipFile) -> bool:
    """Whether web.xml says <distributable/>: then a session refuses what cannot be replicated (Servlet 6.0, 7.7.2)."""
    try:
        info = archive.getinfo("WEB-INF/web.xml")
        text = archive.read(info) if info.file_size <= LARGEST_PAGE else b""
        if b"<!ENTITY" in text:
            return False
        root = ET.fromstring(text)
    except (KeyError, ET.ParseError, LookupError, *_DAMAGE):
        return False
    return any(child.tag.rpartition("}")[2] == "distributable" for child in root)


def _beans(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    for info in archive.infolist():
        if not info.filename.endswith(_PAGES) or info.file_size > LARGEST_PAGE:
            continue
        try:
            page = archive.read(info).decode("utf-8", errors="replace")
        except _DAMAGE:
            continue
        for bean in _BEAN.finditer(page):
            said = {match[1]: match[3] for match in _ATTRIBUTE.finditer(bean[1])}
            kind = said.get("class", said.get("type", ""))
            if said.get("scope") == "session" and kind:
                yield kind.replace(".", "/"), info.filename
