"""What is remembered of requests: few, not for long, and nothing that looks like a secret."""

from __future__ import annotations

import time

import pytest

from proxy.core.recent import MAX_AGE, MAX_KEPT, WANTED, WANTED_BAD, Recent, merge_samples, told


def paths(recent: Recent, now: float = 0.0) -> dict[str, int]:
    return {row.path: row.count for row in recent.rows(now)}


def test_a_few_gets_between_two_looks_are_noted() -> None:
    recent = Recent()
    for number in range(100):
        if recent.wanted:
            recent.note("temp", b"GET", b"/%d" % number, 200, 0.01, 0.0)
    assert list(paths(recent)) == [f"/{number}" for number in range(WANTED)]
    recent.look()
    recent.note("temp", b"GET", b"/0", 200, 0.3, 0.0)
    [first] = [row for row in recent.rows(0.0) if row.path == "/0"]
    assert (first.slot, first.method, first.status, first.count, first.slowest_ms) == ("temp", "GET", 200, 2, 300.0)


@pytest.mark.parametrize(
    ("method", "status", "seconds"),
    [(b"POST", 200, 0.01), (b"GET", 404, 0.01), (b"GET", 101, 900.0), (b"GET", 0, 900.0), (b"HEAD", 200, 0.01)],
)
def test_what_is_no_sample_and_no_fault_is_not_noted(method: bytes, status: int, seconds: float) -> None:
    recent = Recent()
    recent.note("temp", method, b"/", status, seconds, 0.0)
    assert recent.rows(0.0) == ()
    assert recent.wanted == WANTED


def test_failures_and_slow_ones_are_noted_whatever_else_there_is() -> None:
    recent = Recent()
    for _ in range(WANTED + 3):
        recent.note("temp", b"GET", b"/", 200, 0.01, 0.0)
    recent.note("temp", b"POST", b"/order", 503, 0.01, 0.0)
    recent.note("temp", b"GET", b"/report", 200, 2.5, 0.0)
    assert paths(recent) == {"/order": 1, "/report": 1, "/": WANTED}
    for _ in range(10 * WANTED_BAD):
        recent.note("temp", b"POST", b"/order", 503, 0.01, 0.0)
    assert paths(recent)["/order"] == WANTED_BAD - 1


def test_it_is_bounded_and_forgets() -> None:
    recent = Recent()
    for number in range(3 * MAX_KEPT):
        recent.look()
        recent.note("temp", b"GET", b"/%d" % number, 200, 0.01, float(number))
        recent.note("temp", b"GET", b"/bad%d" % number, 500, 0.01, float(number))
    assert len(recent.rows(0.0)) == 2 * MAX_KEPT
    assert paths(recent, 3 * MAX_KEPT + MAX_AGE) == {}


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (b"/cart?item=3&sort=price", b"/cart?item=3&sort=price"),
        (b"/reset?token=abc", b"/reset"),
        (b"/login?next=/&userName=anna", b"/login"),
        (b"/show?page=1&d=9f86d081884c7d659a2feaa0c55ad015", b"/show"),
        (b"/cart;jsessionid=0123456789ABCDEF0123456789ABCDEF", b"/cart"),
        (b"/cart;jsessionid=0123/x?a=1", b"/cart/x?a=1"),
        (b"/show?pass&page=1", b"/show?pass&page=1"),
        (b"/show?page=1&new%5Bpwd%5D=1", b"/show"),
        (b"/show?d=" + b"a" * 30 + b"&e=" + b"1" * 30, b"/show?d=" + b"a" * 30 + b"&e=" + b"1" * 30),
        (b"/show?d=" + b"a" * 23 + b"1&e=2", b"/show"),
        (b"/reset/9f86d081884c7d659a2feaa0c55ad015/now", b"/reset/*/now"),
        (b"/static/app.9f86d081884c7d659a2feaa0c55ad015.css", b"/static/app.9f86d081884c7d659a2feaa0c55ad015.css"),
        (b"/articles/how-to-change-a-release-without-downtime", b"/articles/how-to-change-a-release-without-downtime"),
        (b"/search?q=" + b"long+" * 200, b"/search"),
        (b"/" + b"a/" * 400, b"/" + b"a/" * 255 + b"a"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(target: bytes, kept: bytes) -> None:
    assert told(target) == kept


@pytest.mark.parametrize("part", [b"a", b"1", b"pass", b"&a", b"a=", b";", b"%2", b"/a"])
def test_cost_is_linear_in_the_target(part: bytes) -> None:
    """Eight times the bytes take about eight times as long; of several turns' thread time the shortest counts."""

    def shortest(size: int) -> float:
        targets = [b"/?" + part * (size // len(part)), b"/" + part * (size // len(part))]
        times = []
        for _ in range(15):
            begin = time.thread_time()
            for target in targets * 40:
                told(target)
            times.append(time.thread_time() - begin)
        return min(times)

    ratios: list[float] = []
    while len(ratios) < 5 and (not ratios or ratios[-1] > 20):
        ratios.append(shortest(504) / shortest(63))
    assert ratios[-1] <= 20, f"8 times the bytes took {ratios} times as long"


def test_samples_of_workers_are_added_up() -> None:
    one, two = Recent(), Recent()
    one.note("temp", b"GET", b"/a", 200, 0.1, 0.0)
    two.note("temp", b"GET", b"/b", 200, 0.1, 0.0)
    two.note("temp", b"GET", b"/a", 200, 0.2, 0.0)
    merged = merge_samples([one.rows(0.0), two.rows(0.0)])
    assert [(row.path, row.count, row.slowest_ms) for row in merged] == [("/a", 2, 200.0), ("/b", 1, 100.0)]
