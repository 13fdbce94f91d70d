"""Whatever is accepted, h11 and llhttp read the same from it and from what is sent on; Hypothesis looks for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.http1.body import BodyError
from tests.fuzz import checks, mutate
from tests.fuzz.corpus.chunked_cases import CHUNKED
from tests.fuzz.corpus.request_cases import REQUESTS
from tests.fuzz.corpus.response_cases import RESPONSES

if TYPE_CHECKING:
    import random

RANDOM = st.randoms(use_true_random=False)
SHORT = 600


def corpus(cases: tuple[object, ...]) -> st.SearchStrategy[bytes]:
    return st.sampled_from([case.data for case in cases if len(case.data) < SHORT])  # type: ignore[attr-defined]


@settings(max_examples=200)
@given(RANDOM)
def test_requests(source: random.Random) -> None:
    checks.check_request(mutate.mutated(source, mutate.request(source)))


@settings(max_examples=200)
@given(RANDOM, corpus(REQUESTS))
def test_requests_near_the_corpus(source: random.Random, data: bytes) -> None:
    checks.check_request(mutate.mutated(source, data))


@settings(max_examples=200)
@given(RANDOM, st.sampled_from([b"GET", b"HEAD", b"POST"]))
def test_responses(source: random.Random, method: bytes) -> None:
    checks.check_response(mutate.mutated(source, mutate.response(source)), method)


@settings(max_examples=200)
@given(RANDOM, corpus(RESPONSES), st.sampled_from([b"GET", b"HEAD"]))
def test_responses_near_the_corpus(source: random.Random, data: bytes, method: bytes) -> None:
    checks.check_response(mutate.mutated(source, data), method)


@settings(max_examples=200)
@given(RANDOM)
def test_chunked_bodies(source: random.Random) -> None:
    checks.check_chunked(mutate.mutated(source, mutate.chunked(source)))


@settings(max_examples=200)
@given(RANDOM, corpus(CHUNKED))
def test_chunked_bodies_near_the_corpus(source: random.Random, data: bytes) -> None:
    checks.check_chunked(mutate.mutated(source, data))


@given(st.binary(max_size=200))
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
def test_any_bytes(data: bytes) -> None:
    """Only the documented errors escape."""
    checks.check_request(data)
    checks.check_response(data)
    checks.check_chunked(data)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.binary(max_size=20))
def test_any_payload_in_chunks(chunks: list[bytes], rest: bytes) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + rest
    body = checks.check_chunked(data)
    assert not isinstance(body, BodyError)
    assert body.done
    assert body.payload == sum(map(len, chunks))
