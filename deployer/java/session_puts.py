"""What an application puts into its sessions, as far as its bytecode shows. Pure.

A call of HttpSession.setAttribute shows the type of its value. Where the value is a parameter of the method around the
call, the callers of that method are looked at in the same way, over a bounded number of rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.java import class_file as cf
from deployer.java.bytecode import calls
from deployer.java.class_file import ClassFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from deployer.java.bytecode import Call
    from deployer.java.class_file import ClassFile
    from deployer.java.classes import Classes

MOST_ROUNDS = 3
"""How many methods may pass a value on before it reaches setAttribute."""

MOST_CODE = 64 << 20
"""Bytes of classes whose code is followed in all."""

MOST_SINKS = 300
"""Methods that pass a value on; names beyond these are not followed."""

_SESSIONS = ("jakarta/servlet/http/HttpSession", "javax/servlet/http/HttpSession")
_SET = "(Ljava/lang/String;Ljava/lang/Object;)V"
_RELATIVES = 50
_MARKS = frozenset(
    {
        "Ljakarta/enterprise/context/SessionScoped;",
        "Ljavax/enterprise/context/SessionScoped;",
        "Ljavax/faces/bean/SessionScoped;",
        "Lorg/springframework/web/context/annotation/SessionScope;",
    }
)
_MARK_INTERFACES = frozenset(
    f"{api}/servlet/http/HttpSession{role}Listener"
    for api in ("jakarta", "javax")
    for role in ("Binding", "Activation")
)


@dataclass(frozen=True, slots=True)
class Put:
    """A type that goes into a session. exact: of no subclass. where: by whom, for people.

    direct: the call itself is setAttribute, not a method that may do other things with the value too.
    """

    type: str
    exact: bool
    where: str
    direct: bool = True


@dataclass(frozen=True, slots=True)
class _Sink:
    """A method whose parameter ends up in a session. owners: the types that a call of it may name."""

    owners: frozenset[str]
    name: str
    descriptor: str
    parameter: int
    direct: bool = False


def session_puts(classes: Classes) -> list[Put]:
    """Every value seen on its way into a session, each type once from each place."""
    puts: dict[Put, None] = {}
    owners = frozenset((*_SESSIONS, *(one for session in _SESSIONS for one in classes.subtypes(session)[:_RELATIVES])))
    sinks = [_Sink(owners, name, _SET, 1, direct=True) for name in ("setAttribute", "putValue")]
    known = set(sinks)
    left, marks = MOST_CODE, _any_of((*_MARKS, *_MARK_INTERFACES))
    for _ in range(MOST_ROUNDS):
        found: dict[_Sink, None] = {}
        for one in _worth_a_look(classes, sinks, marks):
            left -= len(one.data)
            if left < 0:
                return list(puts)
            puts.update(dict.fromkeys(_marked(classes, one)))
            for put, sink in _look_at(classes, one, sinks):
                if put is not None:
                    puts[put] = None
                if sink is not None and sink not in known:
                    known.add(sink)
                    found[sink] = None
        sinks, marks = list(found)[:MOST_SINKS], _nothing
        if not sinks:
            break
    return list(puts)


def _marked(classes: Classes, one: ClassFile) -> Iterator[Put]:
    """A class that says itself that it lives in sessions, by an annotation or an interface."""
    if one.header.is_interface:
        return
    marks = [mark[1:-1] for mark in one.annotations if mark in _MARKS]
    marks += [parent for parent in classes.supertypes(one.name) if parent in _MARK_INTERFACES]
    if marks:
        yield Put(one.name, exact=False, where=f"{marks[0].rpartition('/')[2]} on it")


def _worth_a_look(classes: Classes, sinks: list[_Sink], marks: Callable[[bytes], bool]) -> Iterator[ClassFile]:
    """The classes that may call a sink, since they name its method and a type that has it, and those with a mark."""
    names = _any_of(sink.name for sink in sinks)
    owners = _any_of(owner for sink in sinks for owner in sink.owners)
    for name in classes.headers:
        try:
            data = classes.data(name)
        except ClassFileError:
            classes.unreadable.add(name)
            continue
        if (names(data) and owners(data)) or marks(data):
            one = classes.find(name)
            if one is not None:
                yield one


def _nothing(_data: bytes) -> bool:
    return False


def _any_of(words: Iterable[str]) -> Callable[[bytes], bool]:
    """Whether one of the words is in some bytes. Word by word: that is five times as quick as a pattern of all."""
    encoded = sorted({word.encode("utf-8", "surrogatepass") for word in words})
    return lambda data: any(word in data for word in encoded)


def _look_at(classes: Classes, one: ClassFile, sinks: list[_Sink]) -> Iterator[tuple[Put | None, _Sink | None]]:
    """What one class passes to sinks: a type, or a parameter that makes the method around the call a sink."""
    names = frozenset(sink.name for sink in sinks)
    for method in one.methods:
        try:
            for call in calls(one, method, names.__contains__):
                for sink in sinks:
                    if not _meets(call, sink) or sink.parameter >= len(call.arguments):
                        continue
                    word = call.arguments[sink.parameter]
                    if word.parameter is not None:
                        owners = _related(classes, one.name)
                        yield None, _Sink(owners, method.name, method.descriptor, word.parameter)
                    if (word.type is not None and word.type != "java/lang/Object") or (word.exact and word.type):
                        where = f"set in {cf.shown(one.name)}.{cf.shown(method.name)}"
                        yield Put(word.type, word.exact, where, sink.direct), None
        except ClassFileError:
            classes.unreadable.add(one.name)


def _meets(call: Call, sink: _Sink) -> bool:
    return call.name == sink.name and call.descriptor == sink.descriptor and call.owner in sink.owners


def _related(classes: Classes, name: str) -> frozenset[str]:
    """The types of the application through which a method of this class may be called."""
    above = [one for one in classes.supertypes(name) if one in classes.headers]
    return frozenset((above + classes.subtypes(name))[:_RELATIVES])
