"""What a class looks like to Java serialisation: its serialVersionUID and its fields in the stream. Pure.

Source: Java Object Serialization Specification, sections 1.5, 1.12, 1.13, 4.6 and 5.6, and java.io.ObjectStreamClass of
JDK 17 where the text is silent (synthetic members count; a nested class has its InnerClasses modifiers).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from deployer.java import class_file as cf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.java.class_file import ClassFile, Member

Kind = Literal["class", "externalizable", "enum", "record"]

_CLASS_BITS = cf.PUBLIC | cf.FINAL | cf.INTERFACE | cf.ABSTRACT
_ACCESS_BITS = cf.PUBLIC | cf.PRIVATE | cf.PROTECTED | cf.STATIC | cf.FINAL
_FIELD_BITS = _ACCESS_BITS | cf.VOLATILE | cf.TRANSIENT
_METHOD_BITS = _ACCESS_BITS | cf.SYNCHRONIZED | cf.NATIVE | cf.ABSTRACT | cf.STRICT
_OBJECT_IN = "(Ljava/io/ObjectInputStream;)V"
_OBJECT_OUT = "(Ljava/io/ObjectOutputStream;)V"


@dataclass(frozen=True, slots=True)
class SerialForm:
    """How objects of one class are written.

    uid: the serialVersionUID, None when static code works it out. declared: the class names it itself.
    fields: descriptor by name. constants: an enum's. own_fields: it lists its fields in serialPersistentFields.
    writes, reads: it has writeObject, readObject of its own. replaces: it has writeReplace, so another object is
    written in its place.
    """

    kind: Kind
    uid: int | None
    declared: bool
    fields: Mapping[str, str]
    constants: tuple[str, ...] = ()
    own_fields: bool = False
    writes: bool = False
    reads: bool = False
    replaces: bool = False

    @property
    def by_hand(self) -> bool:
        """Whether the class's own code decides what is written, so that its fields say little."""
        return self.kind == "externalizable" or self.own_fields or self.replaces


def serial_form(one: ClassFile, *, externalizable: bool) -> SerialForm:
    """The form of a class that is Serializable. externalizable: it also is Externalizable."""
    kind = _kind(one, externalizable=externalizable)
    declared = declared_uid(one)
    uid = declared[0] if declared else _implied_uid(one, kind)
    has = {(method.name, method.descriptor) for method in one.methods}
    stays = cf.STATIC | cf.TRANSIENT
    own = any(field.name == "serialPersistentFields" and field.access & cf.STATIC for field in one.fields)
    constants = (field.name for field in one.fields if field.access & cf.ENUM)
    return SerialForm(
        kind=kind,
        uid=uid,
        declared=declared is not None,
        fields={field.name: field.descriptor for field in one.fields if not field.access & stays},
        constants=tuple(constants) if kind == "enum" else (),
        own_fields=own and kind == "class",
        writes=("writeObject", _OBJECT_OUT) in has,
        reads=("readObject", _OBJECT_IN) in has,
        replaces=("writeReplace", "()Ljava/lang/Object;") in has,
    )


def declared_uid(one: ClassFile) -> tuple[int | None] | None:
    """The value of the class's own serialVersionUID field; None when it has no such field.

    It must be static and final; Java takes an int, short, char or byte too. The value is None when it is no constant.
    """
    for field in one.fields:
        fixed = cf.STATIC | cf.FINAL
        if field.name == "serialVersionUID" and field.access & fixed == fixed and field.descriptor in "JISCB":
            return (field.constant,)
    return None


def default_uid(one: ClassFile) -> int:
    """The serialVersionUID that Java computes for a class which declares none (section 4.6)."""
    data = bytearray(_utf(one.name.replace("/", ".")))
    methods = [method for method in one.methods if not method.name.startswith("<")]
    data += struct.pack(">I", _class_bits(one, has_methods=bool(methods)))
    for name in sorted(interface.replace("/", ".") for interface in one.header.interfaces):
        data += _utf(name)
    for field in sorted(one.fields, key=lambda field: field.name):
        if not field.access & cf.PRIVATE or not field.access & (cf.STATIC | cf.TRANSIENT):
            data += _item(field.name, field.access & _FIELD_BITS, field.descriptor)
    if any(method.name == "<clinit>" for method in one.methods):
        data += _item("<clinit>", cf.STATIC, "()V")
    constructors = (method for method in one.methods if method.name == "<init>")
    for method in (*sorted(constructors, key=_order), *sorted(methods, key=_order)):
        if not method.access & cf.PRIVATE:
            data += _item(method.name, method.access & _METHOD_BITS, method.descriptor.replace("/", "."))
    digest = hashlib.sha1(data, usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def default_uid_items(one: ClassFile) -> frozenset[str]:
    """What the computed serialVersionUID depends on, one text each; two versions' sets differ where it changed."""
    header = one.header
    items = {f"interface {cf.shown(name)}" for name in header.interfaces}
    items.add(f"modifiers {_words(header.modifiers & _CLASS_BITS)}".strip())
    for field in one.fields:
        if not field.access & cf.PRIVATE or not field.access & (cf.STATIC | cf.TRANSIENT):
            kind = cf.shown_type(field.descriptor)
            items.add(f"field {_words(field.access & _FIELD_BITS)} {kind} {cf.shown(field.name)}".replace("  ", " "))
    for method in one.methods:
        if method.name == "<clinit>":
            items.add("static initialiser")
        elif not method.access & cf.PRIVATE:
            name = "constructor" if method.name == "<init>" else f"method {cf.shown(method.name)}"
            items.add(f"{name}{_parameters(method.descriptor)} {_words(method.access & _METHOD_BITS)}".strip())
    return frozenset(items)


def _kind(one: ClassFile, *, externalizable: bool) -> Kind:
    if one.header.super_name == "java/lang/Record" and one.is_record:
        return "record"
    # A constant with a body is a class of its own; Java writes it as its enum.
    if one.header.modifiers & cf.ENUM or one.header.super_name == "java/lang/Enum":
        return "enum"
    return "externalizable" if externalizable else "class"


def _implied_uid(one: ClassFile, kind: Kind) -> int:
    return 0 if kind in ("enum", "record") else default_uid(one)


def _class_bits(one: ClassFile, *, has_methods: bool) -> int:
    bits = one.header.modifiers & _CLASS_BITS
    if not bits & cf.INTERFACE:
        return bits
    # Old compilers set ABSTRACT for interfaces with methods alone, so that Java takes it from the methods.
    return bits | cf.ABSTRACT if has_methods else bits & ~cf.ABSTRACT


def _order(method: Member) -> tuple[str, str]:
    return method.name, method.descriptor


def _item(name: str, access: int, descriptor: str) -> bytes:
    return _utf(name) + struct.pack(">I", access) + _utf(descriptor)


def _utf(text: str) -> bytes:
    """As java.io.DataOutput.writeUTF writes it."""
    raw = text.encode("utf-8", errors="surrogatepass").replace(b"\0", b"\xc0\x80")
    return struct.pack(">H", len(raw)) + raw


def _words(bits: int) -> str:
    names = {
        cf.PUBLIC: "public",
        cf.PRIVATE: "private",
        cf.PROTECTED: "protected",
        cf.STATIC: "static",
        cf.FINAL: "final",
        cf.SYNCHRONIZED: "synchronized",
        cf.INTERFACE: "interface",
        cf.ABSTRACT: "abstract",
    }
    return " ".join(word for bit, word in names.items() if bits & bit)


def _parameters(descriptor: str) -> str:
    return "(" + ", ".join(cf.shown_type(one) for one in parameter_types(descriptor)) + ")"


@lru_cache(4096)
def parameter_types(descriptor: str) -> tuple[str, ...]:
    """The field descriptors of a method descriptor's parameters; () when it is malformed."""
    found, at, start = [], 1, 1
    while at < len(descriptor) and descriptor[at] != ")":
        if descriptor[at] == "[":
            at += 1
            continue
        if descriptor[at] == "L":
            end = descriptor.find(";", at)
            if end < 0:
                return ()
            at = end
        at += 1
        found.append(descriptor[start:at])
        start = at
    return tuple(found)
