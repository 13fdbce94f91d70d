"""Runs a plan: journal, step, journal, and so on; after a failure it undoes what was done, in reverse."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from deployer.errors import DeployerError
from deployer.interrupts import Abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployer.interrupts import Interrupts
    from deployer.journal import Phase, RunState, StepState
    from deployer.plan import Plan
    from deployer.site import Site
    from deployer.steps.base import Done, Step

State = Literal["done", "undone", "failed"]
EventKind = Literal["started", "said", "done", "failed", "undoing", "undone", "undo-failed", "warning"]


class Recorder(Protocol):
    """The journal, as the runner needs it."""

    def intend(self, run: int, number: int, phase: Phase, name: str, slot: str | None) -> int:
        """Notes a step before it acts."""

    def outcome(self, step: int, state: StepState, detail: str) -> None:
        """Notes how it ended."""

    def end(self, run: int, state: RunState, detail: str) -> None:
        """Notes how the command ended."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happens now. number: of the step, from 1; 0 when it is about none. seconds: how long it took."""

    kind: EventKind
    number: int
    name: str
    text: str
    seconds: float | None = None
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended. done: the release is live; undone: the site is as before; failed: neither is sure.

    problem: what failed first. undo_problem: why the undo did not work either. warnings: small things left undone.
    """

    state: State
    problem: str = ""
    advice: str = ""
    undo_problem: str = ""
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """By the contract: 0 done, 1 as before, 4 needs a person."""
        return {"done": 0, "undone": 1, "failed": 4}[self.state]


class Runner:
    """Runs one plan once. listener: told of each event; lock_check: raises when the lock is not ours any more."""

    def __init__(
        self,
        site: Site,
        recorder: Recorder,
        interrupts: Interrupts,
        listener: Callable[[Event], None],
        lock_check: Callable[[], None],
    ) -> None:
        self._site = site
        self._recorder = recorder
        self._interrupts = interrupts
        self._listener = listener
        self._lock_check = lock_check
        self._warnings: list[str] = []

    def __repr__(self) -> str:
        return f"<Runner {self._site.app} warnings={len(self._warnings)}>"

    def run(self, plan: Plan, run_id: int) -> Outcome:
        """Runs the plan whose command is noted as `run_id`. Raises nothing but what a bug in here would."""
        begun = self._site.clock.monotonic()
        outcome = self._run(plan, run_id)
        self._interrupts.settled()
        seconds = self._site.clock.monotonic() - begun
        ended = Outcome(
            outcome.state, outcome.problem, outcome.advice, outcome.undo_problem, tuple(self._warnings), seconds
        )
        detail = "\n".join(part for part in (ended.problem, ended.undo_problem, *ended.warnings) if part)
        try:
            self._recorder.end(run_id, ended.state, detail)
        except DeployerError as error:
            self._listener(Event("warning", 0, "", f"the end of this command is not in the journal: {error}"))
        return ended

    def _run(self, plan: Plan, run_id: int) -> Outcome:
        begun: list[tuple[int, Step]] = []
        try:
            for number, step in enumerate(plan.steps, 1):
                problem = self._step(run_id, number, step, begun)
                if problem is None:
                    continue
                if step.finishing:
                    self._warn(number, step.name, f"{step.name}: {problem}")
                    continue
                self._interrupts.undoing()
                undo_problem = self._undo(run_id, begun)
                state: State = "failed" if undo_problem else "undone"
                return Outcome(state, f"{step.name}: {problem}", problem.advice, undo_problem)
        except Abandoned:
            name = begun[-1][1].name if begun else "the first step"
            return Outcome("failed", f"left as it is by the operator, at: {name}")
        return Outcome("done")

    def _step(self, run_id: int, number: int, step: Step, begun: list[tuple[int, Step]]) -> DeployerError | None:
        """Runs one step; the error when it failed. A step is in `begun` from the moment it may have acted."""
        clock = self._site.clock
        started = clock.monotonic()
        key = None
        try:
            self._interrupts.check()
            self._lock_check()
            key = self._recorder.intend(run_id, number, "run", step.name, step.slot)
            begun.append((number, step))
            self._listener(Event("started", number, step.name, step.describe()[0]))
            done = step.run(self._site, lambda text: self._listener(Event("said", number, step.name, text)))
            self._recorder.outcome(key, "done", done.text)
        except Exception as error:
            problem = _as_problem(error)
            self._note_failure(key, problem)
            seconds = clock.monotonic() - started
            self._listener(Event("failed", number, step.name, str(problem), seconds))
            return problem
        self._say_done(number, step, done, clock.monotonic() - started)
        return None

    def _say_done(self, number: int, step: Step, done: Done, seconds: float) -> None:
        self._listener(Event("done", number, step.name, done.text, seconds, done.data))

    def _note_failure(self, key: int | None, problem: DeployerError) -> None:
        if key is None:
            return
        try:
            self._recorder.outcome(key, "failed", str(problem))
        except DeployerError as error:
            self._warn(0, "", f"not in the journal: {error}")

    def _undo(self, run_id: int, begun: list[tuple[int, Step]]) -> str:
        """Undoes in reverse; why it had to stop, "" when all is undone."""
        for number, step in reversed(begun):
            problem = self._undo_step(run_id, number, step)
            if problem is None:
                continue
            self._listener(Event("undo-failed", number, step.name, str(problem)))
            if not step.spare:
                return f"undo of {step.name}: {problem}"
            self._warn(number, step.name, f"not undone: {step.name}: {problem}")
        return ""

    def _undo_step(self, run_id: int, number: int, step: Step) -> DeployerError | None:
        clock = self._site.clock
        started = clock.monotonic()
        key = None
        try:
            # Getting the site back matters more than the record of it: a full disk must not stop the undo.
            key = self._recorder.intend(run_id, number, "undo", step.name, step.slot)
        except DeployerError as error:
            self._warn(number, step.name, f"the undo of {step.name} is not in the journal: {error}")
        self._listener(Event("undoing", number, step.name, f"undo: {step.name}"))
        try:
            said = step.undo(self._site, lambda text: self._listener(Event("said", number, step.name, text)))
        except Exception as error:
            problem = _as_problem(error)
            self._note_failure(key, problem)
            return problem
        if key is not None:
            try:
                self._recorder.outcome(key, "done", said)
            except DeployerError as error:
                self._warn(number, step.name, f"not in the journal: {error}")
        self._listener(Event("undone", number, step.name, said, clock.monotonic() - started))
        return None

    def _warn(self, number: int, name: str, text: str) -> None:
        self._warnings.append(text)
        self._listener(Event("warning", number, name, text))


def _as_problem(error: Exception) -> DeployerError:
    """An error that is not ours is a bug or the machine's fault: it fails the release like any other."""
    if isinstance(error, DeployerError):
        return error
    where = traceback.extract_tb(error.__traceback__)[-1]
    return DeployerError(f"{type(error).__name__}: {error} (at {where.filename}:{where.lineno})")
