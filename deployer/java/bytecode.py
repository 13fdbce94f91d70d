"""Which types does a method pass to the methods that it calls? Read from its bytecode. Pure.

One pass over the instructions keeps the types on the operand stack and in the local variables. Where paths join, the
compiler has left the types in the StackMapTable (JVMS 4.7.4), so that nothing has to be worked out twice. Longs and
doubles take two words, as in the JVM. Code from before Java 6 has no such table; there types are known up to the first
jump only. Any input ends in time linear in its length: what makes no sense becomes an unknown word.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployer.java import class_file as cf
from deployer.java.class_file import ClassFileError
from deployer.java.serial_form import parameter_types
from deployer.java.stack_frames import UNKNOWN, Frames, Word, first_variables, flat, type_of, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployer.java.class_file import ClassFile, Code, Member

DEEPEST_STACK = 4096
"""Words of operand stack that are kept; compilers stay below a few hundred."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call with the words that it passes, one for each parameter, without the receiver."""

    owner: str
    name: str
    descriptor: str
    arguments: tuple[Word, ...]


# What the plain instructions take from the stack and put there, in words: first opcode, "takes puts" of each.
_PLAIN = {
    0: "00 01 01 01 01 01 01 01 01 02 02 01 01 01 02 02 01 01",  # nop to sipush
    20: "02 01 02 01 02",  # ldc2_w to dload
    26: "01 01 01 01 02 02 02 02 01 01 01 01 02 02 02 02",  # iload_0 to dload_3
    46: "21 22 21 22",  # iaload to daload
    51: "21 21 21 10 20 10 20",  # baload to dstore
    59: "10 10 10 10 20 20 20 20 10 10 10 10 20 20 20 20",  # istore_0 to dstore_3
    79: "30 40 30 40 30 30 30 30 10 20",  # iastore to pop2
    96: "21 42 21 42 21 42 21 42 21 42 21 42 21 42 21 42 21 42 21 42 11 22 11 22",  # iadd to dneg
    120: "21 32 21 32 21 32 21 42 21 42 21 42 00",  # ishl to iinc
    133: "12 11 12 21 21 22 11 12 12 21 22 21 11 11 11 41 21 21 41 41",  # i2l to dcmpg
    153: "10 10 10 10 10 10 20 20 20 20 20 20 20 20 00 01 00 10 10 10 20 10 20 10 00",  # ifeq to return
    188: "11",  # newarray
    190: "11 10",  # arraylength, athrow
    193: "11 10 10",  # instanceof to monitorexit
    198: "10 10 00 01",  # ifnull to jsr_w
}
_TAKES_PUTS = {
    first + number: (int(pair[0]), int(pair[1]))
    for first, row in _PLAIN.items()
    for number, pair in enumerate(row.split())
}
_LENGTHS = (
    dict.fromkeys((16, 18, *range(21, 26), *range(54, 59), 169, 188), 2)
    | dict.fromkeys((17, 19, 20, 132, *range(153, 169), *range(178, 185), 187, 189, 192, 193, 198, 199), 3)
    | {185: 5, 186: 5, 197: 4, 200: 5, 201: 5}
)
_ENDS = frozenset({167, 169, 170, 171, *range(172, 178), 191, 200})
"""Opcodes after which the next instruction is reached by a jump alone."""

_ARITY = {90: (1, 1), 91: (1, 2), 92: (2, 0), 93: (2, 1), 94: (2, 2), 89: (1, 0)}
"""The dup family: how many words are copied, and how many lie between the copy and the original."""


def calls(one: ClassFile, method: Member, wanted: Callable[[str], bool]) -> Iterator[Call]:
    """The calls of methods whose names are `wanted`. Raises ClassFileError."""
    code = one.code(method)
    if code is None:
        return
    try:
        yield from _Reader(one, method, code, wanted).calls()
    except IndexError:
        raise ClassFileError(f"the code of {cf.shown(method.name)} is cut off") from None


def return_type(descriptor: str) -> str:
    """The descriptor of what a method returns."""
    return descriptor.rpartition(")")[2]


class _Reader:
    """One method's single pass."""

    def __init__(self, one: ClassFile, method: Member, code: Code, wanted: Callable[[str], bool]) -> None:
        first = first_variables(one, method)
        self._pool = one.pool
        self._code = code.instructions
        self._frames = Frames(code.frames, code.instructions, one.pool, first).each()
        self._wanted = wanted
        self._stack: list[Word] = []
        self._locals = dict(enumerate(flat(first)))
        self._parameters = frozenset(self._locals)
        self._stores: Counter[int] = Counter()
        for at, opcode in _walk(self._code):
            slot = _stored(self._code, at, opcode)
            if slot is not None:
                self._stores[slot] += 1

    def __repr__(self) -> str:
        return f"<_Reader of {len(self._code)} bytes, {len(self._stack)} on the stack>"

    def calls(self) -> Iterator[Call]:
        frame = next(self._frames, None)
        for at, opcode in _walk(self._code):
            if frame is not None and frame[0] <= at:
                self._join(flat(frame[1]), flat(frame[2]))
                frame = next(self._frames, None)
            call = self._step(at, opcode)
            if call is not None and self._wanted(call.name):
                yield call
            if opcode in _ENDS:
                self._stack.clear()
            elif len(self._stack) > DEEPEST_STACK:
                raise ClassFileError("a method's operand stack is deeper than any compiler makes it")

    def _join(self, variables: list[Word], stack: list[Word]) -> None:
        """Takes a frame's types. Of a variable that is set only once, more may be known than the frame says."""
        kept = {}
        for slot, known in self._locals.items():
            once = self._stores[slot] == (0 if slot in self._parameters else 1)
            if once and (slot >= len(variables) or variables[slot].type):
                kept[slot] = known
        self._locals = {**dict(enumerate(variables)), **kept}
        self._stack = stack

    def _step(self, at: int, opcode: int) -> Call | None:
        effect = _TAKES_PUTS.get(opcode)
        if effect is not None:
            slot = _stored(self._code, at, opcode)
            if slot is not None:
                self._locals[slot] = UNKNOWN
            self._take(effect[0])
            self._stack += [UNKNOWN] * effect[1]
        elif 182 <= opcode <= 186:
            return self._call(at, opcode)
        elif 178 <= opcode <= 181:
            self._field(at, opcode)
        elif 89 <= opcode <= 95:
            self._shuffle(opcode)
        else:
            self._reference(at, opcode)
        return None

    def _reference(self, at: int, opcode: int) -> None:
        """The instructions that make, load and store references."""
        code, stack = self._code, self._stack
        if opcode in (25, *range(42, 46)):
            stack.append(self._locals.get(code[at + 1] if opcode == 25 else opcode - 42, UNKNOWN))
        elif opcode in (58, *range(75, 79)):
            self._locals[code[at + 1] if opcode == 58 else opcode - 75] = self._pop()
        elif opcode in (18, 19):
            index = code[at + 1] if opcode == 18 else self._u2(at + 1)
            stack.append(Word(self._pool.loaded_type(index), exact=True))
        elif opcode == 187:
            stack.append(Word(self._pool.class_name(self._u2(at + 1)), exact=True))
        elif opcode == 189:
            self._pop()
            stack.append(Word(_array_of(self._pool.class_name(self._u2(at + 1))), exact=True))
        elif opcode == 192:
            self._cast(self._pool.class_name(self._u2(at + 1)))
        elif opcode == 50:
            array = self._take(2)[0].type or ""
            stack.append(Word(type_of(array[1:]) if array.startswith("[") else None))
        elif opcode == 197:
            self._take(code[at + 3])
            stack.append(Word(self._pool.class_name(self._u2(at + 1)), exact=True))
        elif opcode == 196:
            self._wide(at)
        else:
            raise ClassFileError(f"a method has the unknown instruction {opcode}")

    def _cast(self, to: str) -> None:
        word = self._pop()
        self._stack.append(word if word.exact and word.type else replace(word, type=to))

    def _wide(self, at: int) -> None:
        """wide (JVMS 6.5): the same instruction with a local variable's number of two bytes."""
        opcode, slot = self._code[at + 1], self._u2(at + 2)
        if opcode == 25:
            self._stack.append(self._locals.get(slot, UNKNOWN))
        elif opcode == 58:
            self._locals[slot] = self._pop()
        else:
            takes, puts = _TAKES_PUTS.get(opcode, (0, 0))
            if takes:
                self._locals[slot] = UNKNOWN
            self._take(takes)
            self._stack += [UNKNOWN] * puts

    def _field(self, at: int, opcode: int) -> None:
        _, _, descriptor = self._pool.member(self._u2(at + 1))
        size = words_of(descriptor)
        if opcode in (180, 181):
            self._take((size if opcode == 181 else 0) + 1)
        elif opcode == 179:
            self._take(size)
        if opcode in (178, 180):
            self._push(descriptor)

    def _call(self, at: int, opcode: int) -> Call | None:
        index = self._u2(at + 1)
        if opcode == 186:
            owner, (name, descriptor) = "", self._pool.call_site(index)
        else:
            owner, name, descriptor = self._pool.member(index)
        sizes = [words_of(one) for one in parameter_types(descriptor)]
        passed = self._take(sum(sizes))
        if opcode not in (184, 186):
            self._pop()
        self._push(return_type(descriptor))
        if not owner:
            return None
        starts = [sum(sizes[:number]) for number in range(len(sizes))] if self._wanted(name) else []
        return Call(owner, name, descriptor, tuple(passed[start] for start in starts))

    def _shuffle(self, opcode: int) -> None:
        if opcode == 95:
            below, top = self._take(2)
            self._stack += [top, below]
            return
        copied, between = _ARITY[opcode]
        words = self._take(copied + between)
        self._stack += [*words[between:], *words]

    def _push(self, descriptor: str) -> None:
        if descriptor != "V":
            self._stack += [Word(type_of(descriptor)), *[UNKNOWN] * (words_of(descriptor) - 1)]

    def _pop(self) -> Word:
        return self._stack.pop() if self._stack else UNKNOWN

    def _take(self, count: int) -> Sequence[Word]:
        """The topmost words, the deepest first; unknown ones where there are fewer."""
        if count == 0:
            return ()
        words = self._stack[-count:]
        del self._stack[-count:]
        return [UNKNOWN] * (count - len(words)) + words

    def _u2(self, at: int) -> int:
        return (self._code[at] << 8) | self._code[at + 1]


def _walk(code: bytes) -> Iterator[tuple[int, int]]:
    """Offset and opcode of each instruction."""
    at = 0
    while at < len(code):
        opcode = code[at]
        yield at, opcode
        if opcode in (170, 171):
            at += _switch_length(code, at, opcode)
        elif opcode == 196:
            at += 6 if code[at + 1] == 132 else 4
        else:
            at += _LENGTHS.get(opcode, 1)


def _switch_length(code: bytes, at: int, opcode: int) -> int:
    padding = 3 - at % 4
    start = at + 1 + padding

    def number(place: int) -> int:
        return int.from_bytes(code[place : place + 4], "big", signed=True)

    size = 12 + 4 * (number(start + 8) - number(start + 4) + 1) if opcode == 170 else 8 + 8 * number(start + 4)
    if not 0 <= size <= len(code):
        raise ClassFileError("a switch is longer than its method")
    return 1 + padding + size


def _stored(code: bytes, at: int, opcode: int) -> int | None:
    """The local variable that an instruction sets, None for another instruction."""
    if 54 <= opcode <= 58:
        return code[at + 1]
    if 59 <= opcode <= 78:
        return (opcode - 59) % 4
    if opcode == 196 and 54 <= code[at + 1] <= 58:
        return (code[at + 2] << 8) | code[at + 3]
    return None


def _array_of(component: str) -> str:
    return f"[{component}" if component.startswith("[") else f"[L{component};"
