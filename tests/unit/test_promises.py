"""tests/README.md names the test that shows each promise: they must exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"`([a-z0-9_/]+\.py)::(test_\w+)`")


def test_every_test_that_is_named_exists() -> None:
    named = NAMED.findall((TESTS / "README.md").read_text())
    assert len(named) > 100
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (TESTS / path).is_file()
        or re.search(rf"^(?:async )?def {name}\(", (TESTS / path).read_text(), re.MULTILINE) is None
    ]
    assert missing == []
