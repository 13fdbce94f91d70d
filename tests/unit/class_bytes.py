"""Makes class files byte by byte, for tests that need no compiler."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

PUT = ("jakarta/servlet/http/HttpSession", "setAttribute", "(Ljava/lang/String;Ljava/lang/Object;)V")


def u2(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}H", *numbers)


@dataclass
class ClassBytes:
    """A class file in the making. A method's code may ask for constants: self.class_of("shop/Cart")."""

    name: str
    parent: str = "java/lang/Object"
    interfaces: tuple[str, ...] = ()
    access: int = 0x21
    pool: list[bytes] = field(default_factory=list)
    fields: list[bytes] = field(default_factory=list)
    methods: list[bytes] = field(default_factory=list)
    attributes: list[bytes] = field(default_factory=list)

    def constant(self, raw: bytes) -> int:
        if raw not in self.pool:
            self.pool.append(raw)
            if raw[0] in (5, 6):
                self.pool.append(b"")
        return self.pool.index(raw) + 1

    def text(self, value: str) -> int:
        raw = value.encode("utf-8", "surrogatepass").replace(b"\0", b"\xc0\x80")
        return self.constant(b"\x01" + u2(len(raw)) + raw)

    def class_of(self, name: str) -> int:
        return self.constant(b"\x07" + u2(self.text(name)))

    def member(self, tag: int, owner: str, name: str, descriptor: str) -> int:
        both = self.constant(b"\x0c" + u2(self.text(name), self.text(descriptor)))
        return self.constant(bytes([tag]) + u2(self.class_of(owner), both))

    def attribute(self, name: str, content: bytes) -> bytes:
        return u2(self.text(name)) + struct.pack(">I", len(content)) + content

    def add_field(self, name: str, descriptor: str, access: int = 2, *attributes: bytes) -> None:
        head = u2(access, self.text(name), self.text(descriptor), len(attributes))
        self.fields.append(head + b"".join(attributes))

    def add_uid(self, value: int) -> None:
        constant = self.constant(b"\x05" + struct.pack(">q", value))
        self.add_field("serialVersionUID", "J", 0x1A, self.attribute("ConstantValue", u2(constant)))

    def add_method(self, name: str, descriptor: str, code: bytes, *, frames: bytes = b"", access: int = 1) -> None:
        table = self.attribute("StackMapTable", frames) if frames else b""
        body = u2(9, 9) + struct.pack(">I", len(code)) + code + u2(0, 1 if frames else 0) + table
        head = u2(access, self.text(name), self.text(descriptor), 1)
        self.methods.append(head + self.attribute("Code", body))

    def add_put(self, method: str, made: str) -> None:
        """A method that makes an object and puts it into the session that it gets."""
        new = self.class_of(made)
        code = b"\x2b\x01\xbb" + u2(new) + b"\x59\xb7" + u2(self.member(10, made, "<init>", "()V"))
        code += b"\xb9" + u2(self.member(11, *PUT)) + b"\x03\x00\xb1"
        self.add_method(method, "(Ljakarta/servlet/http/HttpSession;)V", code)

    def bytes(self) -> bytes:
        this, parent = self.class_of(self.name), self.class_of(self.parent)
        names = u2(len(self.interfaces), *(self.class_of(one) for one in self.interfaces))
        parts = [self.fields, self.methods, self.attributes]
        body = u2(self.access, this, parent) + names
        body += b"".join(u2(len(part)) + b"".join(part) for part in parts)
        return b"\xca\xfe\xba\xbe" + u2(0, 55, len(self.pool) + 1) + b"".join(self.pool) + body


def serializable(name: str, uid: int | None = 1, *interfaces: str) -> ClassBytes:
    made = ClassBytes(name, interfaces=("java/io/Serializable", *interfaces))
    if uid is not None:
        made.add_uid(uid)
    return made
