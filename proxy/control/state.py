"""What must survive the supervisor: each app's active slot, its epoch, and what the admin API changed of its slots.

One JSON file. It is written as a temporary file, fsync, rename, fsync of the directory, so that after a crash it
holds either the old or the new content. A damaged file is an error: which slot runs the right release can't be
guessed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proxy.address import BackendAddress, Name
from proxy.errors import StateError
from proxy.net.decision import STATE_FILE
from proxy.wire import Guard, TrialOutcome

if TYPE_CHECKING:
    from proxy.settings import Settings

_MAX_BYTES: Final = 16 * 1024 * 1024


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SlotRecord(_Record):
    """None: as the configuration says."""

    backends: Annotated[tuple[BackendAddress, ...], Field(min_length=1)] | None = None
    static_root: str | None = None
    release: str | None = None


class TrialRecord(_Record):
    """A switch that is undone unless it is confirmed. Unix times, so that the deadline holds over a restart.

    `hold` and `drain` (seconds) are those of the switch; its undoing has them too.
    """

    from_slot: Name
    to: Name
    epoch: Annotated[int, Field(ge=1)]
    started: float
    confirm_by: float | None
    guard: Guard | None
    hold: float
    drain: float


class WeightsRecord(_Record):
    """Every slot that is named has a weight."""

    weights: Annotated[dict[Name, Annotated[int, Field(ge=1)]], Field(min_length=1)]
    sticky: bool


class MaintenanceRecord(_Record):
    """`since`: Unix time. `page`: HTML; None: the proxy's own, with `text`. `retry_after`: seconds."""

    since: float
    text: str | None
    page: str | None
    retry_after: int


class AppRecord(_Record):
    active: Name
    epoch: Annotated[int, Field(ge=0)]
    slots: dict[Name, SlotRecord] = {}
    trial: TrialRecord | None = None
    last_trial: TrialOutcome | None = None
    weights: WeightsRecord | None = None
    paused_until: float | None = None
    maintenance: MaintenanceRecord | None = None


class State(_Record):
    """All of the file. `version` is that of its form."""

    version: Literal[1] = 1
    apps: dict[Name, AppRecord] = {}

    def with_app(self, name: str, record: AppRecord) -> State:
        """A copy in which the app has this record."""
        return self.model_copy(update={"apps": {**self.apps, name: record}})


def for_settings(state: State, settings: Settings, path: str) -> State:
    """The state completed for new apps. Apps that the settings no longer have keep their record.

    `path` is the state file's, for the message. Raises StateError when a slot that is active, that has a weight or
    that a trial goes back to is not in the settings.
    """
    for name, app in settings.apps.items():
        record = state.apps.get(name)
        if record is None:
            state = state.with_app(name, AppRecord(active=app.active, epoch=0))
        elif record.active not in app.slots:
            raise StateError(
                f"slot {record.active} of app {name} is active, but the configuration has no such slot",
                f"add apps.{name}.slots.{record.active} again, or switch to another slot first; to forget "
                f"what was active, remove apps.{name} from {path} while the proxy is stopped",
            )
        elif record.trial is not None and record.trial.from_slot not in app.slots:
            raise StateError(
                f"the trial of app {name} goes back to slot {record.trial.from_slot}, which the configuration lacks",
                f"add apps.{name}.slots.{record.trial.from_slot} again, or confirm the trial first",
            )
        elif record.weights is not None and not record.weights.weights.keys() <= app.slots.keys():
            lacking = min(record.weights.weights.keys() - app.slots.keys())
            raise StateError(
                f"slot {lacking} of app {name} has a weight, but the configuration has no such slot",
                f"add apps.{name}.slots.{lacking} again, or set its weight to 0 first",
            )
    return state


class StateStore:
    """The file in `state_dir`. Its methods block for the time of the disk."""

    def __init__(self, state_dir: str) -> None:
        self._dir = Path(state_dir)
        self.path = self._dir / STATE_FILE
        self._staged: State | None = None
        self._replaced = -1  # descriptor of the file that is replaced next

    def load(self) -> State:
        """An empty State when there is no file. Raises StateError when it is damaged or can't be read."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise StateError(f"{self.path}: can't be read: {error.strerror}") from error
        try:
            if len(raw) > _MAX_BYTES:
                raise ValueError("too long")
            return State.model_validate_json(raw)
        except ValueError as error:
            raise StateError(f"{self.path} is damaged: {_cause(error)}", self._advice()) from error

    def stage(self, state: State) -> None:
        """The slow part of `save`, done ahead; the file itself stays as it is. Raises StateError."""
        raw = state.model_dump_json(indent=2).encode() + b"\n"
        self._staged = None
        self._keep_replaced()
        try:
            with self._temporary.open("wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._not_written(error) from error
        self._staged = state

    def staged(self, state: State) -> bool:
        """Whether the slow part is done for this state."""
        return self._staged == state

    def place(self, state: State) -> None:
        """Puts a staged state into its place: whoever reads the file from now on reads this one.

        A failure of the machine may still bring back the old one, until `sync`. Raises StateError; then the file holds
        the old state. Takes a tenth of a millisecond.
        """
        if not self.staged(state):
            raise ValueError(f"{state!r} is not staged")
        self._staged = None
        try:
            self._temporary.replace(self.path)
        except OSError as error:
            raise self._not_written(error) from error

    def sync(self) -> None:
        """Returns when what was placed is durable. Raises StateError."""
        try:
            _sync_directory(self._dir)
        except OSError as error:
            raise self._not_written(error) from error

    def save(self, state: State) -> None:
        """Returns when the state is durable. Raises StateError; then the file holds the old or the new state."""
        if not self.staged(state):
            self.stage(state)
        self.place(state)
        self.sync()

    def _keep_replaced(self) -> None:
        """Keeps the file open until the next change: to free its space would take most of a rename's time."""
        if self._replaced >= 0:
            os.close(self._replaced)
            self._replaced = -1
        with suppress(OSError):
            self._replaced = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def _temporary(self) -> Path:
        return self._dir / f"{STATE_FILE}.new"

    def _not_written(self, error: OSError) -> StateError:
        advice = f"make room, or make {self._dir} writable for user {os.getuid()}"
        return StateError(f"{self.path}: can't be written: {error.strerror}", advice)

    def _advice(self) -> str:
        return (
            f"find out which slot has the right release, move {self.path} away, set apps.APP.active in the "
            "configuration to that slot, and start the proxy again"
        )

    def __repr__(self) -> str:
        return f"<StateStore {self.path}>"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cause(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        return f"{where}: {detail['msg']}" if where else detail["msg"]
    return str(error)
