"""Byte ranges (RFC 9110 section 14), with bounds on what a hostile set of them can cost."""

from __future__ import annotations

import re
from typing import Final

MAX_RANGES: Final = 16
"""A set with more is ignored, as section 14.2 permits: the whole is sent once and not in many pieces."""

MAX_OVERLAPS: Final = 1
"""Section 14.2 takes more than two overlapping ranges for an attack or a broken client."""

_UNIT: Final = re.compile(rb"(?i:bytes)=")
_SPEC: Final = re.compile(rb"(?:([0-9]++)-([0-9]*+)|-([0-9]++))")
_HUGE: Final = 10**18

Range = tuple[int, int]
"""Start and end of a part, in bytes; the end is exclusive."""


def select_ranges(value: bytes, size: int) -> tuple[Range, ...] | None:
    """Which parts of a file of `size` bytes the value of a Range field asks for, in the order it does.

    None: the field is to be ignored (another unit, not valid, or too costly) and the whole file is the answer.
    Empty: no range can be satisfied (416). Ranges that overlap are joined.
    """
    unit = _UNIT.match(value)
    if unit is None:
        return None
    specs = [spec.strip(b" \t") for spec in value[unit.end() :].split(b",")]
    specs = [spec for spec in specs if spec]  # RFC 9110 section 5.6.1.2: empty elements are ignored
    if not 0 < len(specs) <= MAX_RANGES:
        return None
    ranges: list[Range] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            length = _number(suffix)
            if length and not size:
                return None  # satisfiable by section 14.1.2, but no Content-Range can say "none of nothing"
            start, end = max(0, size - length), size
        else:
            start = _number(first)
            end = _number(last) + 1 if last else _HUGE + 1
            if end <= start:
                return None
            end = min(end, size)
        if start < end:
            ranges.append((start, end))
    return _joined(ranges)


def _number(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= 18 else _HUGE


def _joined(ranges: list[Range]) -> tuple[Range, ...] | None:
    """The ranges without overlap, in their order; None when there is too much of it."""
    overlaps = reach = 0
    for start, end in sorted(ranges):
        overlaps += start < reach
        reach = max(reach, end)
    if overlaps > MAX_OVERLAPS:
        return None
    for first, one in enumerate(ranges if overlaps else ()):
        for second in range(first + 1, len(ranges)):
            other = ranges[second]
            if one[0] < other[1] and other[0] < one[1]:
                both = (min(one[0], other[0]), max(one[1], other[1]))
                return (*ranges[:first], both, *ranges[first + 1 : second], *ranges[second + 1 :])
    return tuple(ranges)
