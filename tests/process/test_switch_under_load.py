"""Fifty switches there and back at full load over two workers: nothing fails, and nothing is where it must not be.

`scripts/bench switch` is the long version, beside nginx and HAProxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorded_site import recorded_site

from benchmarks.switching.account import Faults

if TYPE_CHECKING:
    from pathlib import Path

SWITCHES = 50


async def test_fifty_switches_fail_tear_double_and_leave_nothing(tmp_path: Path) -> None:
    async with recorded_site(tmp_path) as site:
        async with site.load():
            old, new = "production", "temp"
            for epoch in range(1, SWITCHES + 1):
                status, report = await site.switch(old, new)
                assert (status, report["epoch"], report["workers"], report["drained"]) == (200, epoch, 2, True), report
                await site.served(new)
                old, new = new, old
        workers = (await site.proxy.status()).workers
        assert site.outcomes() == {}, site.evidence()
        assert site.faults() == Faults(), site.evidence()
        assert len(site.answers()) > SWITCHES * 5
        assert all(worker.requests for worker in workers), "one worker had nothing to do"
