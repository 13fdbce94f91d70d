"""Sessions across switches between two replicating Tomcats: strictly what one server would answer.

`scripts/bench sessions` is the long version, with a comparison for sessions that are hit in parallel.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.switching.counting import Verdict
from benchmarks.switching.sessions import Shape, measure, replicated_site

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tomcat


def test_sessions_count_on_whatever_slot_is_active(tmp_path: Path) -> None:
    shape = Shape(sessions=4, clients=6, switches=10, in_turn=True)
    with replicated_site(tmp_path / "site") as site:
        result = measure(site, shape)
        assert (result.verdict, result.problems) == (Verdict(hits=result.verdict.hits), ())
        assert result.switches == shape.switches
        assert result.verdict.hits > 2 * shape.switches
        # In parallel Tomcat itself may keep an older value of two: what the proxy answers for is that none is lost.
        parallel = measure(site, replace(shape, switches=6, in_turn=False))
        assert replace(parallel.verdict, repeated=0, disordered=0) == Verdict(hits=parallel.verdict.hits)
        assert parallel.problems == ()
