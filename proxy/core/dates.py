"""HTTP dates (RFC 9110 section 5.6.7), independent of locale and time zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Final = {name.encode(): number for number, name in enumerate(_MONTHS, 1)}
_LATEST: Final = 253_402_300_799  # the last second of the year 9999

_TIME: Final = rb"(?P<h>[0-9]{2}):(?P<m>[0-9]{2}):(?P<s>[0-9]{2})"
_FORMS: Final = (
    re.compile(
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{2}) (?P<month>[A-Z][a-z]{2}) (?P<year>[0-9]{4}) "
        + _TIME
        + rb" GMT"
    ),
    re.compile(
        rb"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>[0-9]{2})-(?P<month>[A-Z][a-z]{2})-(?P<year>[0-9]{2}) "
        + _TIME
        + rb" GMT"
    ),
    re.compile(
        rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?P<month>[A-Z][a-z]{2}) (?P<day>[ 0-9][0-9]) "
        + _TIME
        + rb" (?P<year>[0-9]{4})"
    ),
)


def http_date(seconds: int) -> bytes:
    """Unix time -> IMF-fixdate. Times before 1970 or after 9999 become the nearest that can be written."""
    at = datetime.fromtimestamp(min(max(seconds, 0), _LATEST), UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} GMT".encode()


def parse_http_date(value: bytes) -> int | None:
    """Unix time of an IMF-fixdate, an RFC 850 date or an asctime date; None for anything else.

    A year of two digits is from 1970 to 2069: what section 5.6.7 asks for needs a clock, and nobody sends that form
    about another century.
    """
    for form in _FORMS:
        match = form.fullmatch(value)
        if match is not None:
            return _unix_time(match)
    return None


def _unix_time(match: re.Match[bytes]) -> int | None:
    month = _MONTH_NUMBERS.get(match["month"])
    if month is None:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year >= 70 else 2000
    second = min(int(match["s"]), 59) if match["s"] == b"60" else int(match["s"])  # a leap second
    try:
        at = datetime(year, month, int(match["day"]), int(match["h"]), int(match["m"]), second, tzinfo=UTC)
    except ValueError:
        return None
    return int(at.timestamp())
