"""Which backend of a slot gets a request: the least busy, in turn among equals; after a recovery a few at first."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.backends import FAILURES_TO_EJECT, FIRST_EJECTION, LONGEST_EJECTION, SLOW_START, Backend, BackendSet


def three() -> tuple[BackendSet, Backend, Backend, Backend]:
    first, second, third = (Backend(f"127.0.0.1:{port}", True) for port in (1, 2, 3))
    return BackendSet((first, second, third)), first, second, third


def choices(backends: BackendSet, count: int, now: float) -> Counter[str]:
    chosen = [backends.choose(now) for _ in range(count)]
    return Counter(backend.address[-1] for backend in chosen if backend is not None)


def test_the_least_busy() -> None:
    backends, first, second, third = three()
    first.in_flight, second.in_flight, third.in_flight = 3, 1, 2
    assert [backends.choose(0.0) for _ in range(3)] == [second] * 3
    second.in_flight = 4
    assert backends.choose(0.0) is third


def test_equals_take_turns() -> None:
    backends, *_ = three()
    assert choices(backends, 30, 0.0) == {"1": 10, "2": 10, "3": 10}


def test_requests_that_stay_are_spread_evenly() -> None:
    backends, *all_three = three()
    for _ in range(31):
        chosen = backends.choose(0.0)
        assert chosen is not None
        chosen.in_flight += 1
    assert sorted(backend.in_flight for backend in all_three) == [10, 10, 11]


def test_one_that_was_tried_is_not_tried_again() -> None:
    backends, first, second, third = three()
    assert backends.choose(0.0, (first, third)) is second
    assert backends.choose(0.0, (first, second, third)) is None
    only = BackendSet((first,))
    assert only.choose(0.0) is first
    assert only.choose(0.0, (first,)) is None


def test_one_that_is_down_gets_nothing_unless_all_are() -> None:
    backends, first, second, third = three()
    second.probed(False, 0.0)
    assert set(choices(backends, 30, 0.0)) == {"1", "3"}
    first.probed(False, 0.0)
    third.probed(False, 0.0)
    assert backends.usable(0.0) == 0
    assert set(choices(backends, 30, 0.0)) == {"1", "2", "3"}


def test_failures_in_a_row_eject_for_longer_each_time() -> None:
    backend = Backend("127.0.0.1:1", True)
    now, lengths = 0.0, []
    for _ in range(8):
        for _ in range(FAILURES_TO_EJECT):
            assert backend.usable(now)
            backend.failed(now)
        assert not backend.usable(now)
        lengths.append(backend.ejected_until - now)
        now = backend.ejected_until
    assert lengths[:3] == [FIRST_EJECTION, 2 * FIRST_EJECTION, 4 * FIRST_EJECTION]
    assert lengths[-1] == LONGEST_EJECTION
    backend.answered()
    backend.failed(now)
    assert backend.usable(now), "an answer forgets what was before"


def test_many_failures_in_one_instant_are_one_ejection() -> None:
    backend = Backend("127.0.0.1:1", True)
    for _ in range(12):
        backend.failed(5.0)
    assert backend.ejected_until == 5.0 + FIRST_EJECTION


def test_failures_during_an_ejection_lengthen_neither_it_nor_the_next() -> None:
    backend = Backend("127.0.0.1:1", True)
    for now in (5.0, 5.0, 5.2, 5.9):
        backend.failed(now)
    over = 5.0 + FIRST_EJECTION
    assert backend.ejected_until == over
    assert backend.troubled
    backend.failed(over)
    assert backend.usable(over), "one failure since its end does not eject"
    backend.failed(over)
    assert backend.ejected_until == over + 2 * FIRST_EJECTION


@given(st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.5, 2.0]), max_size=60))
def test_ejections_never_overlap(pauses: list[float]) -> None:
    backend, now, ends = Backend("127.0.0.1:1", True), 0.0, [0.0]
    for pause in pauses:
        now += pause
        backend.failed(now)
        if backend.ejected_until != ends[-1]:
            assert now >= ends[-1]
            length = min(FIRST_EJECTION * 2 ** (len(ends) - 1), LONGEST_EJECTION)
            ends.append(now + length)
            assert backend.ejected_until == ends[-1]


def test_a_recovered_backends_share_grows() -> None:
    backends, first, *_ = three()
    first.probed(False, 0.0)
    first.probed(True, 100.0)
    shares = [choices(backends, 300, 100.0 + second)["1"] for second in (0.0, 5.0, SLOW_START)]
    assert 5 <= shares[0] <= 35
    assert shares[0] < shares[1] < shares[2]
    assert 90 <= shares[2] <= 110, "a third of them in the end"


def test_an_ejected_backend_starts_slowly_too() -> None:
    backends, first, *_ = three()
    for _ in range(FAILURES_TO_EJECT):
        first.failed(50.0)
    assert choices(backends, 60, 50.5)["1"] == 0
    assert 0 < choices(backends, 300, first.ejected_until)["1"] <= 35


def test_a_recovered_backend_is_not_flooded_when_it_has_nothing_outstanding() -> None:
    backends, first, second, third = three()
    first.probed(False, 0.0)
    first.probed(True, 100.0)
    second.in_flight = third.in_flight = 50
    assert choices(backends, 100, 100.0)["1"] <= 11


def test_what_was_never_down_does_not_start_slowly() -> None:
    fresh, other = Backend("127.0.0.1:1"), Backend("127.0.0.1:2", True)
    fresh.probed(True, 5.0)
    assert choices(BackendSet((fresh, other)), 20, 5.0) == {"1": 10, "2": 10}


def test_the_only_usable_one_gets_everything_however_new_it_is() -> None:
    backends, first, second, third = three()
    for backend in (first, second, third):
        backend.probed(False, 0.0)
    first.probed(True, 1.0)
    assert choices(backends, 20, 1.0) == {"1": 20}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["fail", "answer", "up", "down", "in", "out"])), max_size=60)
)
def test_a_choice_is_never_worse_than_another(steps: list[tuple[int, str]]) -> None:
    backends, *all_three = three()
    now = 0.0
    for index, what in steps:
        now += 0.7
        backend = all_three[index]
        match what:
            case "fail":
                backend.failed(now)
            case "answer":
                backend.answered()
            case "up" | "down":
                backend.probed(what == "up", now)
            case "in":
                backend.in_flight += 1
            case "out":
                backend.in_flight = max(0, backend.in_flight - 1)
        chosen = backends.choose(now)
        assert chosen is not None
        assert chosen.usable(now) or not backends.usable(now)
