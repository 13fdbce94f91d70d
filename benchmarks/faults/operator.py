"""What a person does after a fault: reads `deployer status` and types what it advises. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMMAND = re.compile(r"`deployer ([^`]+)`")


def needs_mending(status: Mapping[str, Any]) -> bool:
    """Whether something was cut off, or users are not served."""
    if status["cut_off"] is not None or status["active"] is None:
        return True
    return not status["slots"][status["active"]]["http_ready"]


def next_command(status: Mapping[str, Any], then: str, war: str) -> tuple[str, ...] | None:
    """The command that the status advises; None when it names none that a person could type as it stands.

    then: `resume` or `abort`, where both are offered. war: what `deployer release WAR` means.
    """
    offered = [tuple(text.split()) for text in _COMMAND.findall("\n".join(status["advice"]))]
    # A slot that runs takes users at once; starting the other one takes seconds.
    for wanted in (then, "resume", "abort", "switch", "start", "rollback", "release"):
        for words in offered:
            if words[0] != wanted:
                continue
            return ("release", war) if wanted == "release" else words
    return None
