"""A short run of each fuzz target. The seed changes with the day."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from tests.fuzz.run import TARGETS, Target, run

SECONDS = 2.5


@pytest.mark.parametrize("name", TARGETS)
def test_short_run(name: str) -> None:
    end = time.monotonic() + SECONDS
    seed = time.gmtime().tm_yday << 32
    outcome = run(TARGETS[name], seed, 1_000_000, lambda: time.monotonic() < end)
    assert outcome.failure is None
    assert outcome.runs > outcome.accepted > 0


def test_a_run_tells_which_message_broke_a_rule() -> None:
    def check(data: bytes) -> bytes:
        assert b"b" not in data
        return data

    target = Target(lambda source: bytes(source.choices(b"ab", weights=(50, 1))), check)
    outcome = run(target, 7, 10_000, lambda: True)
    assert outcome.failure is not None
    seed, data, error = outcome.failure
    assert isinstance(error, AssertionError)
    again = run(target, seed, 1, lambda: True)
    assert again.failure is not None
    assert again.failure[1] == data
    assert b"b" in data[0]


def test_a_response_answers_each_method() -> None:
    asked = set()

    def check(_: bytes, method: bytes) -> None:
        asked.add(method)

    run(replace(TARGETS["responses"], check=check), 7, 100, lambda: True)
    assert asked == {b"GET", b"HEAD", b"POST", b"OPTIONS"}
