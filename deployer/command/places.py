"""What `{…}` in the words of a slot's command stands for. Pure, and small: the settings need it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PLACES = ("base", "port", "release", "slot")

PLACE = re.compile(r"(?<!\$)\{([a-z_]+)\}")
"""One place; `${…}` is the shell's."""


def unknown_places(words: Iterable[str]) -> list[str]:
    """Those that name nothing."""
    return [name for word in words for name in PLACE.findall(word) if name not in PLACES]
