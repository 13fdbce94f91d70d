"""WebSocket conversations in the families of Autobahn's test suite (RFC 6455), as the bytes that a client sends."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK: Final = b"\x12\x34\x56\x78"
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SIZES: Final = (0, 1, 124, 125, 126, 127, 128, 1000, 16_384, 65_534, 65_535, 65_536, 65_537, 131_072, 300_000)
CHOPS: Final = (1, 7, 997)
GOOD_CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD_CODES: Final = (0, 999, 1004, 1005, 1006, 1012, 1016, 1100, 2000, 2999, 5000, 65_535)
GOOD_TEXTS: Final = (
    "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd",
    "\uffff",
    "\U00010000", "\U0010ffff", "\ufeffa", "日本語" * 50, "🙂" * 100,
)  # fmt: skip
BAD_TEXTS: Final = (
    b"\xff", b"\xfe", b"\x80", b"\xbf", b"\xc0\x80", b"\xc0\xaf", b"\xc1\xbf", b"\xc3", b"\xe0\x80\xaf",
    b"\xe0\x80", b"\xed\xa0\x80",
    b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80", b"ok\xceok", b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf4\x8f\xbf",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a client sends after the handshake: `pieces`, one write each."""

    family: str
    name: str
    pieces: tuple[bytes, ...]


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """One frame (RFC 6455 section 5.2). `reserved` are the three bits RSV1 to RSV3, as a number up to 7."""
    size = len(payload)
    bit = 0x80 if masked else 0
    first = bytes((final << 7 | reserved << 4 | opcode,))
    if size < 126:
        length = bytes((bit | size,))
    elif size < 65_536:
        length = bytes((bit | 126,)) + struct.pack(">H", size)
    else:
        length = bytes((bit | 127,)) + struct.pack(">Q", size)
    if not masked:
        return first + length + payload
    key = (MASK * (size // 4 + 1))[:size]
    hidden = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return first + length + MASK + hidden


def close(code: int = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


def conversations() -> list[Conversation]:
    """All conversations; each that doesn't end by an error ends with a close."""
    made = [*_messages(), *_control(), *_reserved(), *_fragments(), *_texts(), *_closes()]
    return [_chopped(one) if one.name.endswith("chopped") else one for one in made]


def _chopped(one: Conversation) -> Conversation:
    """The same bytes in small pieces; `by N` in the name says how small."""
    size = int(one.name.split(" by ")[1].split(",")[0])
    whole = b"".join(one.pieces)
    return Conversation(one.family, one.name, tuple(whole[at : at + size] for at in range(0, len(whole), size)))


def _messages() -> Iterator[Conversation]:
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
        for size in SIZES:
            yield Conversation("messages", f"{kind} of {size} B", (frame(opcode, b"*" * size), close()))
            for chop in CHOPS:
                if size // chop < 2000:
                    name = f"{kind} of {size} B by {chop}, chopped"
                    yield Conversation("messages", name, (frame(opcode, b"*" * size) + close(),))
        many = b"".join(frame(opcode, b"%d" % number) for number in range(500))
        yield Conversation("messages", f"500 {kind}s at once", (many + close(),))
        yield Conversation("messages", f"{kind} and close at once", (frame(opcode, b"a") + close(),))


def _control() -> Iterator[Conversation]:
    for opcode, kind in ((PING, "ping"), (PONG, "pong")):
        for payload in (b"", b"hello", bytes(range(0xF0, 0x100)), b"*" * 125, b"*" * 126, b"*" * 70_000):
            yield Conversation("control frames", f"{kind} of {len(payload)} B", (frame(opcode, payload), close()))
        yield Conversation("control frames", f"{kind}, fragmented", (frame(opcode, b"a", final=False), close()))
        yield Conversation("control frames", f"20 {kind}s", (frame(opcode, b"a") * 20, close()))
        yield Conversation("control frames", f"{kind}s by 1, chopped", (frame(opcode, b"hello") * 10 + close(),))
    yield Conversation("control frames", "pings and messages", (frame(PING, b"p") + frame(TEXT, b"t"), close()))


def _reserved() -> Iterator[Conversation]:
    for reserved in range(1, 8):
        for opcode in (TEXT, BINARY, PING, CLOSE):
            sent = frame(TEXT, b"before") + frame(opcode, b"", reserved=reserved)
            yield Conversation("reserved bits", f"{reserved}, opcode {opcode}", (sent, close()))
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"hello"):
            sent = frame(TEXT, b"before") + frame(opcode, payload)
            yield Conversation("reserved opcodes", f"{opcode}, {len(payload)} B", (sent, close()))
    yield Conversation("masks", "a text without a mask", (frame(TEXT, b"a", masked=False), close()))
    yield Conversation("masks", "a ping without a mask", (frame(PING, b"a", masked=False), close()))


def _fragments() -> Iterator[Conversation]:
    for count in (2, 3, 10, 100):
        for size in (0, 1, 1000, 9000):
            parts = [
                frame(TEXT if not part else CONTINUED, b"*" * size, final=part == count - 1) for part in range(count)
            ]
            yield Conversation("fragments", f"{count} of {size} B", (*parts, close()))
            pinged = [piece for part in parts for piece in (part, frame(PING, b"p"))]
            yield Conversation("fragments", f"{count} of {size} B, pings between", (b"".join(pinged), close()))
    begun = frame(TEXT, b"a", final=False)
    for name, sent in (
        ("a continuation of nothing", frame(CONTINUED, b"a")),
        ("an unfinished continuation of nothing", frame(CONTINUED, b"a", final=False)),
        ("a text inside another", begun + frame(TEXT, b"b")),
        ("a binary inside a text", begun + frame(BINARY, b"b")),
        ("a close inside a message", begun + close()),
        ("a letter in two fragments", frame(TEXT, b"\xce", final=False) + frame(CONTINUED, b"\xba")),
        ("half a letter, ended", frame(TEXT, b"\xce", final=False) + frame(CONTINUED, b"")),
    ):
        yield Conversation("fragments", name, (sent, close()))


def _texts() -> Iterator[Conversation]:
    for number, text in enumerate(GOOD_TEXTS):
        yield Conversation("good UTF-8", f"{number}", (frame(TEXT, text.encode()), close()))
        yield Conversation("good UTF-8", f"{number} by 1, chopped", (frame(TEXT, text.encode()) + close(),))
    for raw in BAD_TEXTS:
        yield Conversation("bad UTF-8", f"{raw!r}", (frame(TEXT, raw), close()))
        halves = frame(TEXT, raw[:1], final=False) + frame(CONTINUED, raw[1:])
        yield Conversation("bad UTF-8", f"{raw!r}, in two fragments", (halves, close()))
        yield Conversation("bad UTF-8", f"{raw!r}, as a reason to close", (close(1000, raw),))


def _closes() -> Iterator[Conversation]:
    for code in (*GOOD_CODES, *BAD_CODES):
        yield Conversation("close", f"{code}", (close(code),))
        yield Conversation("close", f"{code} with a reason", (close(code, "tschüss".encode()),))
    for name, sent in (
        ("empty", frame(CLOSE)),
        ("half a code", frame(CLOSE, b"\x03")),
        ("a reason of 123 B", close(1000, b"*" * 123)),
        ("a reason of 124 B", close(1000, b"*" * 124)),
        ("twice", close() * 2),
        ("then a text", close() + frame(TEXT, b"late")),
        ("then a ping", close() + frame(PING, b"late")),
        ("fragmented", frame(CLOSE, b"\x03\xe8", final=False)),
    ):
        yield Conversation("close", name, (sent,))
