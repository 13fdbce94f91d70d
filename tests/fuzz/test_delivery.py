"""In whatever pieces a message comes, it is read the same: at every split point, and in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.head import MAX_REQUEST_LINE, HeadError, RequestHead, ResponseError, ResponseHead
from tests.fuzz import checks, ours
from tests.fuzz.corpus.chunked_cases import CHUNKED
from tests.fuzz.corpus.request_cases import REQUESTS
from tests.fuzz.corpus.response_cases import RESPONSES

SHORT = 600
REQUEST_BYTES = [case.data for case in REQUESTS if len(case.data) < SHORT]
RESPONSE_BYTES = [case.data for case in RESPONSES if len(case.data) < SHORT]
CHUNKED_BYTES = [case.data for case in CHUNKED if len(case.data) < SHORT]


def in_two(data: bytes) -> list[list[bytes]]:
    return [[data[:at], data[at:]] for at in range(1, len(data))]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


def test_request_heads_at_every_split_point() -> None:
    for data in REQUEST_BYTES:
        whole = ours.read_head([data])
        for pieces in in_two(data):
            checks.same_head(whole, ours.read_head(pieces))


def test_response_heads_at_every_split_point() -> None:
    for data in RESPONSE_BYTES:
        whole = ours.read_response_head([data])
        for pieces in in_two(data):
            checks.same_head(whole, ours.read_response_head(pieces))


@pytest.mark.parametrize("decode", [False, True])
def test_chunked_bodies_at_every_split_point(decode: bool) -> None:
    for data in CHUNKED_BYTES:
        whole = ours.read_chunked([data], decode=decode)
        for pieces in in_two(data):
            checks.same_chunked(whole, ours.read_chunked(pieces, decode=decode))


@given(st.sampled_from(REQUEST_BYTES), st.lists(st.integers(1, 40)))
def test_request_heads_in_any_pieces(data: bytes, sizes: list[int]) -> None:
    checks.same_head(ours.read_head([data]), ours.read_head(cut(data, sizes)))


@given(st.sampled_from(RESPONSE_BYTES), st.lists(st.integers(1, 40)))
def test_response_heads_in_any_pieces(data: bytes, sizes: list[int]) -> None:
    checks.same_head(ours.read_response_head([data]), ours.read_response_head(cut(data, sizes)))


@given(st.sampled_from(CHUNKED_BYTES), st.lists(st.integers(1, 40)), st.booleans())
def test_chunked_bodies_in_any_pieces(data: bytes, sizes: list[int], decode: bool) -> None:
    checks.same_chunked(ours.read_chunked([data], decode=decode), ours.read_chunked(cut(data, sizes), decode=decode))


@pytest.mark.parametrize("size", [MAX_REQUEST_LINE, ours.MAX_REQUEST_HEAD])
def test_limits_hold_in_any_pieces(size: int) -> None:
    """A head of the limit's size is read, and one byte more is refused, however it comes."""
    start, end = (b"GET /", b" HTTP/1.1\r\n") if size == MAX_REQUEST_LINE else (b"GET / HTTP/1.1\r\nX: ", b"\r\n")
    rest = b"Host: a\r\n\r\n"
    filling = size - len(start + end) - (0 if size == MAX_REQUEST_LINE else len(rest))
    for more, kind in ((0, RequestHead), (1, HeadError)):
        data = start + b"a" * (filling + more) + end + rest
        for pieces in ([data], [data[:-1], data[-1:]], [data[:100], data[100:]], list(ours.one_by_one(data))):
            assert isinstance(ours.read_head(pieces), kind)


def test_response_limit_holds_in_any_pieces() -> None:
    start, end = b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n"
    filling = ours.MAX_RESPONSE_HEAD - len(start + end)
    for more, kind in ((0, ResponseHead), (1, ResponseError)):
        data = start + b"a" * (filling + more) + end
        for pieces in ([data], [data[:-1], data[-1:]], list(ours.one_by_one(data))):
            assert isinstance(ours.read_response_head(pieces), kind)
