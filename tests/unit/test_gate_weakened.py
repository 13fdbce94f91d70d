"""The models notice when a rule of the gate is weakened: the session barrier, the hold, the drain and others."""

from __future__ import annotations

import pytest

from tests.unit.gate_weakened import WEAKENINGS, Weakening, look_for_faults


@pytest.mark.parametrize("weakening", WEAKENINGS, ids=lambda weakening: weakening.rule)
def test_a_weakened_rule_is_noticed(weakening: Weakening) -> None:
    with pytest.raises(AssertionError):
        look_for_faults(weakening.gate(), weakening.model)


def test_a_rule_that_has_changed_is_an_error() -> None:
    with pytest.raises(ValueError, match="a drain is told: gate has 'if' 2 times"):
        Weakening("a drain is told", "gate", "if", "when").apply("if if")
