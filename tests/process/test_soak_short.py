"""Seconds of the soak with a fixed seed; `scripts/bench soak` is the long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ports import free_port

from benchmarks.soak.run import Plan, soak

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan(seconds=6, seed=20, rate=160, switch=1, kill=3, reload=3, window=1.5, sample=1, large=False)


async def test_every_request_of_a_short_soak_is_accounted_for_and_nothing_is_left(tmp_path: Path) -> None:
    said: list[str] = []
    result = await soak(PLAN, tmp_path, [free_port() for _ in range(6)], said.append)
    assert not result.account.violations, "\n".join(map(str, [*result.account.violations, *said]))
    assert result.requests > 300
    assert result.switches >= 2
    assert len(result.kills) == 1
    assert result.reloads == 1
    assert result.windows >= 2
    assert result.after is not None
    assert result.after.counted
    assert result.lines > 300
    ended = {end for _, _, end in result.account.table}
    assert {"200", "200 cut", "400", "502", "101"} <= ended
