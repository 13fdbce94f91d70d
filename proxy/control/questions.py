"""Questions to all workers at once, answered by those that can within a bound."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from proxy.control.worker_process import WorkerProcess
    from proxy.core import orders

    Question = orders.StatsRequest | orders.InflightRequest | orders.SampleRequest
    Answer = orders.StatsReply | orders.InflightReply | orders.SampleReply


class _Open:
    def __init__(self, workers: set[int]) -> None:
        self.waiting = workers
        self.answers: dict[int, Answer] = {}
        self.complete = asyncio.Event()
        if not workers:
            self.complete.set()


class Questions:
    def __init__(self) -> None:
        self._number = 0
        self._open: dict[int, _Open] = {}

    async def ask(
        self,
        workers: Iterable[WorkerProcess],
        order: Callable[[int], Question],
        within: float,
    ) -> dict[int, Answer]:
        """Answers by worker number; those that have not come within `within` seconds are missing.

        `order(id)` makes the order. As a worker works on its orders one by one, an answer also tells that what was
        sent before has been done.
        """
        self._number += 1
        number = self._number
        asked = list(workers)
        question = _Open({worker.number for worker in asked})
        self._open[number] = question
        for worker in asked:
            worker.send(order(number))
        try:
            async with asyncio.timeout(within):
                await question.complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._open[number]
        return question.answers

    def answered(self, worker: int, answer: Answer) -> None:
        """A late answer is dropped."""
        question = self._open.get(answer.id)
        if question is not None and worker in question.waiting:
            question.answers[worker] = answer
            self._settle(question, worker)

    def lost(self, worker: int) -> None:
        for question in self._open.values():
            self._settle(question, worker)

    def _settle(self, question: _Open, worker: int) -> None:
        question.waiting.discard(worker)
        if not question.waiting:
            question.complete.set()

    def __repr__(self) -> str:
        return f"<Questions open={len(self._open)}>"
