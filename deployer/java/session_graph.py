"""Which classes of an application have objects in its sessions: what is put there, and what that holds. Pure."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deployer.java import class_file as cf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from deployer.java.class_file import ClassFile, Member
    from deployer.java.classes import Classes
    from deployer.java.session_puts import Put

Certainty = Literal["certain", "likely", "possible"]

MOST_SUBTYPES = 20
"""Where more classes than these fit a type, the type says nothing of which is used."""

_NAMES = re.compile(r"L([^;<>:\[]+)")


@dataclass(frozen=True, slots=True)
class Held:
    """A class with objects in sessions. why: for people.

    needed: False when only what the other release has dropped leads to it, so that its objects are skipped there.
    direct: as of the Put that it goes back to.
    """

    certainty: Certainty
    why: str
    needed: bool = True
    direct: bool = True


def held_classes(classes: Classes, puts: Iterable[Put], keeps: Callable[[ClassFile, str], bool]) -> dict[str, Held]:
    """The Serializable classes of the application that have objects in sessions.

    keeps: whether the other release still has a class's field, or the superclass of that name.
    """
    found: dict[str, Held] = {}
    waiting: deque[tuple[str, Held]] = deque(_roots(classes, puts))
    later: deque[tuple[str, Held]] = deque()
    # What is needed comes first: then the first way to a class is the one that counts.
    while waiting or later:
        name, held = (waiting or later).popleft()
        if name in found or classes.serializable(name) is False:
            continue
        found[name] = held
        one = classes.find(name)
        if one is None:
            continue
        for next_name, why, kept in _next(classes, one, keeps):
            needed = held.needed and kept
            (waiting if needed else later).append((next_name, Held("likely", why, needed, held.direct)))
    return found


def kept_in(old: Classes, new: Classes) -> Callable[[ClassFile, str], bool]:
    """For held_classes: whether `new` still has a class's field, or its superclass, of that name."""

    def keeps(one: ClassFile, member: str) -> bool:
        if member in old.headers:
            return member in new.supertypes(one.name)
        after = new.find(one.name)
        return after is None or any(field.name == member for field in live_fields(after))

    return keeps


def put_types(classes: Classes, put: Put) -> tuple[Certainty, list[str]]:
    """The classes of the application that a put may mean, and how certain that is."""
    certainty, names = _meant(classes, put.type, exact=put.exact)
    return certainty if put.direct else "likely", names


def may_mean(classes: Classes, name: str) -> list[str]:
    """The classes of the application whose objects a value of this declared type may be; [] when too many are."""
    return _meant(classes, name, exact=False)[1]


def live_fields(one: ClassFile) -> Iterator[Member]:
    """The fields that serialisation writes unless the class decides otherwise."""
    return (field for field in one.fields if not field.access & (cf.STATIC | cf.TRANSIENT))


def _roots(classes: Classes, puts: Iterable[Put]) -> list[tuple[str, Held]]:
    roots = []
    for put in puts:
        certainty, names = put_types(classes, put)
        roots += [(name, Held(certainty, put.where, direct=put.direct)) for name in names]
    return sorted(roots, key=lambda root: (not root[1].direct, root[1].certainty))


def _meant(classes: Classes, name: str, *, exact: bool) -> tuple[Certainty, list[str]]:
    name = name.lstrip("[").removeprefix("L").removesuffix(";") if name.startswith("[") else name
    header = classes.headers.get(name)
    if header is None:
        return "possible", []
    if exact or header.modifiers & cf.FINAL:
        return "certain", [name]
    own = [] if header.modifiers & (cf.ABSTRACT | cf.INTERFACE) else [name]
    below = classes.subtypes(name)
    concrete = [one for one in below if not classes.headers[one].modifiers & (cf.ABSTRACT | cf.INTERFACE)]
    if own and not concrete:
        return "certain", own
    return "likely", own + (concrete if len(concrete) <= MOST_SUBTYPES else [])


def _next(classes: Classes, one: ClassFile, keeps: Callable[[ClassFile, str], bool]) -> Iterator[tuple[str, str, bool]]:
    """The classes that an object of this one holds, and the superclasses that are written with it."""
    shown = cf.shown(one.name)
    for parent in classes.superclasses(one.name):
        yield parent, f"{shown} extends it", keeps(one, parent)
    for field in live_fields(one):
        kept = keeps(one, field.name)
        for name in dict.fromkeys(_NAMES.findall(f"{field.descriptor} {field.signature}")):
            for meant in may_mean(classes, name):
                yield meant, f"{shown}.{cf.shown(field.name)} holds it", kept
    # A class that is written as another object keeps that one's class beside it.
    if any(method.name == "writeReplace" for method in one.methods):
        for name in classes.headers:
            if name.startswith(f"{one.name}$"):
                yield name, f"{shown} may be written as it", True
