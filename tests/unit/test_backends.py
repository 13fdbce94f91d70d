"""Which backend gets the next exchange."""

from __future__ import annotations

import pytest

from proxy.core.backends import FAILURES_TO_EJECT, FIRST_EJECTION, LONGEST_EJECTION, Backend, BackendSet

NOW = 1000.0


def backends(*loads: int) -> BackendSet:
    found = [Backend(f"127.0.0.1:{8081 + index}") for index in range(len(loads))]
    for backend, load in zip(found, loads, strict=True):
        backend.in_flight = load
    return BackendSet(found)


def eject(backend: Backend, now: float = NOW) -> None:
    for _ in range(FAILURES_TO_EJECT):
        backend.failed(now)


def test_the_one_with_the_least_to_do() -> None:
    some = backends(3, 1, 2)
    assert some.choose(NOW) is some.backends[1]


@pytest.mark.parametrize(("healthy", "usable"), [(True, True), (None, True), (False, False)])
def test_what_the_probe_says(healthy: bool | None, usable: bool) -> None:
    assert Backend("a:1", healthy).usable(NOW) is usable


def test_a_backend_that_is_down_gets_nothing_while_another_is_up() -> None:
    some = backends(0, 5)
    some.backends[0].healthy = False
    assert some.choose(NOW) is some.backends[1]
    assert some.choose(NOW, [some.backends[1]]) is some.backends[0]


def test_all_down_are_still_tried() -> None:
    some = backends(2, 1)
    for backend in some.backends:
        backend.healthy = False
    assert some.choose(NOW) is some.backends[1]


def test_each_is_tried_once() -> None:
    some = backends(0, 0, 0)
    tried: list[Backend] = []
    while (backend := some.choose(NOW, tried)) is not None:
        tried.append(backend)
    assert sorted(backend.address for backend in tried) == sorted(backend.address for backend in some.backends)


def test_a_single_backend() -> None:
    one = backends(9)
    eject(one.backends[0])
    assert one.choose(NOW) is one.backends[0]
    assert one.choose(NOW, one.backends) is None
    assert BackendSet([]).choose(NOW) is None


def test_failures_in_a_row_eject_for_a_time() -> None:
    some = backends(0, 5)
    failing = some.backends[0]
    failing.failed(NOW)
    assert some.choose(NOW) is failing
    failing.failed(NOW)
    assert some.choose(NOW) is some.backends[1]
    assert some.choose(NOW + FIRST_EJECTION) is failing


def test_an_answer_between_failures_forgets_them() -> None:
    backend = Backend("a:1")
    backend.failed(NOW)
    backend.answered()
    backend.failed(NOW)
    assert backend.usable(NOW)


def test_ejections_grow_to_a_bound_and_an_answer_makes_them_short_again() -> None:
    backend = Backend("a:1")
    times = []
    for _ in range(40):
        eject(backend)
        times.append(backend.ejected_until - NOW)
    assert times[:3] == [FIRST_EJECTION, FIRST_EJECTION * 2, FIRST_EJECTION * 4]
    assert max(times) == times[-1] == LONGEST_EJECTION
    backend.answered()
    eject(backend)
    assert backend.ejected_until - NOW == FIRST_EJECTION


def test_find_and_representations() -> None:
    some = backends(1, 0)
    assert some.find("127.0.0.1:8082") is some.backends[1]
    assert some.find("127.0.0.1:9") is None
    some.backends[0].healthy, some.backends[1].healthy = True, False
    assert repr(some) == (
        "<BackendSet <Backend 127.0.0.1:8081 up in_flight=1>, <Backend 127.0.0.1:8082 down in_flight=0>>"
    )
