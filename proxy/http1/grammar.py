"""What a head and a chunk line may look like: compiled patterns, and nothing else.

Every pattern is anchored by its use (`match` or `fullmatch`) and built of possessive quantifiers over character
classes that cannot overlap what follows them. So each byte is looked at a constant number of times: the cost of a
hostile input is linear in its length, and tests/unit/test_grammar.py shows it.

Only classes are repeated possessively, never groups: until 3.11.5 Python takes as matched what the last, failing turn
of a possessive group with alternatives has passed over (CPython issue 106052). "5;" would then be a chunk's size.

Sources: RFC 9110 section 5.6 (tokens, quoted strings), RFC 9112 sections 2 to 7 (messages, chunked coding),
RFC 3986 section 3 (targets).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

TCHAR: Final = rb"!#$%&'*+\-.^_`|~0-9A-Za-z"
TOKEN: Final = rb"[" + TCHAR + rb"]++"
# field-vchar, SP and HTAB. No other control byte, so no CR, LF or NUL can hide in a value (RFC 9110 section 5.5).
VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
# No obs-fold: a line that begins with white space is not a field (RFC 9112 section 5.2).
FIELDS: Final = rb"(?:" + TOKEN + rb":" + VALUE + rb"\r\n)*"

# RFC 3986 pchar, and of what it forbids only the characters that browsers send raw (WHATWG URL, path and query
# percent-encode sets). A backslash in a path is not among them: some backends take it for a slash.
_PATH: Final = rb"!$%&'()*+,\-./0-9:;=@A-Z\[\]^_a-z|~"
PATH_AND_QUERY: Final = rb"/[" + _PATH + rb"]*+(?:\?[" + _PATH + rb"?\\`{}]*+)?"

REQUEST_LINE: Final = re.compile(
    rb"(" + TOKEN + rb") (?:(" + PATH_AND_QUERY + rb")|([\x21-\x7e]++)) HTTP/1\.([01])\r\n"
)
"""Groups: method, origin-form target, any other target, minor version."""

FIELD_BLOCK: Final = re.compile(FIELDS + rb"\r\n")
"""All field lines of a head and the empty line that ends it."""

STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (" + VALUE + rb"))?\r\n")
"""Groups: minor version, status, reason. A status line without its last space is common (RFC 9112 section 4)."""

RESPONSE_HEAD: Final = re.compile(STATUS_LINE.pattern + rb"(" + FIELDS + rb")\r\n")
"""Groups: those of STATUS_LINE, field lines."""

FIELD_LINE: Final = re.compile(rb"(" + TOKEN + rb"):(" + VALUE + rb")\r\n")

ABSOLUTE_FORM: Final = re.compile(
    rb"(?i:https?+)://([0-9A-Za-z.\-_~:\[\]]++)(" + PATH_AND_QUERY + rb"|\?[" + _PATH + rb"?\\`{}]*+)?"
)
"""Groups: authority, path and query."""

HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}+\]|[0-9A-Za-z\-._~]{1,255}+)(?::([0-9]{0,5}+))?")
"""`uri-host [":" port]` (RFC 9110 section 7.2), group: port. Of a reg-name only what names of hosts are made of."""

# RFC 9112 section 7.1.1. White space may stand inside an extension, never between the size and the line's end.
_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16}+)((?:[ \t]*+;[ \t]*+"
    + TOKEN
    + rb"(?:[ \t]*+=[ \t]*+(?:"
    + TOKEN
    + rb"|"
    + _QUOTED
    + rb"))?)*)\r\n"
)
"""Groups: size, extensions."""

# A body may come in chunks of a byte each. One by one they would take the time of 50 times as many bytes in large ones.
_SMALL_CHUNK: Final = rb"(?s:0?+(?:" + b"|".join(
    rb"[%x%X]\r\n.{%d}\r\n" % (size, size, size) for size in range(1, 16)
) + rb"))"  # fmt: skip
SMALL_CHUNK: Final = re.compile(_SMALL_CHUNK)
SMALL_CHUNKS: Final = re.compile(rb"(?:" + _SMALL_CHUNK + rb")*")
"""One whole chunk of fewer than 16 bytes, a zero before its size or none, and as many as follow each other."""

PLAUSIBLE: Final = re.compile(rb"(?:(?<=\r)\n)?(?:[\t\x20-\x7e\x80-\xff]++|\r\n)*\r?+")
"""For `fullmatch`: what may still become a head, as it has no bare LF, bare CR or control byte.

An incomplete head is held against it, so that garbage is refused at once and not at the deadline.
"""

CONTENT_LENGTH: Final = re.compile(rb"[0-9]{1,18}+")


def _any_case(name: str) -> bytes:
    """`"via"` -> a pattern for it in any case, with `_` for `-` too.

    Classes instead of IGNORECASE: the regex engine skips a branch by its first class, but not by a folded literal.
    """
    return b"".join(
        b"[-_]" if letter == "-" else f"[{letter.upper()}{letter}]".encode() if letter.isalpha() else letter.encode()
        for letter in name
    )


def pick_fields(names: Iterable[str]) -> re.Pattern[bytes]:
    """A pattern for `finditer` over a block that begins with a line feed; it finds the lines of the named fields.

    A name that ends in `*` stands for all names that begin so. Groups: name (any case, and with `_` where the field
    has `-`), value without the white space around it. Match the block from the line feed before its first line; the
    match ends before its own CRLF, so the next search can begin there.
    """
    alternatives = b"|".join(
        _any_case(name.removesuffix("*")) + (rb"[" + TCHAR + rb"]*+" if name.endswith("*") else b"") for name in names
    )
    return re.compile(rb"\n(" + alternatives + rb"):[ \t]*+([^\r]*+)")
