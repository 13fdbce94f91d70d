"""Byte ranges: RFC 9110 section 14."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.ranges import MAX_RANGES, Range, select_ranges


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-0", ((0, 1),)),
        (b"bytes=0-499", ((0, 500),)),
        (b"bytes=500-999", ((500, 1000),)),
        (b"bytes=-500", ((9500, 10000),)),
        (b"bytes=9500-", ((9500, 10000),)),
        (b"bytes=0-", ((0, 10000),)),
        (b"bytes=0-20000", ((0, 10000),)),
        (b"bytes=-20000", ((0, 10000),)),
        (b"bytes=0-0,-1", ((0, 1), (9999, 10000))),
        (b"BYTES=0-0", ((0, 1),)),
        (b"bytes=0-0 ,\t2-2", ((0, 1), (2, 3))),
        (b"bytes=,0-0,,2-2,", ((0, 1), (2, 3))),
        (b"bytes=2-2,0-0", ((2, 3), (0, 1))),
        (b"bytes=00000000000000000000000000-1", ((0, 2),)),
        (b"bytes=0-" + b"9" * 5000, ((0, 10000),)),
        (b"bytes=-" + b"9" * 5000, ((0, 10000),)),
        (b"bytes=0-0,20000-", ((0, 1),)),
    ],
)
def test_ranges_of_ten_thousand_bytes(value: bytes, ranges: tuple[Range, ...]) -> None:
    assert select_ranges(value, 10000) == ranges


@pytest.mark.parametrize(
    "value",
    [b"bytes=10000-", b"bytes=10000-10001", b"bytes=-0", b"bytes=-0,20000-", b"bytes=" + b"9" * 5000 + b"-"],
)
def test_no_satisfiable_range(value: bytes) -> None:
    assert select_ranges(value, 10000) == ()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"bytes",
        b"bytes=",
        b"bytes= ",
        b"bytes=,",
        b"bytes =0-0",
        b"items=0-0",
        b"bytes=5-2",
        b"bytes=0-0,5-2",
        b"bytes=a-b",
        b"bytes=-",
        b"bytes=--5",
        b"bytes=+1-2",
        b"bytes=1 - 2",
        b"bytes=1-2-3",
        b"bytes=0x0-0x5",
        b"bytes=0-0;1-1",
        b"bytes=\xd9\xa0-\xd9\xa5",
    ],
)
def test_what_is_not_a_valid_set_is_ignored(value: bytes) -> None:
    assert select_ranges(value, 10000) is None


def test_a_set_of_many_ranges_is_ignored() -> None:
    def many(count: int) -> bytes:
        return b"bytes=" + b",".join(b"%d-%d" % (place * 2, place * 2) for place in range(count))

    assert len(select_ranges(many(MAX_RANGES), 10000) or ()) == MAX_RANGES
    assert select_ranges(many(MAX_RANGES + 1), 10000) is None


@pytest.mark.parametrize(
    ("value", "ranges"),
    [
        (b"bytes=0-9,5-19", ((0, 20),)),
        (b"bytes=5-19,0-9", ((0, 20),)),
        (b"bytes=0-9,0-9", ((0, 10),)),
        (b"bytes=0-,5-6", ((0, 10000),)),
        (b"bytes=100-109,0-9,105-119,50-59", ((100, 120), (0, 10), (50, 60))),
        (b"bytes=0-9,10-19", ((0, 10), (10, 20))),
    ],
)
def test_two_that_overlap_become_one(value: bytes, ranges: tuple[Range, ...]) -> None:
    assert select_ranges(value, 10000) == ranges


@pytest.mark.parametrize("value", [b"bytes=0-,0-,0-", b"bytes=0-9,5-14,10-19", b"bytes=0-99,10-19,30-39"])
def test_more_overlap_is_ignored(value: bytes) -> None:
    assert select_ranges(value, 10000) is None


def test_an_empty_file() -> None:
    assert select_ranges(b"bytes=0-", 0) == ()
    assert select_ranges(b"bytes=0-0", 0) == ()
    assert select_ranges(b"bytes=-0", 0) == ()
    assert select_ranges(b"bytes=-5", 0) is None


_SPECS = st.one_of(
    st.tuples(st.integers(0, 120), st.one_of(st.none(), st.integers(0, 120))).map(
        lambda pair: f"{pair[0]}-{'' if pair[1] is None else pair[1]}"
    ),
    st.integers(0, 120).map(lambda length: f"-{length}"),
    st.sampled_from(["", "-", "x", "1-2-3"]),
)


@given(st.lists(_SPECS, max_size=20), st.integers(0, 100))
def test_parts_are_inside_the_file_and_never_more_than_it(specs: list[str], size: int) -> None:
    ranges = select_ranges(("bytes=" + ",".join(specs)).encode(), size)
    if ranges is not None:
        assert all(0 <= start < end <= size for start, end in ranges)
        assert sum(end - start for start, end in ranges) <= size
        covered = [place for start, end in ranges for place in range(start, end)]
        assert len(covered) == len(set(covered))
