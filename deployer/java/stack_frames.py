"""Types of a method's variables and operand stack where its paths join: the StackMapTable (JVMS 4.7.4). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.java import class_file as cf
from deployer.java.class_file import ClassFileError
from deployer.java.serial_form import parameter_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.java.class_file import ClassFile, ConstantPool, Member

MOST_FRAME_WORDS = 1_000_000
"""Words in all frames of a method together; each join looks at its frame's words."""


@dataclass(frozen=True, slots=True)
class Word:
    """A value. type: a class's internal name, an array's descriptor, None when unknown or a number.

    exact: it was made here, so it is of no subclass. parameter: its number when the method got it from its caller.
    """

    type: str | None = None
    exact: bool = False
    parameter: int | None = None


UNKNOWN = Word()

Frame = tuple[int, tuple[tuple[Word, ...], ...], tuple[tuple[Word, ...], ...]]
"""Where it holds, the variables and the stack; a long or double is one variable of two words."""


def type_of(descriptor: str) -> str | None:
    """A field descriptor's class for Word.type; None for a number."""
    if descriptor.startswith("["):
        return descriptor
    return descriptor[1:-1] if descriptor.startswith("L") else None


def first_variables(one: ClassFile, method: Member) -> list[tuple[Word, ...]]:
    """The variables that a method begins with, each with the words that it takes."""
    found: list[tuple[Word, ...]] = [] if method.access & cf.STATIC else [(Word(one.name),)]
    for number, descriptor in enumerate(parameter_types(method.descriptor)):
        kind = type_of(descriptor)
        found.append((Word(kind, parameter=number),) if kind else (UNKNOWN,) * words_of(descriptor))
    return found


def words_of(descriptor: str) -> int:
    """How many words a value of this type takes."""
    return 2 if descriptor in ("J", "D") else 1


def flat(variables: tuple[tuple[Word, ...], ...] | list[tuple[Word, ...]]) -> list[Word]:
    """The words of variables that take one or two each."""
    return [word for words in variables for word in words]


class Frames:
    """The frames of a StackMapTable, in order (JVMS 4.7.4). code: tells the types of what is not yet initialised."""

    def __init__(self, table: bytes, code: bytes, pool: ConstantPool, first: list[tuple[Word, ...]]) -> None:
        self._table = table
        self._code = code
        self._pool = pool
        self._read = 0
        # What is known beyond types holds until a variable is set again, of which a frame says nothing.
        self._variables = tuple(tuple(Word(word.type) for word in words) for words in first)

    def __repr__(self) -> str:
        return f"<Frames at byte {self._read} of {len(self._table)}>"

    def each(self) -> Iterator[Frame]:
        """Offset, variables and stack of each."""
        offset, work = -1, 0
        for _ in range(self._number(2) if self._table else 0):
            kind = self._number(1)
            if 128 <= kind < 247:
                raise ClassFileError("a frame is of an unknown kind")
            offset += 1 + (kind & 63 if kind < 128 else self._number(2))
            stack = self._change(kind)
            work += len(self._variables) + len(stack)
            if work > MOST_FRAME_WORDS:
                raise ClassFileError("a method has more to know of than any compiler makes")
            yield offset, self._variables, stack

    def _change(self, kind: int) -> tuple[tuple[Word, ...], ...]:
        """Brings the variables up to date; the stack."""
        if 64 <= kind < 128 or kind == 247:
            return (self._word(),)
        if 248 <= kind <= 250:
            self._variables = self._variables[: max(0, len(self._variables) - (251 - kind))]
        elif 252 <= kind <= 254:
            self._variables += tuple(self._word() for _ in range(kind - 251))
        elif kind == 255:
            self._variables = tuple(self._word() for _ in range(self._number(2)))
            return tuple(self._word() for _ in range(self._number(2)))
        return ()

    def _word(self) -> tuple[Word, ...]:
        """One verification type: a long or double stands for two words."""
        tag = self._number(1)
        if tag == 7:
            return (Word(self._pool.class_name(self._number(2))),)
        if tag == 8:
            made = self._number(2)
            index = int.from_bytes(self._code[made + 1 : made + 3], "big")
            return (Word(self._pool.class_name(index), exact=True),)
        return (UNKNOWN, UNKNOWN) if tag in (3, 4) else (UNKNOWN,)

    def _number(self, size: int) -> int:
        at = self._read
        self._read = at + size
        return self._table[at] if size == 1 else (self._table[at] << 8) | self._table[at + 1]
