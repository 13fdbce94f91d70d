"""Reads a Tomcat log: which records are SEVERE, and what the cause was. Pure.

A record is one line `22-Nov-2026 20:45:00.123 SEVERE [main] org.apache.catalina.Class.method message` (juli's
OneLineFormatter), followed by its exception as Throwable.printStackTrace writes it, indented by a tab. Month, level
and message are in the JVM's language, so what must be recognised is recognised by its source where it can be.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.server import throwables

if TYPE_CHECKING:
    from collections.abc import Iterable

_RECORD = re.compile(
    r"^\d{2}-\S+-\d{4} \d{2}:\d{2}:\d{2}\.\d{3} (?P<level>\S+) \[(?P<thread>.*?)\]"
    r" (?P<source>\S+) (?P<message>.*)$"
)
_SEVERE = frozenset(["SEVERE", "SCHWERWIEGEND", "GRAVE", "\u81f4\u547d\u7684", "\u4e25\u91cd"])
_SESSION_SOURCES = ("org.apache.catalina.ha.", "org.apache.catalina.tribes.")


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record. detail: the lines after it up to the next record, without their line ends."""

    level: str
    source: str
    message: str
    detail: tuple[str, ...] = ()

    @property
    def severe(self) -> bool:
        """Whether its level is SEVERE, in any language that the JDK has (java.util.logging's resource bundles)."""
        return self.level in _SEVERE

    @property
    def about_sessions(self) -> bool:
        """Whether it comes from the session cluster, which sessions.py judges."""
        return self.source.startswith(_SESSION_SOURCES)

    def causes(self) -> list[str]:
        """The exceptions' own words, outermost first: "java.lang.IllegalStateException: no database"."""
        return throwables.causes((self.message, *self.detail))


def parse(lines: Iterable[str]) -> list[LogRecord]:
    """The records of `lines`; lines before the first record, such as the JVM's own, come as level STDERR."""
    records: list[LogRecord] = []
    head: re.Match[str] | None = None
    detail: list[str] = []

    def close() -> None:
        if head is not None:
            records.append(LogRecord(head["level"], head["source"], head["message"], tuple(detail)))
        elif detail:
            records.append(LogRecord("STDERR", "", detail[0], tuple(detail[1:])))

    for line in lines:
        match = _RECORD.match(line.rstrip("\r\n"))
        if match:
            close()
            head, detail = match, []
        else:
            detail.append(line.rstrip("\r\n"))
    close()
    return records


def severe(records: Iterable[LogRecord]) -> list[LogRecord]:
    """The SEVERE ones that tell of the server or the application, not of session replication."""
    return [record for record in records if record.severe and not record.about_sessions]


def server_started(records: Iterable[LogRecord]) -> bool:
    """Whether Tomcat said that it is up. It says so even when the application failed."""
    return any(record.source == "org.apache.catalina.startup.Catalina.start" for record in records)


_PLAIN = (
    ("Exception sending context initialized event", "a listener of the application threw while it started"),
    ("Error configuring application listener", "a listener class of the application cannot be loaded"),
    ("threw load() exception", "a servlet that loads on startup threw in init()"),
    ("Exception starting filter", "a filter of the application threw in init()"),
    ("was not deployed because it contained a deployment descriptor", "the WAR brings its own META-INF/context.xml"),
    ("Exception fixing docBase", "the WAR cannot be unpacked: it is damaged"),
    ("Parse fatal error", "an XML file of the application is not well-formed"),
    ("Parse error in application web.xml", "WEB-INF/web.xml is not valid"),
    ("Failed to process", "a part of the application's configuration is not valid"),
    ("for annotations", "a class file of the application cannot be read"),
    ("java.net.BindException", "a port is taken by another process"),
    ("java.lang.OutOfMemoryError", "the JVM ran out of memory: raise -Xmx in tomcat.jvm"),
    ("java.lang.UnsupportedClassVersionError", "a class needs a newer Java than the slot has"),
)


def explain(records: list[LogRecord]) -> str:
    """Why a start failed, in plain words with the log's own cause; "" when the log does not tell.

    The first record that says something known tells most, then the first one with an exception: later ones say only
    that something had failed before.
    """
    bad = severe(records)
    for record in bad:
        plain = _plain(record)
        if plain:
            return _told(plain, record)
    told = next((record for record in bad if record.causes()), bad[0] if bad else None)
    if told is not None:
        return _told("Tomcat logged a SEVERE record", told)
    lines = [line for record in records if record.level == "STDERR" for line in (record.message, *record.detail)]
    return "\n".join(["the JVM said:", *(f"  {line}" for line in lines[: throwables.MOST_LINES])]) if lines else ""


def _plain(record: LogRecord) -> str:
    whole = "\n".join((record.message, *record.causes()))
    return next((words for sign, words in _PLAIN if sign in whole), "")


def _told(plain: str, record: LogRecord) -> str:
    return "\n".join(
        [plain, f"  {record.message}", *(f"    {cause}" for cause in throwables.without_repeats(record.causes()))]
    )
