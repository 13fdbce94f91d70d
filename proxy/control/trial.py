"""The trial of one app's last switch: watches it, confirms it, switches back. What it must not forget is durable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

from proxy.core.trial import Confirm, Revert, Trial
from proxy.errors import AdminError, OperatorError
from proxy.wire import TrialOutcome, TrialStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.control.state import AppRecord, TrialRecord
    from proxy.core.trial import Counts
    from proxy.wire import SwitchReport

    Change = Callable[[AppRecord], AppRecord]

Outcome = Literal["confirmed", "reverted", "replaced"]

LOOK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0


class TrialControl:
    """`record` is the open trial, `last` how the last one ended; both are as durable as they are in the state file.

    `clock`: Unix time. `counts(slot)` asks the workers. `persist` makes a change durable and returns the new record.
    `switch_back(record, reason)` is an ordinary switch that ends the trial. `note(kind, message)` makes an event.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        counts: Callable[[str], Awaitable[Counts]],
        persist: Callable[[Change], Awaitable[AppRecord]],
        switch_back: Callable[[TrialRecord, str], Awaitable[SwitchReport]],
        note: Callable[[str, str], None],
    ) -> None:
        self.record: TrialRecord | None = None
        self.last: TrialOutcome | None = None
        self.outcomes: dict[Outcome, int] = {"confirmed": 0, "reverted": 0, "replaced": 0}
        self._clock = clock
        self._counts = counts
        self._persist = persist
        self._switch_back = switch_back
        self._note = note
        self._trial: Trial | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._acting = False
        self._ending: Outcome | None = None
        self._problem: str | None = None

    def follow(self, record: AppRecord) -> None:
        """The app's record is this now: a trial in it is watched, one that is no longer in it is over."""
        if record.trial == self.record and record.last_trial == self.last:
            return
        ended = record.last_trial if self.record is not None and record.last_trial != self.last else None
        self.last = record.last_trial
        if ended is not None:
            self.outcomes[ended.outcome] += 1
            self._note("trial", f"the trial of {ended.to} is over, {ended.outcome}: {ended.reason}")
        if record.trial != self.record:
            self._watch(record.trial)

    def status(self) -> TrialStatus | None:
        """The open trial, for the admin API."""
        record = self.record
        if record is None:
            return None
        return TrialStatus.model_validate(
            {
                "from": record.from_slot,
                "to": record.to,
                "epoch": record.epoch,
                "started": record.started,
                "confirm_by": record.confirm_by,
                "guard": record.guard,
                "figures": self._trial.figures() if self._trial is not None else None,
                "reverting": self._ending == "reverted",
                "problem": self._problem,
            }
        )

    def end(self, outcome: Outcome, reason: str) -> Change:
        """The change of the record that ends the trial, for whoever makes it durable. Without a trial it does nothing.

        Its time and figures are those of now, so that the same change twice has the same result.
        """
        time = self._clock()
        figures = self._trial.figures() if self._trial is not None else None

        def change(record: AppRecord) -> AppRecord:
            trial = record.trial
            if trial is None:
                return record
            ended = TrialOutcome.model_validate(
                {
                    "from": trial.from_slot,
                    "to": trial.to,
                    "epoch": trial.epoch,
                    "outcome": outcome,
                    "reason": reason,
                    "time": time,
                    "figures": figures,
                }
            )
            return record.model_copy(update={"trial": None, "last_trial": ended})

        return change

    async def confirm(self, reason: str) -> None:
        """The switch stays. Raises AdminError 409 when there is no trial or it is ending, StateError."""
        record = self._begin_ending("confirmed")
        try:
            changed = await self._persist(self.end("confirmed", reason))
        finally:
            self._ending = None
        if self.record is record:
            self.follow(changed)

    async def revert(self, reason: str) -> SwitchReport:
        """Switches back. Raises AdminError: 409 as `confirm`, and as a switch; then the trial goes on."""
        record = self._begin_ending("reverted")
        try:
            return await self._switch_back(record, reason)
        finally:
            self._ending = None

    def _begin_ending(self, how: Outcome) -> TrialRecord:
        record = self.record
        if record is None:
            raise AdminError(409, "no switch is on trial")
        if self._ending is not None:
            raise AdminError(409, f"the trial of {record.to} is being {self._ending} already")
        self._ending = how
        return record

    def _watch(self, record: TrialRecord | None) -> None:
        self.record = record
        self._problem = None
        if not self._acting:  # the one that ends the trial itself is still to tell how that went, and ends by itself
            for task in self._tasks:
                task.cancel()
        self._trial = None
        if record is not None:
            self._trial = Trial(record.started, record.confirm_by, record.guard)
            limit = "" if record.confirm_by is None else f" for {max(0.0, record.confirm_by - self._clock()):.0f} s"
            self._note("trial", f"{record.to} is on trial{limit}; {record.from_slot} is where it goes back to")
            task = asyncio.create_task(self._look_on(record, self._trial))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _look_on(self, record: TrialRecord, trial: Trial) -> None:
        # A tick, as workers tell what they have counted only when they are asked.
        while self.record is record:
            verdict = trial.look(self._clock(), await self._counts(record.to))
            pause = LOOK_SECONDS
            if verdict is not None and self.record is record and self._ending is None:
                pause = RETRY_SECONDS
                self._acting = True
                await self._carry_out(verdict, record)
                self._acting = False
            elif record.confirm_by is not None:
                pause = min(pause, max(0.01, record.confirm_by - self._clock()))
            if self.record is record:
                await asyncio.sleep(pause)

    async def _carry_out(self, verdict: Confirm | Revert, record: TrialRecord) -> None:
        try:
            if isinstance(verdict, Confirm):
                await self.confirm(verdict.reason)
            else:
                await self.revert(verdict.reason)
        except (AdminError, OperatorError) as error:
            what = "confirmed" if isinstance(verdict, Confirm) else f"switched back to {record.from_slot}"
            problem = f"not {what}: {error}"
            if problem != self._problem and self.record is record:
                self._note("trial", f"{problem}; it is tried again")
                self._problem = problem

    async def close(self) -> None:
        """Stops watching; the trial stays open in the state file."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<TrialControl {self.record!r}{f' {self._ending}' if self._ending else ''}>"
