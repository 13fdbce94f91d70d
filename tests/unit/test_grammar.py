"""The patterns, and that their cost is linear in the length of what they are shown."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1 import grammar
from proxy.http1.body import BodyError, ChunkedBody
from proxy.http1.grammar import CHUNK_LINE, PLAUSIBLE, pick_fields
from proxy.http1.head import HeadBuffer, HeadError, ResponseError, parse_request, parse_response, request_begins

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERNS = {name: value for name, value in vars(grammar).items() if isinstance(value, re.Pattern)}
PATTERNS["pick_fields"] = pick_fields(("host", "x-forwarded-*"))

# A class, an escape, or a group's opening counts as one; then what repeats, and what makes it possessive.
_PARTS = re.compile(
    rb"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|\(\?(?:[:=!]|<[=!]|[a-z]:)|([*+?]|\{[0-9]+(?:,[0-9]*)?\})(\+?)|.", re.S
)


def wrong_repeats(pattern: bytes) -> list[bytes]:
    """What is repeated in the wrong way: a class that may give back what it took, or a group that may not.

    Quantifiers with one number take that, or fail. A group's turns begin and end with what its neighbours do not, so
    it gives back nothing that could be matched in another way.
    """
    wrong, before = [], b""
    for part in _PARTS.finditer(pattern):
        if part[1] and not re.fullmatch(rb"\{[0-9]+\}", part[1]) and (before == b")") == bool(part[2]):
            wrong.append(part[0])
        before = part[0]
    return wrong


@pytest.mark.parametrize("name", PATTERNS)
def test_classes_are_repeated_possessively_and_groups_are_not(name: str) -> None:
    assert wrong_repeats(PATTERNS[name].pattern) == []


def test_wrong_repeats_are_recognised() -> None:
    assert wrong_repeats(rb"(?:a+b*?)*+c{1,2}(?:d)?+") == [b"+", b"*", b"?", b"*+", b"{1,2}", b"?+"]
    assert wrong_repeats(rb"[+*]\+(?:a++)*[0-9]{2}(?<!\r)x{1,16}+(?:d)?") == []


@given(st.binary(max_size=30) | st.text("\r\n\t a\x00\x7f", max_size=12).map(str.encode), st.integers(0, 3))
def test_plausible_is_what_has_no_bare_line_end_and_no_control_byte(data: bytes, start: int) -> None:
    start = min(start, len(data))
    implausible = re.search(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", data[start:])
    if start and data[start - 1 : start + 1] == b"\r\n":  # the line feed's carriage return was seen before
        implausible = re.search(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", data[start + 1 :])
    assert (PLAUSIBLE.fullmatch(data, start) is None) == (implausible is not None)


def test_fields_are_picked_in_any_case_and_with_underscores() -> None:
    pattern = pick_fields(("x-real-ip", "te", "x-forwarded-*"))
    block = b"\nX_REAL-ip:  a \r\ntea: b\r\nte:c\r\nX-Forwarded-: d\r\nx_forwarded_for:\te\r\nX-Y: x-real-ip: f\r\n\r\n"
    assert [(match[1], match[2]) for match in pattern.finditer(block)] == [
        (b"X_REAL-ip", b"a "),
        (b"te", b"c"),
        (b"X-Forwarded-", b"d"),
        (b"x_forwarded_for", b"e"),
    ]


@pytest.mark.parametrize("line", [b"5;", b"5; ", b"5;a=", b"5;a= ", b'5;a="b', b"5 ", b"5;a ;", b'5;a="b\\'])
def test_half_an_extension_is_no_extension(line: bytes) -> None:
    """What Python took for whole until 3.11.5 where a group with alternatives was repeated possessively."""
    assert CHUNK_LINE.fullmatch(line + b"\r\n") is None
    assert CHUNK_LINE.fullmatch(b'5;a;b=c ; d="e\\""\r\n') is not None


# --- linear cost -----------------------------------------------------------------------------------------------------


def read_request(data: bytes) -> None:
    with contextlib.suppress(HeadError):
        parse_request(data, max_bytes=1 << 20)


def read_response(data: bytes) -> None:
    with contextlib.suppress(ResponseError):
        parse_response(data, max_bytes=1 << 20)


def read_chunked(data: bytes) -> None:
    with contextlib.suppress(BodyError):
        ChunkedBody().feed(data)


def read_decoded(data: bytes) -> None:
    with contextlib.suppress(BodyError):
        ChunkedBody(decode=True).feed(data)


def collect(data: bytes) -> None:
    buffer = HeadBuffer(request_begins)
    for index in range(len(data)):
        buffer.add(data[index : index + 1], 1 << 20)


def collect_trailers(data: bytes) -> None:
    body = ChunkedBody()
    body.feed(b"0\r\n")
    for index in range(0, len(data), 8):
        body.feed(data[index : index + 1])


HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
HOSTILE: dict[str, tuple[Callable[[bytes], None], Callable[[int], bytes]]] = {
    "fields, the last bad": (read_request, lambda n: HEAD + b"a: b\r\n" * (n // 6) + b" \r\n\r\n"),
    "options of Connection": (read_request, lambda n: HEAD + b"Connection: " + b"a," * (n // 2) + b"\r\n\r\n"),
    "white space in a value": (read_request, lambda n: HEAD + b"Content-Length:" + b" \t" * (n // 2) + b"x\r\n\r\n"),
    "a name": (read_request, lambda n: HEAD + b"x-forwarded-" * (n // 12)),
    "a value": (read_response, lambda n: b"HTTP/1.1 200 OK\r\nX: " + b"a" * n),
    "a reason": (read_response, lambda n: b"HTTP/1.1 200 " + b"\t" * n + b"\n"),
    "chunks": (read_chunked, lambda n: b"1;a\r\nx\r\n" * (n // 8)),
    "chunks, decoded": (read_decoded, lambda n: b"1\r\na\r\n01\r\na\r\n" * (n // 13)),
    "chunks, one by one": (read_decoded, lambda n: (b"10\r\n" + b"a" * 16 + b"\r\n") * (n // 22)),
    "line ends in a chunk": (read_chunked, lambda n: b"%x\r\n" % n + b"\r\n" * (n // 2)),
    "fields in pieces": (collect, lambda n: (HEAD + b"a: b\r\n" * (n // 6))[:n]),
    "a line in pieces": (collect, lambda n: b"a" * n),
    "trailers in pieces": (collect_trailers, lambda n: b"X: " + b"a" * n),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_cost_is_linear(name: str) -> None:
    """Eight times the bytes take about eight times as long, where quadratic work would take 64 times.

    Of the time of this thread the shortest of several turns counts, so that a busy machine does not decide; the bound
    lies far from both.
    """
    work, make = HOSTILE[name]
    small, large = make(4_000), make(32_000)

    def shortest(data: bytes) -> float:
        times = []
        for _ in range(7):
            begin = time.thread_time()
            work(data)
            times.append(time.thread_time() - begin)
        return min(times)

    ratios: list[float] = []
    while len(ratios) < 5 and (not ratios or ratios[-1] > 24):
        ratios.append(shortest(large) / shortest(small))
    assert ratios[-1] <= 24, f"8 times the bytes took {ratios} times as long"
