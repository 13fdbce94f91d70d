"""Reads Java class files (JVMS chapter 4) as far as serialisation and sessions need them. Pure.

No class-file library for Python is still kept up, and a Java helper would need a JVM to run the release's own static
initialisers before the release is trusted; so this reads the bytes itself. It takes any input: every index and length
is checked, each string is decoded once, and the work is linear in the bytes given.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn

from deployer.errors import Refused

LARGEST_CLASS = 8 << 20
"""Bytes of one class file; those of real compilers stay below 1 MiB, since a method has at most 64 KiB of code."""

PUBLIC, PRIVATE, PROTECTED, STATIC, FINAL = 0x1, 0x2, 0x4, 0x8, 0x10
SYNCHRONIZED, VOLATILE, TRANSIENT, NATIVE = 0x20, 0x40, 0x80, 0x100
INTERFACE, ABSTRACT, STRICT, SYNTHETIC, ENUM = 0x200, 0x400, 0x800, 0x1000, 0x4000

_ACC_SUPER = 0x20
_MAGIC = 0xCAFEBABE
_UTF8, _INTEGER, _LONG, _CLASS, _STRING = 1, 3, 5, 7, 8
_FIELD, _METHOD, _INTERFACE_METHOD, _NAME_AND_TYPE = 9, 10, 11, 12
_SIZES = (99999999, 0, 99999999, 5, 5, 9, 9, 3, 3, 5, 5, 5, 5, 99999999, 99999999, 4, 3, 5, 5, 3, 3)
"""Bytes of a constant by its tag (JVMS 4.4), 0 for a Utf8, which tells its own; no file is as long as an unknown's."""

_TWO_PLACES = 9
"""The size of a Long or Double, which takes two indexes."""

_U2 = struct.Struct(">H").unpack_from
_U4 = struct.Struct(">I").unpack_from
_I4 = struct.Struct(">i").unpack_from
_I8 = struct.Struct(">q").unpack_from
_HEAD = struct.Struct(">IHH").unpack_from


class ClassFileError(Refused):
    """These bytes are no class file that a JVM would load."""


@dataclass(frozen=True, slots=True)
class Code:
    """A method's body. frames: the content of its StackMapTable, b"" when it has none."""

    max_locals: int
    instructions: bytes
    frames: bytes


@dataclass(frozen=True, slots=True)
class Member:
    """A field or a method. constant: an integral ConstantValue. body: where its Code attribute's content is."""

    name: str
    descriptor: str
    access: int
    signature: str = ""
    constant: int | None = None
    body: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What a class says of itself first. Names are internal ones: shop/Cart. modifiers: as Class.getModifiers()."""

    name: str
    super_name: str | None
    interfaces: tuple[str, ...]
    modifiers: int

    @property
    def is_interface(self) -> bool:
        """Whether it is an interface (or an annotation)."""
        return bool(self.modifiers & INTERFACE)


class ConstantPool:
    """The constants of a class file, read when they are asked for. Methods raise ClassFileError."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._texts: dict[int, str] = {}
        count = _u2(data, start)
        places = self._places = [0] * count
        at, index = start + 2, 1
        try:
            # Nearly all of the time that a large WAR takes is spent here.
            while index < count:
                places[index] = at
                size = _SIZES[data[at]]
                at += size or 3 + (data[at + 1] << 8) + data[at + 2]
                index += 2 if size == _TWO_PLACES else 1
        except IndexError:
            at = len(data) + 1
        if at > len(data):
            _bad("its constants are cut off or have an unknown kind")
        self.end = at

    def __repr__(self) -> str:
        return f"<ConstantPool of {len(self._places) - 1}>"

    def text(self, index: int) -> str:
        """A Utf8 constant. Characters beyond U+FFFF stay surrogate pairs, as Java has them."""
        known = self._texts.get(index)
        if known is None:
            at = self._place(index, _UTF8)
            raw = self._data[at + 3 : at + 3 + _u2(self._data, at + 1)]
            try:
                known = raw.replace(b"\xc0\x80", b"\0").decode("utf-8", errors="surrogatepass")
            except UnicodeDecodeError:
                _bad(f"constant {index} is not modified UTF-8")
            self._texts[index] = known
        return known

    def class_name(self, index: int) -> str:
        """A Class constant's internal name; an array's is its descriptor."""
        return self.text(_u2(self._data, self._place(index, _CLASS) + 1))

    def member(self, index: int) -> tuple[str, str, str]:
        """A field or method reference: owner, name, descriptor."""
        at = self._place(index, _FIELD, _METHOD, _INTERFACE_METHOD)
        return self.class_name(_u2(self._data, at + 1)), *self.name_and_type(_u2(self._data, at + 3))

    def call_site(self, index: int) -> tuple[str, str]:
        """An InvokeDynamic or Dynamic constant: name, descriptor."""
        return self.name_and_type(_u2(self._data, self._place(index, 17, 18) + 3))

    def name_and_type(self, index: int) -> tuple[str, str]:
        """A NameAndType constant."""
        at = self._place(index, _NAME_AND_TYPE)
        return self.text(_u2(self._data, at + 1)), self.text(_u2(self._data, at + 3))

    def loaded_type(self, index: int) -> str | None:
        """The class of what `ldc` pushes, None for numbers and for what is worked out at run time."""
        tag = self._data[self._any_place(index)]
        return {_STRING: "java/lang/String", _CLASS: "java/lang/Class"}.get(tag)

    def integral(self, index: int) -> int | None:
        """An Integer or Long constant's value; None for another kind."""
        at = self._any_place(index)
        tag = self._data[at]
        if tag == _INTEGER:
            return int(_I4(self._data, at + 1)[0])
        return int(_I8(self._data, at + 1)[0]) if tag == _LONG else None

    def _place(self, index: int, *tags: int) -> int:
        at = self._any_place(index)
        if self._data[at] not in tags:
            _bad(f"constant {index} is not what is expected there")
        return at

    def _any_place(self, index: int) -> int:
        at = self._places[index] if index < len(self._places) else 0
        if not at:
            _bad(f"there is no constant {index}")
        return at


@dataclass(frozen=True, slots=True)
class ClassFile:
    """One class. annotations: the type descriptors of those on the class itself that are there at run time."""

    header: Header
    fields: tuple[Member, ...]
    methods: tuple[Member, ...]
    is_record: bool
    annotations: tuple[str, ...]
    pool: ConstantPool
    data: bytes

    @property
    def name(self) -> str:
        """The internal name: shop/Cart."""
        return self.header.name

    def code(self, method: Member) -> Code | None:
        """A method's body; None when it has none. Raises ClassFileError."""
        return None if method.body is None else _read_code(self.data, self.pool, *method.body)


def read_header(data: bytes) -> Header:
    """The head of a class file, without its members; modifiers: those of the file, also for a nested class.

    Raises ClassFileError.
    """
    return _header(data, _pool(data))[0]


def read_class(data: bytes) -> ClassFile:
    """A class file without its methods' code, which ClassFile.code reads. Raises ClassFileError."""
    try:
        return _read_class(data)
    except struct.error:
        _bad("it is cut off")


def shown(name: str) -> str:
    """An internal name as people write it, without anything that a terminal would obey: shop.Cart."""
    text = name.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("/", ".")
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= 200 else text[:200] + "…"


def shown_type(descriptor: str) -> str:
    """A field descriptor as people write it: `[Ljava/lang/String;` is java.lang.String[]."""
    depth = len(descriptor) - len(descriptor.lstrip("["))
    core = descriptor[depth:]
    primitives = {"B": "byte", "C": "char", "D": "double", "F": "float", "I": "int", "J": "long", "S": "short"}
    primitives |= {"Z": "boolean", "V": "void"}
    return primitives.get(core, shown(core.removeprefix("L").removesuffix(";"))) + "[]" * depth


def _read_class(data: bytes) -> ClassFile:
    pool = _pool(data)
    header, at = _header(data, pool)
    fields, at = _members(data, pool, at)
    methods, at = _members(data, pool, at)
    modifiers, is_record = header.modifiers, False
    annotations: tuple[str, ...] = ()
    for name, start, end in _attributes(data, pool, at)[0]:
        if name == "InnerClasses":
            modifiers = _inner_modifiers(data, pool, start, header.name, modifiers)
        elif name == "RuntimeVisibleAnnotations":
            annotations = _annotations(data, pool, start, end)
        elif name == "Record":
            is_record = True
    header = Header(header.name, header.super_name, header.interfaces, modifiers)
    return ClassFile(header, fields, methods, is_record, annotations, pool, data)


def _pool(data: bytes) -> ConstantPool:
    if len(data) > LARGEST_CLASS:
        _bad(f"it has {len(data)} bytes; {LARGEST_CLASS} are the most")
    if len(data) < 10 or _HEAD(data)[0] != _MAGIC:
        _bad("it does not begin as a class file does")
    return ConstantPool(data, 8)


def _header(data: bytes, pool: ConstantPool) -> tuple[Header, int]:
    at = pool.end
    access, this, parent, count = (_u2(data, at + offset) for offset in (0, 2, 4, 6))
    names = tuple(pool.class_name(_u2(data, at + 8 + 2 * number)) for number in range(count))
    super_name = pool.class_name(parent) if parent else None
    return Header(pool.class_name(this), super_name, names, access & ~_ACC_SUPER), at + 8 + 2 * count


def _members(data: bytes, pool: ConstantPool, at: int) -> tuple[tuple[Member, ...], int]:
    members = []
    count, at = _u2(data, at), at + 2
    for _ in range(count):
        access, name, descriptor = _u2(data, at), pool.text(_u2(data, at + 2)), pool.text(_u2(data, at + 4))
        attributes, at = _attributes(data, pool, at + 6)
        signature, constant, body = "", None, None
        for kind, start, end in attributes:
            if kind == "Code":
                body = (start, end)
            elif kind == "ConstantValue":
                constant = pool.integral(_u2(data, start))
            elif kind == "Signature":
                signature = pool.text(_u2(data, start))
        members.append(Member(name, descriptor, access, signature, constant, body))
    return tuple(members), at


def _attributes(data: bytes, pool: ConstantPool, at: int) -> tuple[list[tuple[str, int, int]], int]:
    """Name, start and end of each attribute's content, and where they end."""
    found = []
    count, at = _u2(data, at), at + 2
    for _ in range(count):
        start = at + 6
        end = start + int(_U4(data, at + 2)[0])
        if end > len(data):
            _bad("an attribute is longer than the class")
        found.append((pool.text(_u2(data, at)), start, end))
        at = end
    return found, at


def _inner_modifiers(data: bytes, pool: ConstantPool, at: int, name: str, own: int) -> int:
    """A nested class's modifiers are in its InnerClasses attribute: the JVM takes them from there too."""
    for number in range(_u2(data, at)):
        entry = at + 2 + 8 * number
        if pool.class_name(_u2(data, entry)) == name:
            return _u2(data, entry + 6) & ~_ACC_SUPER
    return own


def _read_code(data: bytes, pool: ConstantPool, start: int, end: int) -> Code:
    try:
        length = int(_U4(data, start + 4)[0])
        at = start + 8 + length
        if at > end or length > 0xFFFF:
            _bad("a method's code is longer than its attribute")
        attributes, _ = _attributes(data, pool, at + 2 + 8 * _u2(data, at))
    except struct.error:
        _bad("a method's code is cut off")
    frames = next((data[first:last] for name, first, last in attributes if name == "StackMapTable"), b"")
    return Code(_u2(data, start + 2), data[start + 8 : at], frames)


def _annotations(data: bytes, pool: ConstantPool, start: int, end: int) -> tuple[str, ...]:
    """Types of the annotations, in order; elements are only skipped (JVMS 4.7.16)."""
    found = []
    count, at = _u2(data, start), start + 2
    for _ in range(count):
        found.append(pool.text(_u2(data, at)))
        at = _skip_annotation(data, at, end)
    return tuple(found)


def _skip_annotation(data: bytes, at: int, end: int) -> int:
    """Where an annotation ends. Without recursion, since its values nest as deeply as its author likes."""
    pairs, at = [_u2(data, at + 2)], at + 4
    # pairs: element pairs left of each annotation around here, or a negative count of array values left.
    while pairs:
        left = pairs.pop()
        if left == 0:
            continue
        pairs.append(left - 1 if left > 0 else left + 1)
        at += 2 if left > 0 else 0
        if at >= end:
            _bad("an annotation is cut off")
        tag, at = chr(data[at]), at + 1
        if tag == "@":
            pairs.append(_u2(data, at + 2))
            at += 4
        elif tag == "[":
            pairs.append(-_u2(data, at))
            at += 2
        else:
            at += 4 if tag == "e" else 2
    return at


def _u2(data: bytes, at: int) -> int:
    try:
        return int(_U2(data, at)[0])
    except struct.error:
        _bad("it is cut off")


def _bad(why: str) -> NoReturn:
    raise ClassFileError(f"not a class file that can be read: {why}")
