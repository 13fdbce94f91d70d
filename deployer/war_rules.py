"""What makes a WAR unfit for a slot: rules over what was read of it. Pure.

Sources: Servlet 6.0 sections 10.5 to 10.7 and 7.7.2, JVMS table 4.1-A (class file versions), Tomcat's migration
guide from 9 to 10, and what a real Tomcat 10.1 did with broken WARs.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Severity = Literal["error", "warning", "note"]

MOST_EXAMPLES = 5
"""How many places of one kind of fault are named."""

LARGEST_KEPT = 64 << 20
"""Bytes of one library that are looked into; class files and descriptors are far smaller."""

SAMPLED_CLASSES = 40
"""Classes looked at in each library: one build gives all of them the same version."""

_CLASS_MAGIC = b"\xca\xfe\xba\xbe"
_API_JAR = re.compile(
    r"(?:(?:javax|jakarta)\.)?servlet(?:\.jsp)?-api\b|(?:javax|jakarta)\.(?:el|servlet\.jsp)-api\b|jsp-api\b|el-api\b"
    r"|tomcat-(?:servlet|jsp|el|websocket|embed|catalina|coyote)|catalina(?:-ha|-tribes)?[-.\d]*\.jar|jasper[-.\d]*\.jar"
)
_VERSIONED = re.compile(r"(?P<name>.+?)-(?P<version>\d[\w.+-]*?)\.jar")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. error: it cannot work. warning: users may notice. note: worth knowing."""

    severity: Severity
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.what}" + (f" ({self.advice})" if self.advice else "")


@dataclass(frozen=True, slots=True)
class ServletServer:
    """What a WAR is to run on. key: its settings in deployer.yaml. jakarta: its API is jakarta.servlet, not javax.

    instead: a server of the other API. replicates: sessions can be on every slot.
    """

    name: str
    key: str
    jakarta: bool
    instead: str
    replicates: bool = True


def tomcat_server(major: int) -> ServletServer:
    """Tomcat's API changed its package with 10."""
    instead = "use Tomcat 9 or kind: jetty" if major >= 10 else "use Tomcat 10.1 or newer"
    return ServletServer(f"Tomcat {major}", "tomcat", major >= 10, instead)


JETTY_9 = ServletServer("Jetty 9", "jetty", jakarta=False, instead="use Tomcat 10.1 or newer", replicates=False)


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """java: the release that runs it, such as 17. preview: it needs --enable-preview of exactly that release."""

    java: int
    preview: bool
    javax: bool
    jakarta: bool


@dataclass(frozen=True, slots=True)
class Library:
    """A jar in WEB-INF/lib. problem: "" or why it cannot be read. newest: the newest class file's Java release."""

    name: str
    problem: str = ""
    newest: int = 0
    javax: bool = False
    jakarta: bool = False


@dataclass(slots=True)
class Contents:
    """What the rules look at, gathered entry by entry."""

    names: list[str] = field(default_factory=list)
    web_xml: bytes | None = None
    classes: dict[str, ClassFacts | None] = field(default_factory=dict)
    libraries: list[Library] = field(default_factory=list)

    def add(self, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """Takes one entry; reads its chunks to the end in any case, since that is what checks its CRC."""
        self.names.append(name)
        library = name.startswith("WEB-INF/lib/") and name.endswith(".jar") and name.count("/") == 2
        of_ours = name.startswith("WEB-INF/classes/") and name.endswith(".class")
        if (library or of_ours or name == "WEB-INF/web.xml") and size <= LARGEST_KEPT:
            data = b"".join(chunks)
        else:
            for _ in chunks:
                continue
            return
        if library:
            self.libraries.append(look_into(name.rpartition("/")[2], data))
        elif of_ours:
            self.classes[name] = class_facts(data)
        else:
            self.web_xml = data


def class_facts(data: bytes) -> ClassFacts | None:
    """What a class file's head and its constants tell (JVMS section 4.1); None when it is not a class file."""
    if len(data) < 10 or not data.startswith(_CLASS_MAGIC):
        return None
    minor, major = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
    return ClassFacts(major - 44, minor == 0xFFFF, b"javax/servlet/" in data, b"jakarta/servlet/" in data)


def look_into(name: str, data: bytes) -> Library:
    """A library's facts, from a sample of its classes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as jar:
            classes = [entry for entry in jar.infolist() if _counts(entry)]
            step = max(1, len(classes) // SAMPLED_CLASSES)
            facts = [class_facts(jar.read(entry)) for entry in classes[::step]]
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as why:
        return Library(name, problem=str(why) or type(why).__name__)
    known = [fact for fact in facts if fact is not None]
    return Library(
        name,
        newest=max((fact.java for fact in known), default=0),
        javax=any(fact.javax for fact in known),
        jakarta=any(fact.jakarta for fact in known),
    )


def _counts(entry: zipfile.ZipInfo) -> bool:
    """Multi-release variants and module-info may be newer than the JVM, which then ignores them (JEP 238)."""
    name = entry.filename
    usual = name.endswith(".class") and not name.startswith("META-INF/") and not name.endswith("module-info.class")
    return usual and entry.file_size <= LARGEST_KEPT


def check(contents: Contents, java_version: int, server: ServletServer) -> list[Finding]:
    """Every rule's findings."""
    return [
        *_is_application(contents, server),
        *_descriptor(contents, server),
        *(_own_context(contents) if server.key == "tomcat" else ()),
        *_class_versions(contents, java_version, server),
        *_namespace(contents, server),
        *_libraries(contents, server),
    ]


def _is_application(contents: Contents, server: ServletServer) -> Iterator[Finding]:
    if any(name.startswith("BOOT-INF/") for name in contents.names):
        how = "https://docs.spring.io/spring-boot/how-to/deployment/traditional-deployment.html"
        advice = f"build a WAR: {how}; or run it as it is, with kind: command"
        yield Finding("error", f"this is an executable Spring Boot jar; {server.name} cannot run it", advice)
    elif not any(name.startswith("WEB-INF/") for name in contents.names):
        pages = any(name.endswith((".jsp", ".html")) for name in contents.names)
        yield Finding("warning" if pages else "error", "there is no WEB-INF: is this a web application?", "")


def _descriptor(contents: Contents, server: ServletServer) -> Iterator[Finding]:
    advice = "mark the application <distributable/> in WEB-INF/web.xml and make what it keeps in sessions Serializable"
    silent = "without it a session attribute that cannot be replicated is noticed only in the log"
    if contents.web_xml is None:
        if server.replicates and any(name.startswith("WEB-INF/") for name in contents.names):
            yield Finding("warning", f"there is no WEB-INF/web.xml, so no <distributable/>: {silent}", advice)
        return
    if b"<!ENTITY" in contents.web_xml:
        yield Finding("error", "WEB-INF/web.xml declares XML entities, which are not expanded", "write them out")
        return
    try:
        root = ET.fromstring(contents.web_xml)
    except (ET.ParseError, ValueError, LookupError) as why:
        yield Finding(
            "error", f"WEB-INF/web.xml is not well-formed XML: {why}", f"mend it: {server.name} would not start it"
        )
        return
    if _local(root.tag) != "web-app":
        yield Finding("error", f"WEB-INF/web.xml is a <{_local(root.tag)}>, not a <web-app>", "mend it")
    elif server.replicates and not any(_local(child.tag) == "distributable" for child in root):
        yield Finding("warning", f"WEB-INF/web.xml has no <distributable/>: {silent}", advice)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _own_context(contents: Contents) -> Iterator[Finding]:
    if "META-INF/context.xml" in contents.names:
        yield Finding(
            "error",
            "it brings META-INF/context.xml, with which it could replace the session manager: it would not be deployed",
            "move its resources to conf/Catalina/localhost/<context>.xml of the slots, and leave it out of the WAR",
        )


def _class_versions(contents: Contents, java_version: int, server: ServletServer) -> Iterator[Finding]:
    facts = contents.classes
    broken = [name for name, fact in facts.items() if fact is None]
    if broken:
        yield Finding("error", f"not a class file: {_some(broken)}", "build the WAR again")
    newer = {name: fact.java for name, fact in facts.items() if fact is not None and fact.java > java_version}
    if newer:
        needed = max(newer.values())
        yield Finding(
            "error",
            f"{len(newer)} of {len(facts)} classes need Java {needed}, the slot has {java_version}: {_some(newer)}",
            f"compile with --release {java_version}, or set {server.key}.java_home to a Java {needed}",
        )
    preview = [name for name, fact in facts.items() if fact is not None and fact.preview]
    if preview and not newer:
        advice = f"add --enable-preview to {server.key}.jvm"
        yield Finding("warning", f"classes use preview features: {_some(preview)}", advice)
    late = [f"{jar.name} (Java {jar.newest})" for jar in contents.libraries if jar.newest > java_version]
    if late:
        advice = f"use their versions for this Java, or set {server.key}.java_home to a newer one"
        yield Finding("warning", f"libraries newer than the slot's Java {java_version}: {_some(late)}", advice)


def _namespace(contents: Contents, server: ServletServer) -> Iterator[Finding]:
    jakarta = server.jakarta
    wrong, right = ("javax.servlet", "jakarta.servlet") if jakarta else ("jakarta.servlet", "javax.servlet")
    advice = (
        f"build it against Jakarta EE, convert it with Apache's jakartaee-migration tool, or {server.instead}"
        if jakarta
        else f"build it against Java EE 8 (javax), or {server.instead}"
    )
    facts = {name: fact for name, fact in contents.classes.items() if fact is not None}
    bad = [name for name, fact in facts.items() if (fact.javax if jakarta else fact.jakarta)]
    good = any((fact.jakarta if jakarta else fact.javax) for fact in facts.values())
    if bad:
        what = f"{len(bad)} classes use {wrong}, {server.name} has {right}: {_some(bad)}"
        yield Finding("warning" if good else "error", what, advice)
    lone = [
        jar.name
        for jar in contents.libraries
        if (jar.javax and not jar.jakarta if jakarta else jar.jakarta and not jar.javax)
        and not _API_JAR.match(jar.name)
    ]
    if lone:
        yield Finding("warning", f"libraries use {wrong}, {server.name} has {right}: {_some(lone)}", advice)


def _libraries(contents: Contents, server: ServletServer) -> Iterator[Finding]:
    damaged = [f"{jar.name} ({jar.problem})" for jar in contents.libraries if jar.problem]
    if damaged:
        yield Finding("error", f"libraries are damaged: {_some(damaged)}", "build the WAR again")
    apis = [jar.name for jar in contents.libraries if _API_JAR.match(jar.name)]
    if apis:
        yield Finding(
            "warning",
            f"the server's own API is among the libraries: {_some(apis)}",
            f"give these dependencies the scope provided: {server.name} has them, and two copies may clash",
        )
    versions: dict[str, set[str]] = {}
    for jar in contents.libraries:
        match = _VERSIONED.fullmatch(jar.name)
        if match:
            versions.setdefault(match["name"], set()).add(match["version"])
    twice = [f"{name} {' and '.join(sorted(found))}" for name, found in versions.items() if len(found) > 1]
    if twice:
        yield Finding("warning", f"libraries are there in two versions: {_some(twice)}", "keep one version of each")


def _some(names: Iterable[str]) -> str:
    listed = [name.removeprefix("WEB-INF/classes/") for name in names]
    more = len(listed) - MOST_EXAMPLES
    return ", ".join(listed[:MOST_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
