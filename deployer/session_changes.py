"""What a new release's class makes of objects that the live release's class wrote. Pure.

Source: Java Object Serialization Specification, chapter 5, and java.io.ObjectInputStream of JDK 17; tests hold each
answer against what that class does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deployer.java import class_file as cf
from deployer.java import platform
from deployer.java.class_file import shown, shown_type
from deployer.java.serial_form import default_uid_items, serial_form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.java.class_file import ClassFile, Member
    from deployer.java.classes import Classes
    from deployer.java.serial_form import SerialForm

Effect = Literal["lost", "risk", "reset", "dropped", "back"]
"""lost: reading fails. risk: it fails for some values. reset: a field gets null, 0 or false. dropped: a value is lost.
back: the live release cannot read what the new one writes."""

MOST_NAMED = 6
"""How many members of one kind are named."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. mend: what would undo it, "" when nothing simple does."""

    effect: Effect
    what: str
    mend: str = ""


def class_changes(name: str, old: Classes, new: Classes, *, needed: bool) -> list[Change]:
    """How the class differs for objects that the old release wrote; [] when they are read as they were.

    needed: False when the new release skips these objects, though it still looks at their class.
    """
    before, after = old.find(name), new.find(name)
    if before is None or before.header.is_interface:
        return []
    if after is None:
        unread = name in new.unreadable
        gone = Change("risk" if unread else "lost", "its class file cannot be read" if unread else "the class is gone")
        return [gone] if needed else []
    was = serial_form(before, externalizable=old.externalizable(name))
    if was.replaces:
        return []
    if new.serializable(name) is False:
        if before.header.modifiers & cf.ABSTRACT:
            # It is only ever a part of an object, and one that Java skips when the class has no part in it any more.
            return [Change("dropped", "it is no longer Serializable, so what its fields held is dropped")]
        return [Change("lost", "it is no longer Serializable", f"let {shown(name)} implement java.io.Serializable")]
    now = serial_form(after, externalizable=new.externalizable(name))
    found = [*_fatal(before, after, was, now), *_fields(old, new, was, now), *_by_hand(was, now)]
    return found if needed else [change for change in found if change.effect in ("lost", "risk")]


def unreadable_here(name: str, classes: Classes) -> str:
    """Why this release cannot read back what it writes itself of a Serializable class; "" when it can.

    The nearest superclass that is not Serializable is constructed anew, so it needs a constructor without parameters
    (specification, section 1.10).
    """
    one = classes.find(name)
    if one is None or one.header.super_name in ("java/lang/Record", "java/lang/Enum"):
        return ""
    if classes.externalizable(name):
        good = any(_constructs(method) and method.access & cf.PUBLIC for method in one.methods)
        return "" if good else "it is Externalizable and has no public constructor without parameters"
    for parent in classes.superclasses(name):
        if classes.serializable(parent) is False:
            above = classes.find(parent)
            if above is None or any(_constructs(method) for method in above.methods):
                return ""
            return f"its superclass {shown(parent)} is not Serializable and has no constructor without parameters"
    return ""


def _constructs(method: Member) -> bool:
    return method.name == "<init>" and method.descriptor == "()V" and not method.access & cf.PRIVATE


def _fatal(before: ClassFile, after: ClassFile, was: SerialForm, now: SerialForm) -> Iterator[Change]:
    kinds = {was.kind, now.kind}
    if was.kind != now.kind and kinds != {"class", "record"}:
        names = {"class": "a Serializable class", "externalizable": "Externalizable", "record": "a record"}
        named = [names.get(kind, "an enum") for kind in (was.kind, now.kind)]
        yield Change("lost", f"it was {named[0]} and is {named[1]}")
    elif was.kind == "enum":
        yield from _constants(was, now)
    elif now.kind != "record" and (was.uid is None or now.uid is None):
        if was.uid != now.uid or was.fields != now.fields:
            yield Change(
                "risk", "static code works out its serialVersionUID, so it cannot be compared", "make it a number"
            )
    elif now.kind != "record" and was.uid != now.uid:
        yield _new_uid(before, after, was, now)


def _constants(was: SerialForm, now: SerialForm) -> Iterator[Change]:
    gone = [one for one in was.constants if one not in now.constants]
    added = [one for one in now.constants if one not in was.constants]
    if gone:
        yield Change("lost", f"the enum has no {_named(gone)} any more", "keep the constant until no session has it")
    if added:
        yield Change("back", f"the enum gets {_named(added)}")


def _new_uid(before: ClassFile, after: ClassFile, was: SerialForm, now: SerialForm) -> Change:
    mend = f"declare `private static final long serialVersionUID = {was.uid}L;` in {shown(before.name)}"
    change = f"its serialVersionUID changes from {was.uid} to {now.uid}"
    if was.declared and now.declared:
        return Change("lost", change, f"set it back to {was.uid}L if the new class can read the old form")
    if now.declared:
        return Change("lost", f"{change}: the live release declares none, and Java computed it", mend)
    items, others = default_uid_items(before), default_uid_items(after)
    differs = [f"+ {one}" for one in sorted(others - items)] + [f"- {one}" for one in sorted(items - others)]
    why = f" ({_named(differs)})" if differs and not was.declared else ""
    none = "it declares none any more" if was.declared else "it declares none"
    return Change("lost", f"{change}: {none}, so Java computes it from the class's members{why}", mend)


def _fields(old: Classes, new: Classes, was: SerialForm, now: SerialForm) -> Iterator[Change]:
    if was.by_hand or now.by_hand or "enum" in (was.kind, now.kind):
        return
    for name, descriptor in was.fields.items():
        if name in now.fields and now.fields[name] != descriptor:
            change = f"field {shown(name)} was {shown_type(descriptor)} and is {shown_type(now.fields[name])}"
            effect = _type_change(old, new, descriptor, now.fields[name])
            if effect is not None:
                yield Change(effect, change, f"give the new {shown(name)} another name")
    gone = [f"{shown_type(was.fields[name])} {shown(name)}" for name in was.fields if name not in now.fields]
    added = [f"{shown_type(now.fields[name])} {shown(name)}" for name in now.fields if name not in was.fields]
    if gone and not now.reads:
        yield Change("dropped", f"it no longer has {_named(gone)}, so what was there is dropped")
    if added and not now.reads:
        yield Change(
            "reset",
            f"it gets {_named(added)}: null, 0 or false in objects of the live release, whatever its initialiser says",
            "let the code bear that, or set it in readObject or readResolve",
        )


def _type_change(old: Classes, new: Classes, was: str, now: str) -> Effect | None:
    """What becomes of a field whose type changed (section 5.6.2); None when every old value still fits."""
    if was[0] not in "L[" or now[0] not in "L[":
        return "lost"
    first, then = was.removeprefix("L").removesuffix(";"), now.removeprefix("L").removesuffix(";")
    if then in old.supertypes(first) or then in new.supertypes(first) or _wider(then, first):
        return None
    if was[0] == "[" or now[0] == "[":
        lost = {was[0], now[0]} == {"["} and (was[1] not in "L[" or now[1] not in "L[")
        return "lost" if lost or _fixed(first) or _fixed(then) else "risk"
    if first in new.supertypes(then) or not (_fixed(first) or _fixed(then)):
        apart = _is_class(new, first) and _is_class(new, then) and first not in new.supertypes(then)
        return "lost" if apart else "risk"
    other = then if _fixed(first) else first
    return "lost" if (_fixed(first) and _fixed(then)) or new.headers.get(other) is not None else "risk"


def _wider(then: str, first: str) -> bool:
    """Whether a platform type takes what another one holds, of the pairs that are usual in fields."""
    package, _, simple = first.rpartition("/")
    if then in ("java/lang/Object", "java/io/Serializable"):
        return True
    if (package, then.rpartition("/")[0]) == ("java/util", "java/util"):
        collection = then == "java/util/Collection" and simple.endswith(("List", "Set"))
        return collection or simple.endswith(then.rpartition("/")[2])
    return (then, first) == ("java/lang/CharSequence", "java/lang/String")


def _fixed(name: str) -> bool:
    return name in platform.FIXED


def _is_class(classes: Classes, name: str) -> bool:
    header = classes.headers.get(name)
    return header is not None and not header.is_interface


def _by_hand(was: SerialForm, now: SerialForm) -> Iterator[Change]:
    if was.kind != now.kind:
        return
    if now.kind == "externalizable" and was.fields != now.fields:
        yield Change(
            "risk", "it writes itself (Externalizable) and its fields changed", "see that readExternal reads both"
        )
    elif was.own_fields or now.own_fields:
        if was.own_fields != now.own_fields or was.fields != now.fields:
            yield Change("risk", "it lists what is written in serialPersistentFields, and its fields changed")
    elif now.reads and not was.writes and not was.reads:
        yield Change("risk", "it gets a readObject, which fails if it reads more than defaultReadObject does")
    elif now.reads and was.fields != now.fields:
        yield Change("risk", "its fields changed and its own readObject reads them", "see that it reads both forms")


def _named(words: list[str]) -> str:
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
