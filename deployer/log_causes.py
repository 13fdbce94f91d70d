"""The exceptions in a server's log, of any language that names its errors as Java and Python do. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_EXCEPTION = re.compile(
    r"^\s*(?:Caused by: )?(?P<type>(?:[A-Za-z_$][\w$]*\.)*[A-Z][\w$]*(?:Exception|Error|Throwable))(?:: (?P<text>.*))?$"
)
_LONGEST = 300


def causes(lines: Iterable[str], most: int = 3) -> list[str]:
    """The most frequent ones, with how often each was logged: `java.lang.IllegalStateException: no stock, 12 times`."""
    found: Counter[str] = Counter()
    for line in lines:
        match = _EXCEPTION.match(line)
        if match:
            text = f": {match['text']}" if match["text"] else ""
            found[f"{match['type']}{text}"[:_LONGEST]] += 1
    return [f"{cause}, {'once' if count == 1 else f'{count} times'}" for cause, count in found.most_common(most)]
