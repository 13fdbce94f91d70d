"""From probes to health."""

from __future__ import annotations

from proxy.core.health import BackendHealth


def test_the_first_probe_decides() -> None:
    up, down = BackendHealth(2, 3, 5.0), BackendHealth(2, 3, 5.0)
    assert (up.up, up.since) == (None, 5.0)
    assert up.note(None, 6.0)
    assert (up.up, up.since, up.last_error) == (True, 6.0, None)
    assert down.note("refused", 6.0)
    assert (down.up, down.last_error) == (False, "refused")


def test_rise_and_fall_count_in_a_row() -> None:
    health = BackendHealth(2, 3, 0.0)
    health.note(None, 1.0)
    outcomes = ["x", "x", None, "x", "x", "x", None, "x", None, None]
    changes = [health.note(error, 2.0 + number) for number, error in enumerate(outcomes)]
    assert changes == [False, False, False, False, False, True, False, False, False, True]
    assert (health.up, health.since, health.last_error) == (True, 11.0, None)


def test_the_last_error_is_told_before_the_fall() -> None:
    health = BackendHealth(1, 2, 0.0)
    health.note(None, 0.0)
    assert not health.note("slow", 1.0)
    assert (health.up, health.last_error) == (True, "slow")
