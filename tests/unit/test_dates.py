"""HTTP dates: the three forms of RFC 9110 section 5.6.7, and nothing else."""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.dates import http_date, parse_http_date


@pytest.mark.parametrize(
    "text",
    [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
)
def test_the_three_forms_are_one_time(text: bytes) -> None:
    assert parse_http_date(text) == 784111777


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0",
        b"784111777",
        b"Sun, 06 Nov 1994 08:49:37",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"sun, 06 nov 1994 08:49:37 gmt",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b"Sun, 06 Foo 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 0٦ Nov 1994 08:49:37 GMT".encode(),
    ],
)
def test_anything_else_is_no_date(text: bytes) -> None:
    assert parse_http_date(text) is None


def test_a_leap_second_is_the_last_second_of_its_minute() -> None:
    assert parse_http_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == parse_http_date(b"Sat, 31 Dec 2016 23:59:59 GMT")


@pytest.mark.parametrize(("year", "meant"), [(b"69", 2069), (b"70", 1970), (b"99", 1999), (b"00", 2000)])
def test_years_of_two_digits(year: bytes, meant: int) -> None:
    assert parse_http_date(b"Friday, 01-Jan-%b 00:00:00 GMT" % year) == parse_http_date(
        b"Fri, 01 Jan %d 00:00:00 GMT" % meant
    )


@given(st.integers(0, 253_402_300_799))
def test_a_date_is_as_the_standard_library_writes_it_and_reads_back(seconds: int) -> None:
    written = http_date(seconds)
    assert parse_http_date(written) == seconds
    assert parsedate_to_datetime(written.decode()).timestamp() == seconds
    if seconds < 2**32:
        assert written.decode() == formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(("seconds", "nearest"), [(-1, 0), (-(2**62), 0), (2**62, 253_402_300_799)])
def test_times_that_cannot_be_written_become_the_nearest(seconds: int, nearest: int) -> None:
    assert http_date(seconds) == http_date(nearest)
