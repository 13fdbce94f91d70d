"""Hypothesis profiles: no example has a deadline, as the machine may be slow. `--hypothesis-profile=long` digs."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("short", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", parent=settings.get_profile("short"), max_examples=5000)
settings.load_profile("short")
