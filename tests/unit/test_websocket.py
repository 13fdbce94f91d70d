"""Frame ends are found for any frames in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.websocket import FrameCounter, close_frame


def frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One frame, with the shortest length that says it."""
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, bit | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + payload


FRAMES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 9, 10]),
        st.sampled_from([0, 1, 125, 126, 127, 1000, 65535, 65536]).map(bytes),
        st.sampled_from([b"", b"\x88\x02\x03\xf4"]),
    ),
    max_size=6,
).map(lambda parts: [frame(*part) for part in parts])
CUTS = st.lists(st.integers(0, 400_000), max_size=30)


@given(FRAMES, CUTS)
def test_between_frames_is_where_frames_end(frames: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frames)
    ends = {0}
    for one in frames:
        ends.add(max(ends) + len(one))
    counter, position = FrameCounter(), 0
    for cut in sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)}):
        counter.feed(data[position:cut])
        position = cut
        assert counter.between_frames == (position in ends)
    assert not counter.saw_close


@given(FRAMES, st.integers(0, 400_000), st.integers(1, 5000))
def test_what_is_let_through_ends_with_the_frame_that_has_begun(frames: list[bytes], cut: int, piece: int) -> None:
    data = b"".join(frames)
    cut %= len(data) + 1
    counter = FrameCounter()
    counter.feed(data[:cut])
    position = cut
    while position < len(data) and not counter.between_frames:
        position += counter.feed_to_frames_end(data[position : position + piece])
    end = 0
    for one in frames:
        if end >= cut:
            break
        end += len(one)
    assert position == end
    assert counter.feed_to_frames_end(b"\x81\x00") == 0, "nothing of the next one"


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 2, 8, 9, 10]),
            st.integers(0, 20).map(bytes),
            st.sampled_from([b"", b"\x88\x02\x03\xf4"]),
        ),
        max_size=30,
    ),
    st.binary(max_size=3),
)
def test_runs_of_small_frames_are_counted_together(parts: list[tuple[int, bytes, bytes]], begun: bytes) -> None:
    """As one by one: what remains to come, and whether a close frame was among them."""
    data = b"".join(frame(*part) for part in parts) + begun
    together, single = FrameCounter(), FrameCounter()
    together.feed(data)
    for index in range(len(data)):
        single.feed(data[index : index + 1])
    assert repr(together) == repr(single)
    assert together.saw_close == single.saw_close


def test_a_close_frame_is_seen() -> None:
    counter = FrameCounter()
    counter.feed(frame(1, b"hello", b"") + close_frame()[:1])
    assert not counter.saw_close
    counter.feed(close_frame()[1:])
    assert counter.saw_close
    assert counter.between_frames


@pytest.mark.parametrize("behind", [close_frame(), frame(1, b"hello", b""), b"\x81"])
def test_nothing_is_counted_behind_a_close_frame(behind: bytes) -> None:
    counter = FrameCounter()
    counter.feed(frame(1, b"hello", b"") + close_frame() + behind * 3)
    assert (counter.saw_close, counter.between_frames) == (True, True)
    counter.feed(behind)
    assert counter.between_frames
    assert counter.feed_to_frames_end(behind) == 0


@pytest.mark.parametrize(
    "head",
    [b"\x82\x7e\x00\x7d", b"\x82\xfe\x00\x00" + bytes(4), b"\x82\x7f" + (65535).to_bytes(8, "big"),
     b"\x82\x7f" + (1 << 63).to_bytes(8, "big")],
)  # fmt: skip
def test_a_length_in_another_form_than_the_shortest_has_no_end(head: bytes) -> None:
    """RFC 6455 section 5.2: the minimal number of bytes MUST be used. What passes then has no known frames."""
    counter = FrameCounter()
    counter.feed(frame(1, b"hello", b"") + head)
    for _ in range(3):
        counter.feed(bytes(70_000) + close_frame())
        assert not counter.between_frames
        assert counter.feed_to_frames_end(b"\x00" * 1000) == 1000
    assert not counter.saw_close
    assert repr(counter) == "<FrameCounter owed=unknown head=0>"


def test_close_frames() -> None:
    assert close_frame() == b"\x88\x02\x03\xf4"
    assert close_frame(b"\x01\x02\x03\x04") == b"\x88\x82\x01\x02\x03\x04\x02\xeb"
