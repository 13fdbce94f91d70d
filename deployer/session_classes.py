"""Would a release lose users' sessions? The classes of its WAR against those of the live release's. Pure.

Consequences are those of Tomcat's DeltaManager with the settings of deployer.tomcat.layout: a session is read as a
whole, so that one attribute which fails takes its session along; what is not Serializable is refused when the
application is <distributable/>, and else stays on the slot where it was set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.java import platform
from deployer.java.class_file import shown
from deployer.java.serial_form import serial_form
from deployer.java.session_graph import Held, held_classes, kept_in, may_mean, put_types
from deployer.session_changes import Change, class_changes, unreadable_here
from deployer.war_rules import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from deployer.java.class_file import ClassFile
    from deployer.java.classes import Classes
    from deployer.java.session_puts import Put
    from deployer.war_rules import Severity

MOST_POSSIBLE = 5
"""Classes of one place that are named one by one though nothing shows them in a session."""

MOST_FINDINGS = 20
"""Findings of one severity that are told."""

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
ACCEPT = "release with --accept-session-loss"
_BORN = frozenset({"java/lang/Enum", "java/lang/Throwable", "java/lang/Error"})
_CONSEQUENCES = {
    "lost": "sessions that hold one will be lost at the switch",
    "risk": "sessions that hold one may be lost at the switch",
    "reset": "users who are there during the release may notice",
    "dropped": "users who are there during the release may notice",
    "back": "sessions that hold what is new would be lost by a rollback",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One release. puts: what it puts into sessions. own: whether a class is the application's, not a library's."""

    classes: Classes
    puts: Sequence[Put]
    distributable: bool
    own: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Unfit:
    """A class whose objects cannot be replicated. fault: what is wrong, to follow its name."""

    name: str
    fault: str
    consequence: str
    certainty: str
    direct: bool


def findings(old: Side, new: Side, changed: Collection[str]) -> list[Finding]:
    """All that is wrong with the step from `old`, the live release, to `new`; errors first.

    changed: the old release's classes whose files differ in the new one or are missing there.
    """
    held = held_classes(old.classes, old.puts, kept_in(old.classes, new.classes))
    found = [
        *_held_findings(old, new, held),
        *_possible(old, new, [name for name in changed if name not in held]),
        *_not_serializable(old, new),
        *_new_classes(old, new),
    ]
    found = list(dict.fromkeys(found))
    shortened: list[Finding] = []
    for severity in _SEVERITIES:
        those = [one for one in found if one.severity == severity]
        more = len(those) - MOST_FINDINGS
        shortened += those[:MOST_FINDINGS]
        if more > 0:
            shortened.append(Finding(severity, f"and {more} more findings like these about session classes", ""))
    return shortened


def _held_findings(old: Side, new: Side, held: dict[str, Held]) -> Iterator[Finding]:
    for name, one in held.items():
        changes = class_changes(name, old.classes, new.classes, needed=one.needed)
        if changes:
            yield _finding(name, changes, f"{one.certainty}: {one.why}", fatal="error")


def _finding(name: str, changes: list[Change], certainty: str, *, fatal: Severity) -> Finding:
    """One class's changes, the worst first. fatal: the severity of sessions that will be lost."""
    order = list(_CONSEQUENCES)
    changes = sorted(changes, key=lambda change: order.index(change.effect))
    worst = changes[0].effect
    told = "; ".join(change.what for change in changes)
    mends = [change.mend for change in changes if change.mend] + ([ACCEPT] if worst == "lost" else [])
    severity: Severity = fatal if worst == "lost" else "note" if worst == "back" else "warning"
    what = f"session class {shown(name)}: {told}: {_CONSEQUENCES[worst]} ({certainty})"
    return Finding(severity, what, ", or ".join(mends))


def _possible(old: Side, new: Side, changed: Iterable[str]) -> Iterator[Finding]:
    """Serializable classes which nothing shows in a session, but which would lose sessions if one were there."""
    own: list[tuple[str, list[Change]]] = []
    others: list[str] = []
    for name in changed:
        if old.classes.serializable(name) is not True or _serializable_by_birth(old.classes, name):
            continue
        lost = [one for one in class_changes(name, old.classes, new.classes, needed=True) if one.effect == "lost"]
        if lost and old.own(name):
            own.append((name, lost))
        elif lost:
            others.append(name)
    for name, lost in own[:MOST_POSSIBLE]:
        yield _finding(name, lost, "possible: nothing shows one in a session", fatal="warning")
    more = [name for name, _ in own[MOST_POSSIBLE:]]
    for whose, names in (("more Serializable classes of the application", more), ("of libraries", others)):
        if names:
            what = f"the new release cannot read objects of {len(names)} {whose}: {_some(names)}"
            yield Finding("note", f"{what} (possible: nothing shows one in a session)", "")


def _serializable_by_birth(classes: Classes, name: str) -> bool:
    """Servlets, exceptions and enums inherit it, whether or not one is ever in a session."""
    return any(
        parent in _BORN or parent.endswith(("Exception", "/HttpServlet", "/GenericServlet", "/HttpFilter"))
        for parent in classes.supertypes(name)
    )


def _not_serializable(old: Side, new: Side) -> Iterator[Finding]:
    """What the new release puts into sessions and cannot replicate, each fault once.

    A warning when the live release does the same, and when a method that is not seen through puts it there.
    """
    before = {(one.name, one.fault) for one in _unfit(old)}
    now: dict[tuple[str, str], _Unfit] = {}
    for one in _unfit(new):
        now.setdefault((one.name, one.fault), one)
    for key, one in now.items():
        known = key in before
        also = "; the live release does the same" if known else ""
        what = f"{shown(one.name)} {one.fault}: {one.consequence} ({one.certainty}{also})"
        advice = "make it Serializable, or keep it out of the session"
        if known or not one.direct:
            yield Finding("warning", what, advice)
        else:
            yield Finding("error", what, f"{advice}, or {ACCEPT}")


def _unfit(side: Side) -> Iterator[_Unfit]:
    classes = side.classes
    stays = "what such a request changes stays on one slot, and the attribute reads as null after a switch"
    refused = "each request that sets it answers 500" if side.distributable else stays
    for put in side.puts:
        certainty, names = put_types(classes, put)
        cannot = bool(names) and all(classes.serializable(name) is False for name in names)
        if cannot or (not names and _never(put.type, exact=put.exact)):
            fault = "is not Serializable and is put into the session"
            certainty = certainty if names or not put.direct else "certain"
            yield _Unfit(names[0] if names else put.type, fault, refused, f"{certainty}: {put.where}", put.direct)
    for name, one in held_classes(classes, side.puts, _always).items():
        certain = f"{one.certainty}: {one.why}"
        why = unreadable_here(name, classes)
        if why:
            lost = "each session that holds one is lost at every switch"
            yield _Unfit(name, f"cannot be read back, since {why}", lost, certain, one.direct)
        for field, kind in _unfit_fields(classes, name):
            fault = f"is not Serializable, and {shown(name)}.{shown(field)} holds it"
            yield _Unfit(kind, fault, stays, f"likely: {one.why}", one.direct)


def _unfit_fields(classes: Classes, name: str) -> Iterator[tuple[str, str]]:
    """Fields of a held class that serialisation must write and cannot: name and class."""
    one = classes.find(name)
    if one is None:
        return
    form = serial_form(one, externalizable=classes.externalizable(name))
    if form.by_hand or form.writes or form.kind == "enum":
        return
    for field, descriptor in form.fields.items():
        kind = descriptor.lstrip("[").removeprefix("L").removesuffix(";")
        meant = may_mean(classes, kind)
        if kind in platform.NEVER or (meant and all(classes.serializable(one) is False for one in meant)):
            yield field, kind


def _never(name: str, *, exact: bool) -> bool:
    return name in platform.NEVER or (exact and platform.serializable(name) is False)


def _always(_one: ClassFile, _member: str) -> bool:
    return True


def _new_classes(old: Side, new: Side) -> Iterator[Finding]:
    """Classes that only the new release has in its sessions: the live release cannot read them after a rollback."""
    added = [name for name in held_classes(new.classes, new.puts, _always) if name not in old.classes.headers]
    if added:
        what = f"the new release keeps in sessions what the live one does not know: {_some(added)}"
        yield Finding("note", f"{what}; a rollback would lose what changed in such sessions meanwhile", "")


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_POSSIBLE
    return ", ".join(map(shown, names[:MOST_POSSIBLE])) + (f" and {more} more" if more > 0 else "")
