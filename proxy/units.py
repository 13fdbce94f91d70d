"""Durations and sizes as people write them: `10s`, `250ms`, `1GiB`.

The annotated types are for pydantic models; their values are plain numbers (seconds, bytes).
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB)?", re.IGNORECASE)
_BYTES: Final = {
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}


def parse_duration(value: object) -> object:
    """`"1.5s"` -> `1.5` (seconds). A plain number is seconds. Raises ValueError for other text."""
    if isinstance(value, bool):
        raise ValueError("a duration such as 10s, 250ms or 5m")
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("a duration such as 10s, 250ms or 5m")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: object) -> object:
    """`"32KiB"` -> `32768` (bytes). A plain whole number is bytes. Raises ValueError for other text."""
    if isinstance(value, bool):
        raise ValueError("a size such as 32KiB, 10MB or 1GiB")
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("a size such as 32KiB, 10MB or 1GiB")
    return int(float(match[1]) * _BYTES[(match[2] or "B").lower()])


Duration = Annotated[float, BeforeValidator(parse_duration), Field(ge=0, allow_inf_nan=False)]
PositiveDuration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, BeforeValidator(parse_size), Field(ge=1)]
