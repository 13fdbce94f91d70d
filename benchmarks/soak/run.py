"""The soak itself: load at a bounded rate, disturbances beside it, samples, and the account at the end."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

from benchmarks.servers import BenchError
from benchmarks.soak import samples
from benchmarks.soak.account import Account, Violation, account, read_records
from benchmarks.soak.kinds import visit
from benchmarks.soak.logged import Killed, life_rules, read_lines
from benchmarks.soak.site import SLOTS, Site, running
from benchmarks.soak.visits import Exchange, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.soak.logged import Kill
    from benchmarks.soak.samples import Sample

MOST_VISITORS: Final = 600
REQUESTS_PER_VISIT: Final = 2.8
DISTURBED_SHARE: Final = 0.45
"""Workers are killed and replaced in the first part of the run; the rest shows one worker's memory over minutes."""
WARM_SECONDS: Final = 30.0
END_SECONDS: Final = 40.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate`: requests a second. The others are seconds between two switches, kills, reloads, windows and samples."""

    seconds: float
    seed: int
    rate: float = 200.0
    switch: float = 3.0
    kill: float = 40.0
    reload: float = 60.0
    window: float = 4.0
    sample: float = 2.0
    large: bool = True


@dataclass(slots=True)
class Result:
    plan: Plan
    account: Account = field(default_factory=Account)
    samples: list[Sample] = field(default_factory=list)
    before: Sample | None = None
    after: Sample | None = None
    switches: int = 0
    refused_switches: int = 0
    undrained: int = 0
    longest_hold_ms: float = 0.0
    kills: list[Kill] = field(default_factory=list)
    reloads: int = 0
    windows: int = 0
    growth: dict[int, tuple[int, int]] = field(default_factory=dict)
    lines: int = 0
    output: str = ""
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        return sum(self.account.table.values())

    @property
    def ok(self) -> bool:
        return bool(self.requests) and not self.account.violations


class Soak:
    """One run. `say` gets a line now and then."""

    def __init__(self, plan: Plan, site: Site, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._site = site
        self._say = say
        self._done: list[Exchange] = []
        self._numbers = 0
        self._begin = monotonic()
        self._visits: set[asyncio.Task[None]] = set()
        self._last_disturbance = 0.0
        self._stopping = False
        self.result = Result(plan)

    def __repr__(self) -> str:
        return f"<Soak {len(self._done)} requests, {len(self._visits)} visitors>"

    async def run(self) -> Result:
        result = self.result
        result.before = await self._sample()
        self._begin = monotonic()
        tasks = [asyncio.create_task(part()) for part in (self._switch, self._kill, self._reload, self._watch)]
        try:
            await self._load()
            await self._finish(tasks)
        finally:
            for task in (*tasks, *self._visits):
                task.cancel()
        result.seconds = monotonic() - self._begin
        await self._until_quiet()
        return result

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        async with asyncio.timeout(END_SECONDS):
            if self._visits:
                await asyncio.wait(self._visits)
        for task in tasks:
            if task.done():
                task.result()
        switch = tasks[0]
        self._stopping = True
        async with asyncio.timeout(END_SECONDS):
            await switch

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    # --- load ------------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        chance = random.Random(self._plan.seed)
        count = 0
        while (now := monotonic() - self._begin) < self._plan.seconds:
            due = int(now * self._plan.rate / REQUESTS_PER_VISIT)
            while count < due and len(self._visits) < MOST_VISITORS:
                count += 1
                self._start_visit(chance.randrange(1 << 60))
            count = max(count, due - 50)  # what could not be begun in time is not made up for
            await asyncio.sleep(0.02)

    def _start_visit(self, seed: int) -> None:
        visitor = Visitor(self._site.port, random.Random(seed), self._number, self._done, self._plan.large)
        task = asyncio.create_task(visit(visitor))
        self._visits.add(task)
        task.add_done_callback(self._visit_done)

    def _visit_done(self, task: asyncio.Task[None]) -> None:
        self._visits.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._violation("a visit failed", repr(error))

    def _violation(self, rule: str, text: str) -> None:
        self.result.account.violations.append(Violation(rule, text))

    # --- disturbances ------------------------------------------------------------------------------------------------

    async def _switch(self) -> None:
        old, new = SLOTS
        while not self._stopping:
            await asyncio.sleep(self._plan.switch)
            body = {"to": new, "expect_active": old, "hold": "5s", "drain": "30s"}
            code, report = await self._site.call("POST", "/v1/apps/soak/switch", body)
            if code != 200:
                self.result.refused_switches += 1
                self._say(f"switch to {new}: {code} {report}")
                status = await self._site.status()
                if status["apps"][0]["active"] == old:
                    continue
            else:
                self.result.switches += 1
                self.result.undrained += not report["drained"]
                self.result.longest_hold_ms = max(self.result.longest_hold_ms, report["hold_ms"])
            old, new = new, old

    def _disturbing(self) -> bool:
        return monotonic() - self._begin < self._plan.seconds * DISTURBED_SHARE

    async def _kill(self) -> None:
        chance = random.Random(self._plan.seed + 1)
        await asyncio.sleep(self._plan.kill / 2)
        while self._disturbing():
            status = await self._site.status()
            workers = [worker for worker in status["workers"] if worker["state"] == "ready"]
            if workers:
                worker = chance.choice(workers)
                life = await self._site.life(worker["id"])
                if not life:
                    continue  # replaced meanwhile by a reload
                self.result.kills.append(await self._site.kill_worker(worker["pid"], life))
                self._last_disturbance = monotonic() - self._begin
            await asyncio.sleep(self._plan.kill)

    async def _reload(self) -> None:
        await asyncio.sleep(self._plan.reload * 0.6)
        while self._disturbing():
            self._site.reload()
            self.result.reloads += 1
            self._last_disturbance = monotonic() - self._begin
            await asyncio.sleep(self._plan.reload)

    # --- samples -----------------------------------------------------------------------------------------------------

    async def _sample(self) -> Sample:
        status = await self._site.status()
        _, metrics = await self._site.call("GET", "/metrics")
        return await asyncio.to_thread(samples.take, monotonic() - self._begin, status, str(metrics))

    async def _watch(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(self._plan.sample)
            one = await self._sample()
            self.result.samples.append(one)
            turn += 1
            if turn % 15 == 0:
                rss = " ".join(f"{worker.rss / 2**20:.1f}" for worker in one.workers)
                self._say(
                    f"{one.at:6.0f} s  {len(self._done)} requests, in flight {one.in_flight}, held {one.held}, "
                    f"connections {one.connections}, RSS {rss} MiB, {self.result.switches} switches"
                )

    async def _until_quiet(self) -> None:
        """The load is over: within the time limits nothing of it may be left, and both workers are as before."""
        await self._site.until_ready()
        before = self.result.before
        assert before is not None
        end = monotonic() + END_SECONDS
        while True:
            after = self.result.after = await self._sample()
            left = samples.leaks(before, after)
            if not left or monotonic() > end:
                break
            await asyncio.sleep(0.5)
        for text in left:
            self._violation("leak", text)

    def settle(self, slots: Sequence[Sequence[int]]) -> None:
        """Makes the account, from what everyone has noted."""
        site, result = self._site, self.result
        records = read_records(site.records.read_text(), dict(zip(SLOTS, slots, strict=True)))
        lines = read_lines(site.access_log.read_text())
        result.lines = len(lines.all)
        killed = Killed.of(result.kills)
        found = account(self._done, records, killed, lines)
        found.violations += result.account.violations
        result.account = found
        result.windows = sum(map(len, records.windows.values()))
        result.output = site.output()
        if (place := result.output.find("Traceback")) >= 0:
            self._violation("the proxy or a backend met an error", result.output[max(0, place - 300) : place + 1500])
        assert result.after is not None
        living = [worker.requests for worker in result.after.workers]
        for rule, text in life_rules(self._done, lines, killed, living, result.after.counted):
            self._violation(rule, text)
        warm = self._last_disturbance + WARM_SECONDS
        result.growth = samples.growth(result.samples, [worker.pid for worker in result.after.workers], warm)
        for pid, (first, last) in result.growth.items():
            if last - first > samples.FLAT_BYTES:
                self._violation("memory", f"worker {pid} grew from {first} to {last} bytes")


async def soak(plan: Plan, directory: Path, ports: Sequence[int], say: Callable[[str], None]) -> Result:
    """One whole run. Raises BenchError when the site does not start, or ends."""
    async with running(directory, ports, plan.seed, plan.window) as site:
        one = Soak(plan, site, say)
        try:
            await one.run()
        except TimeoutError:
            raise BenchError(f"the load did not end: {one!r}\n{site.output()[-2000:]}") from None
    one.settle(site.slots)
    return one.result
