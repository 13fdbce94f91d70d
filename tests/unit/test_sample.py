"""What of the users' requests may be sent again, and when a warm-up has done its work."""

from __future__ import annotations

import pytest

from deployer.sample import choose, harmless
from deployer.warmup import settled
from proxy.wire import RecentRequest


def row(path: str, count: int = 1, method: str = "GET", status: int = 200, slowest: float = 5.0) -> RecentRequest:
    return RecentRequest(slot="production", method=method, path=path, status=status, count=count, slowest_ms=slowest)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/cart?page=2",
        "/products/17",
        "/orders?sort=date",
        "/about-us",
        "/static/app.css",
        "/addresses",
        "/setup-guide",
    ],
)
def test_harmless_addresses(target: str) -> None:
    assert harmless(target)


@pytest.mark.parametrize(
    "target",
    ["/logout", "/cart/add?item=3", "/cart?do=clear", "/deleteItem?id=1", "/user/42/Delete", "/reset/*/now", "/pay.do",
     "http://other/x", "/api/v1/send_mail", "/cart?action=remove"],
)  # fmt: skip
def test_addresses_that_sound_as_if_they_changed_something(target: str) -> None:
    assert not harmless(target)


def test_the_most_frequent_gets_that_went_well_are_chosen_once_each() -> None:
    recent = [
        row("/rare"),
        row("/often", 9),
        row("/often", 4, status=304),
        row("/post", 90, method="POST"),
        row("/missing", 90, status=404),
        row("/broken", 90, status=500),
        row("/events", 90, slowest=60_000.0),
        row("/logout", 90),
        row("/moved", 5, status=302),
    ]
    assert choose(recent, 50) == ("/often", "/moved", "/rare")
    assert choose(recent, 1) == ("/often",)
    assert choose([], 50) == ()


def test_it_has_settled_when_the_slowest_of_the_last_ones_are_no_faster_than_before() -> None:
    assert not settled([0.01] * 99)
    assert settled([0.01] * 100)
    assert not settled([0.5] * 50 + [0.01] * 50)
    assert settled([0.5] * 50 + [0.01] * 100)
    assert not settled([0.1] * 50 + [0.07] * 50), "it still falls"
    assert settled([0.1] * 50 + [0.09] * 50)
