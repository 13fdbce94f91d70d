"""Does what proxy.core.switchover decides for one app: orders, state file, deadlines, answers to the callers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.core import orders
from proxy.core.switchover import (
    Action,
    Persist,
    Refused,
    Replace,
    Reported,
    Send,
    Snapshot,
    SwitchBusyError,
    Switchover,
)
from proxy.errors import AdminError, StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from proxy.control.state import AppRecord
    from proxy.wire import SwitchReport

    Change = Callable[[AppRecord], AppRecord]


class Placed(NamedTuple):
    """A switch that whoever reads the state file now finds there.

    `follow` is called when the workers have been told: what can wait should keep no request waiting. `durable` ends
    when the disk has it; False: the disk has failed, and a failure of the machine may undo it.
    """

    follow: Callable[[], None]
    durable: Coroutine[Any, Any, bool]


def _nothing(record: AppRecord) -> AppRecord:
    return record


class Switching:
    """`send`, `kill`: to a worker, by number. `place(active, epoch, also)` writes both at once.

    The workers are told when that is in its place, and the switch is reported when it is durable, too. No request waits
    for the disk, and nobody is told of a switch that could be lost as if it could not.
    """

    def __init__(
        self,
        machine: Switchover,
        *,
        send: Callable[[int, orders.Order], None],
        kill: Callable[[int, str], None],
        place: Callable[[str, int, Change], Awaitable[Placed]],
    ) -> None:
        self.machine = machine
        self._send = send
        self._kill = kill
        self._place = place
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._answers: dict[int, asyncio.Future[SwitchReport]] = {}
        self._callers: dict[asyncio.Task[Any], int] = {}
        self._also: dict[int, Change] = {}
        self._decided = asyncio.Event()
        self._decided.set()
        self._writing: asyncio.Task[None] | None = None
        self._settling: dict[int, asyncio.Task[bool]] = {}
        self._unreported: set[int] = set()

    async def switch(
        self,
        *,
        to: str,
        hold: float,
        drain: float | None,
        also: Change = _nothing,
        spreading: orders.Spreading | None = None,
    ) -> SwitchReport:
        """Returns when the old slot is drained, or the drain is over. It goes on when the caller goes away.

        `also` is what else of the app's record changes with the switch, in the same write. Raises AdminError: 409
        while another switch is under way, 503 when nothing was switched.
        """
        try:
            number, actions = self.machine.begin(self._loop.time(), to=to, hold=hold, drain=drain, spreading=spreading)
        except SwitchBusyError as error:
            raise AdminError(409, str(error)) from error
        answer: asyncio.Future[SwitchReport] = self._loop.create_future()
        self._answers[number] = answer
        self._also[number] = also
        self._do(actions)
        caller = asyncio.current_task()
        assert caller is not None
        self._callers[caller] = number
        try:
            return await asyncio.shield(answer)
        finally:
            del self._callers[caller]

    def waits(self, caller: asyncio.Task[Any]) -> bool:
        """Whether it waits for the report of the attempt that is under way."""
        return self._callers.get(caller) in self._answers

    @property
    def reporting(self) -> bool:
        """Whether a switch is over but for its report."""
        return bool(self._unreported)

    def resume(self, snapshot: Snapshot) -> asyncio.Future[SwitchReport] | None:
        """Goes on as another did; the report that is still to come, if any."""
        number = self.machine.resume(snapshot)
        if number is None:
            return None
        answer = self._answers[number] = self._loop.create_future()
        self._also[number] = _nothing
        self._set_timer()
        return answer

    async def decided(self) -> None:
        """Returns when a worker may join."""
        await self._decided.wait()

    def worker_event(self, worker: int, event: orders.Event) -> None:
        """An event of this app."""
        now = self._loop.time()
        match event:
            case orders.HoldAck():
                self._do(self.machine.hold_ack(now, worker, event))
            case orders.SwitchAck():
                self._do(self.machine.switch_ack(now, worker, event))
            case orders.SessionsEnded():
                self._do(self.machine.sessions_ended(worker, event))
            case orders.Drained():
                self._do(self.machine.drained(now, worker, event))
            case orders.CutReport():
                self.machine.cut_report(event)

    def lost(self, worker: int) -> None:
        self._do(self.machine.lost(self._loop.time(), worker))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(worker, order):
                    self._send(worker, order)
                case Replace(worker, reason):
                    self._kill(worker, reason)
                case Persist():
                    self._writing = asyncio.create_task(self._write(action))
                case Reported(attempt, report):
                    self._also.pop(attempt)
                    self._report(attempt, report)
                case Refused(attempt, reason):
                    # Nobody may be waiting any more; an exception that nobody takes would be reported as lost.
                    self._also.pop(attempt)
                    answer = self._answers.pop(attempt)
                    answer.set_exception(AdminError(503, f"not switched: {reason}"))
                    answer.exception()
        if self.machine.decided:
            self._decided.set()
        else:
            self._decided.clear()
        self._set_timer()

    async def _write(self, action: Persist) -> None:
        try:
            placed = await self._place(action.active, action.epoch, self._also[action.attempt])
        except StateError as error:
            self._do(self.machine.persist_failed(action.attempt, str(error)))
        else:
            self._settling[action.attempt] = asyncio.create_task(placed.durable)
            self._do(self.machine.persisted(self._loop.time(), action.attempt))
            placed.follow()

    def _report(self, attempt: int, report: SwitchReport) -> None:
        settling = self._settling.pop(attempt, None)
        if settling is None:  # nothing was written, or before an upgrade, which waits for that
            self._answer(attempt, report)
        else:
            self._unreported.add(attempt)
            settling.add_done_callback(partial(self._settled, attempt, report))

    def _settled(self, attempt: int, report: SwitchReport, settling: asyncio.Task[bool]) -> None:
        self._unreported.discard(attempt)
        if not settling.cancelled():  # the proxy has not ended
            self._answer(attempt, report.model_copy(update={"durable": settling.result()}))

    def _answer(self, attempt: int, report: SwitchReport) -> None:
        answer = self._answers.pop(attempt, None)
        if answer is not None:
            answer.set_result(report)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        deadline = self.machine.deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expired)

    def _expired(self) -> None:
        # The loop's timers may run a clock's grain early; the deadline has come all the same.
        deadline = self.machine.deadline
        self._do(self.machine.expired(max(self._loop.time(), deadline if deadline is not None else 0.0)))

    def close(self) -> None:
        """Ends the timer, and the callers' waiting."""
        if self._timer is not None:
            self._timer.cancel()
        for answer in self._answers.values():
            answer.set_exception(AdminError(503, "the proxy stops"))
            answer.exception()
        self._answers.clear()

    def __repr__(self) -> str:
        return f"<Switching {self.machine!r} waiting={len(self._answers)}>"
