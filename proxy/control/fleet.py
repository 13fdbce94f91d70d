"""The workers: one at every position, a successor for each that dies, a new generation at a reload."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from proxy.control.handover import FleetPart
from proxy.control.worker_process import COMMAND, WorkerError, WorkerProcess
from proxy.core import orders

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from proxy.control.listeners import Listeners
    from proxy.settings import Settings

LOAD_SECONDS: Final = 60.0
SERVE_SECONDS: Final = 10.0
_SHORT_LIFE: Final = 10.0
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 10.0


class FleetOwner(Protocol):
    """Who decides what workers are told."""

    def start_order(self, worker: WorkerProcess) -> orders.Start: ...

    async def admit(self, worker: WorkerProcess) -> None:
        """Sends Serve when nothing undecided is under way; from then on the worker takes part in switches."""

    def worker_event(self, worker: WorkerProcess, event: orders.Event) -> None: ...

    def worker_lost(self, worker: WorkerProcess) -> None: ...

    def note(self, message: str) -> None:
        """For the log and the events."""


class Fleet:
    """`workers` has all that live, by number; `current` those of the newest generation, by position."""

    def __init__(
        self,
        owner: FleetOwner,
        clock: Callable[[], float],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.workers: dict[int, WorkerProcess] = {}
        self.current: dict[int, WorkerProcess] = {}
        self.deaths = 0
        self._owner = owner
        self._clock = clock
        self._command = command
        self._numbers = 0
        self._listeners: Listeners | None = None
        self._short_lives: dict[int, int] = {}
        self._stopping = False
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def launch(self, settings: Settings, listeners: Listeners, count: int, commit: Callable[[], None]) -> None:
        """Starts a generation. When all its workers have loaded, `commit` runs, they serve, and the old ones stop.

        Raises WorkerError when one does not come up; then its generation is gone and nothing else has changed.
        """
        fresh: list[WorkerProcess] = []
        try:
            for position in range(count):
                worker = await self._spawn(position, settings, listeners)
                fresh.append(worker)
            async with asyncio.timeout(LOAD_SECONDS):
                await asyncio.gather(*(worker.prepared for worker in fresh))
        except (WorkerError, OSError, TimeoutError) as error:
            for worker in fresh:
                worker.kill("its generation did not come up")
            for worker in fresh:
                await worker.gone.wait()
            late = f"a worker did not load within {LOAD_SECONDS:g} s"
            raise WorkerError(late if isinstance(error, TimeoutError) else str(error)) from error
        old = list(self.current.values())
        commit()
        self._listeners = listeners
        self._short_lives.clear()
        self.current = {worker.position: worker for worker in fresh}
        for worker in fresh:
            # It may have died between its Prepared and now; then nothing replaced it, as it was not current.
            if worker.state == "lost":
                self._succeed(worker)
        await asyncio.gather(*(self._serve(worker) for worker in fresh))
        for worker in old:
            worker.stop(worker.settings.timeouts.stop)

    def unsettled(self) -> str | None:
        """Why the workers can't be handed over now; None: they can."""
        for worker in self.workers.values():
            if worker.state not in ("ready", "draining"):
                return f"worker {worker.number} is {worker.state}"
            if worker.unsent:
                return f"worker {worker.number} has not taken its orders"
        return None

    def hand_over(self, settings: list[Settings]) -> FleetPart:
        """`settings`: what the workers' indexes refer to. Only while not `unsettled`."""
        return FleetPart(
            workers=[worker.hand_over(settings.index(worker.settings)) for worker in self.workers.values()],
            current={position: worker.number for position, worker in self.current.items()},
            numbers=self._numbers,
            deaths=self.deaths,
        )

    async def take_over(self, part: FleetPart, settings: list[Settings], listeners: Listeners) -> None:
        """Goes on with a former supervisor's workers. One that it was still to replace is replaced here."""
        self._numbers, self.deaths, self._listeners = part.numbers, part.deaths, listeners
        now = self._clock()
        for each in part.workers:
            worker = WorkerProcess(each.number, each.position, settings[each.settings], self, each.started)
            self.workers[each.number] = worker
        for position, number in part.current.items():
            dead = WorkerProcess(number, position, settings[0], self, now)
            self.current[position] = self.workers.get(number, dead)
        for each in part.workers:
            await self.workers[each.number].take_over(each)
        for worker in list(self.current.values()):
            if worker.number not in self.workers:
                self._succeed(worker)

    async def stop(self, grace: float) -> None:
        """Returns when all workers have ended; those that are late are killed."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        for worker in list(self.workers.values()):
            if worker.state == "ready":
                worker.stop(grace, last=True)
            elif worker.state != "draining":
                worker.kill("the proxy stops")
        while self.workers:
            await self.changed()

    def kill_all(self) -> None:
        """Ends every worker now."""
        self._stopping = True
        for worker in list(self.workers.values()):
            worker.kill("the proxy was told to stop at once")

    async def changed(self) -> None:
        """Returns when a worker has become ready or was lost."""
        await self._changed.wait()

    @property
    def all_ready(self) -> bool:
        return bool(self.current) and all(worker.state == "ready" for worker in self.current.values())

    async def _spawn(self, position: int, settings: Settings, listeners: Listeners) -> WorkerProcess:
        if self._stopping:
            raise WorkerError("the proxy stops")
        self._numbers += 1
        worker = WorkerProcess(self._numbers, position, settings, self, self._clock())
        self.workers[worker.number] = worker
        try:
            await worker.start(listeners.at(position), self._command, listeners.lent_at(position))
        except BaseException:
            del self.workers[worker.number]
            raise
        worker.send(self._owner.start_order(worker))
        return worker

    async def _serve(self, worker: WorkerProcess) -> None:
        """A worker that fails here is killed, and so gets a successor."""
        try:
            await self._owner.admit(worker)
            async with asyncio.timeout(SERVE_SECONDS):
                await asyncio.shield(worker.ready)
        except TimeoutError:
            worker.kill(f"it did not serve within {SERVE_SECONDS:g} s")
        except WorkerError:
            pass  # Its death is handled where it is noticed.
        else:
            self._tell_changed()

    def worker_event(self, worker: WorkerProcess, event: orders.Event) -> None:
        if isinstance(event, orders.Leaving):
            self._owner.note(f"worker {worker.number} (pid {worker.pid}) was told to leave by a signal")
            if self.current.get(worker.position) is worker:
                self._succeed(worker)
        else:
            self._owner.worker_event(worker, event)

    def worker_lost(self, worker: WorkerProcess) -> None:
        expected = worker.exit_code == 0 and not worker.kill_reason
        del self.workers[worker.number]
        self._owner.worker_lost(worker)
        if not expected or self.current.get(worker.position) is worker:
            self.deaths += not self._stopping
            self._owner.note(f"worker {worker.number} (pid {worker.pid}) {worker.how_it_ended()}")
        if self.current.get(worker.position) is worker:
            self._succeed(worker)
        self._tell_changed()

    def _succeed(self, worker: WorkerProcess) -> None:
        if not self._stopping:
            lived = self._clock() - worker.started
            short = self._short_lives.get(worker.position, 0) + 1 if lived < _SHORT_LIFE else 0
            self._short_lives[worker.position] = short
            delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (short - 2)) if short > 1 else 0.0
            self._in_background(self._replace(worker, delay))

    async def _replace(self, dead: WorkerProcess, delay: float) -> None:
        await asyncio.sleep(delay)
        listeners = self._listeners
        if listeners is None or self.current.get(dead.position) is not dead:
            return
        try:
            worker = await self._spawn(dead.position, dead.settings, listeners)
        except OSError as error:
            self._owner.note(f"no worker could be started: {error.strerror}")
            self._succeed(dead)
            return
        self.current[dead.position] = worker
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                await asyncio.shield(worker.prepared)
        except TimeoutError:
            worker.kill(f"it did not load within {LOAD_SECONDS:g} s")
        except WorkerError:
            pass  # Its death is handled where it is noticed.
        else:
            await self._serve(worker)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell_changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Fleet {', '.join(f'{worker.number}:{worker.state}' for worker in self.workers.values())}>"
