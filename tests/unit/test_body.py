"""Chunked bodies: what goes on, when; tests/fuzz/corpus has what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.body import MAX_CHUNK_LINE, MAX_SURPLUS, MAX_TRAILERS, BodyError, ChunkedBody


def test_a_body_is_passed_on_as_it_came() -> None:
    data = b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"
    body = ChunkedBody()
    assert body.feed(data + b"rest") == (data, b"rest")
    assert (body.done, body.payload) == (True, 13)


def test_the_middle_of_a_large_chunk_is_not_copied() -> None:
    body = ChunkedBody()
    body.feed(b"100000\r\n")
    data = b"a" * 5000
    assert body.feed(data) == (data, b"")
    assert body.feed(data)[0] is data
    assert body.payload == 10000


def test_only_the_payload_when_it_is_decoded() -> None:
    body = ChunkedBody(decode=True)
    assert body.feed(b"3;x\r\nabc\r\n2\r\nd") == (b"abcd", b"")
    assert body.feed(b"e\r\n0\r\nX: y\r\n\r\nrest") == (b"e", b"rest")
    assert (body.done, body.payload) == (True, 5)


@given(
    st.lists(st.binary(min_size=1, max_size=20) | st.just(b"\r\n"), max_size=30),
    st.sampled_from(["", "0\r\n\r\n", "x"]),
    st.booleans(),
)
def test_tiny_chunks_are_counted_together(chunks: list[bytes], end: str, zero: bool) -> None:
    """As one by one, also in front of what is not valid."""
    data = b"".join(b"%b%x\r\n%b\r\n" % (b"0" * zero, len(chunk), chunk) for chunk in chunks)
    body = ChunkedBody()
    assert body.feed(data) == (data, b"")
    assert body.payload == sum(map(len, chunks))
    assert ChunkedBody(decode=True).feed(data) == (b"".join(chunks), b"")
    if end == "x":
        with pytest.raises(BodyError):
            body.feed(b"1\r\na\r\n1\r\nab\r\n")
    else:
        assert body.feed(end.encode() + b"rest" * bool(end)) == (end.encode(), b"rest" * bool(end))
        assert body.done == bool(end)


def test_a_line_is_passed_on_only_when_it_is_whole() -> None:
    body = ChunkedBody()
    assert body.feed(b"3") == (b"", b"")
    assert body.feed(b";x=1") == (b"", b"")
    assert body.feed(b"\r") == (b"", b"")
    assert body.feed(b"\na") == (b"3\r\na", b"")
    assert body.feed(b"bc\r") == (b"bc", b"")
    assert body.feed(b"\n0\r\nX-A: ") == (b"\r\n", b"")
    assert body.feed(b"b\r\n\r\nrest") == (b"0\r\nX-A: b\r\n\r\n", b"rest")


def test_extensions_go_and_the_chunks_around_them_stay() -> None:
    body = ChunkedBody()
    sent, _ = body.feed(b'1\r\na\r\n1;x\r\nb\r\n1\r\nc\r\n1;y="\\""\r\nd\r\n0;z\r\n\r\n')
    assert sent == b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n"


def test_one_forbidden_trailer_drops_all() -> None:
    assert ChunkedBody().feed(b"0\r\nX-A: b\r\nHOST: x\r\n\r\n")[0] == b"0\r\n\r\n"
    assert ChunkedBody().feed(b"0\r\nX-A: b\r\n\r\n")[0] == b"0\r\nX-A: b\r\n\r\n"


def test_nothing_before_an_error_is_lost_to_the_caller() -> None:
    body = ChunkedBody()
    assert body.feed(b"1\r\na\r\n") == (b"1\r\na\r\n", b"")
    with pytest.raises(BodyError) as refused:
        body.feed(b"x\r\n")
    assert (refused.value.status, refused.value.part) == (400, "the message's body")


@pytest.mark.parametrize("data", [b"3\rx", b"3\x00", b"3;a\x01", b"0\r\nX\x00", b"0\r\nX: y\n"])
def test_what_can_be_no_line_is_refused_before_its_end(data: bytes) -> None:
    with pytest.raises(BodyError):
        ChunkedBody().feed(data)


def test_the_largest_chunk_line_and_trailers() -> None:
    line = b"1;" + b"a" * (MAX_CHUNK_LINE - 4) + b"\r\n"
    assert ChunkedBody().feed(line)[0] == b"1\r\n"
    with pytest.raises(BodyError):
        ChunkedBody().feed(b"1;a" + line[2:])
    trailers = b"X: " + b"a" * (MAX_TRAILERS - 7) + b"\r\n\r\n"
    assert ChunkedBody().feed(b"0\r\n" + trailers)[0] == b"0\r\n" + trailers
    with pytest.raises(BodyError):
        ChunkedBody().feed(b"0\r\nX" + trailers)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize(
    "chunk",
    [b"001\r\na\r\n", b"004\r\n" + bytes(4) + b"\r\n", b"00000001\r\na\r\n", b"2;a\r\nxx\r\n", b'01 ; a="b"\r\na\r\n'],
)
def test_lines_that_say_more_than_they_must_are_bounded(chunk: bytes, decode: bool) -> None:
    """However many bytes a client sends, only so many such lines are read."""
    line, payload, _ = chunk.split(b"\r\n")
    surplus = len(line) - 1 - line.startswith(b"0")
    body = ChunkedBody(decode=decode)
    for _ in range(MAX_SURPLUS // surplus):
        body.feed(chunk)
    with pytest.raises(BodyError, match="zeros"):
        body.feed(chunk * 16 * MAX_SURPLUS)
    assert body.payload <= 16 * (MAX_SURPLUS // surplus + 1) * len(payload)


@pytest.mark.parametrize("chunk", [b"00000100\r\n" + bytes(256) + b"\r\n", b"0010\r\n" + bytes(16) + b"\r\n",
                                   b"01\r\na\r\n", b"0f\r\n" + bytes(15) + b"\r\n",
                                   b"1000;chunk-signature=" + b"a" * 64 + b"\r\n" + bytes(4096) + b"\r\n"])  # fmt: skip
def test_sizes_of_eight_digits_and_signatures_of_chunks_pass(chunk: bytes) -> None:
    body = ChunkedBody(decode=True)
    for _ in range(3000):
        body.feed(chunk)
    assert body.payload == 3000 * int(chunk.split(b"\r\n")[0].split(b";")[0], 16)


def test_representations_say_where_it_is() -> None:
    body = ChunkedBody()
    assert repr(body) == "<ChunkedBody owed 0, 0 bytes of payload>"
    body.feed(b"5\r\nab")
    assert repr(body) == "<ChunkedBody owed 5, 2 bytes of payload>"
    body.feed(b"cde\r\n0\r\n")
    assert repr(body) == "<ChunkedBody trailers, 5 bytes of payload>"
    body.feed(b"\r\n")
    assert repr(body) == "<ChunkedBody done, 5 bytes of payload>"
