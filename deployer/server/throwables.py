"""The exceptions in a Java log, as Throwable.printStackTrace writes them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LINES = 8
"""Lines of a log that a message shows."""

_THROWABLE = re.compile(
    r"^\t*(?:Caused by: )?(?P<type>(?:[\w$]+\.)+[\w$]*(?:Exception|Error|Throwable)\b[\w$]*)"
    r"(?:[:;] (?P<text>.*))?$"
)
_FRAME = re.compile(r"^\s*(?:at |\.\.\. \d+ (?:more|common frames))")


def causes(lines: Iterable[str]) -> list[str]:
    """The exceptions' own words, outermost first: "java.lang.IllegalStateException: no database"."""
    found = []
    for line in lines:
        match = None if _FRAME.match(line) else _THROWABLE.match(line)
        if match:
            found.append(f"{match['type']}: {match['text']}" if match["text"] else match["type"])
    return found


def without_repeats(found: Iterable[str]) -> list[str]:
    """The first few different ones."""
    return list(dict.fromkeys(found))[:MOST_LINES]
