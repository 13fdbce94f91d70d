"""Compares two WARs for what becomes of users' sessions between them. Reads files, changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.java.session_puts import Put, session_puts
from deployer.session_classes import Side, findings
from deployer.war_classes import Archives, application
from deployer.war_rules import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.war_classes import Application

MOST_SKIPPED = 5


def compare_sessions(old_war: Path, new_war: Path) -> list[Finding]:
    """What would become of the live release's sessions (`old_war`) in the new release; errors first, [] for nothing.

    error: sessions will be lost, or requests will fail. Raises Refused when a WAR cannot be read. About 1 s for each
    3,000 classes.
    """
    archives = Archives()
    with application(old_war, archives) as old, application(new_war, archives) as new:
        changed = [name for name in old.entries if old.digest(name) != new.digest(name)]
        found = findings(_side(old), _side(new), changed)
        unreadable = sorted(old.classes.unreadable | new.classes.unreadable)
    skipped = list(dict.fromkeys((*old.skipped, *new.skipped, *unreadable)))
    if skipped:
        named = "; ".join(skipped[:MOST_SKIPPED]) + ("; …" if len(skipped) > MOST_SKIPPED else "")
        found.append(Finding("note", f"not all classes could be looked at for sessions: {named}", ""))
    return found


def _side(one: Application) -> Side:
    puts = [Put(name, exact=False, where=f"a bean of {page}") for name, page in one.beans]
    return Side(one.classes, [*puts, *session_puts(one.classes)], one.distributable, one.own)
