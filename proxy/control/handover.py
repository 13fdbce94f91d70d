"""What a supervisor hands to its successor in an upgrade: the same process, which goes on with other code.

Descriptors survive execve(2), and so do the workers, which are its children. All else is written down here, as JSON in
a memfd(2). Each part is made and read back by the class that it is about.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from proxy.core.switchover import Snapshot
from proxy.errors import RefusedError
from proxy.settings import Settings
from proxy.wire import Event, ReleaseProgress

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FORM: Final = 1
"""To be raised when a successor could no longer read what is here, or no longer speak with the workers before it."""

VARIABLE: Final = "SWITCHYARD_HANDOVER"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkerPart(_Part):
    """`settings`: index into Handover.settings. `link`: descriptor. `stop_by`: monotonic, while it is draining."""

    number: int
    position: int
    settings: int
    pid: int
    link: int
    received: bytes
    state: Literal["ready", "draining"]
    started: float
    stop_by: float | None

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class FleetPart(_Part):
    """`current`: position -> worker. `numbers`: how many workers there have been."""

    workers: list[WorkerPart]
    current: dict[int, int]
    numbers: int
    deaths: int


class AddressPart(_Part):
    host: str
    port: int
    sockets: list[int]
    given: bool


class ListenersPart(_Part):
    addresses: list[AddressPart]
    positions: int


class CountersPart(_Part):
    live: dict[int, dict[str, Any]]
    gone: dict[str, Any]
    at_switch: dict[str, dict[str, list[int]]]


class EventsPart(_Part):
    number: int
    past: list[tuple[int, Event]]


class HealthPart(_Part):
    slot: str
    address: str
    up: bool | None
    since: float
    last_error: str | None


class AppPart(_Part):
    """What the state file does not have of an app."""

    since: float
    release: ReleaseProgress | None
    switches: int
    refused: int
    hold_hist: list[int]
    hold_sum_ms: float
    trials: dict[Literal["confirmed", "reverted", "replaced"], int]
    health: list[HealthPart]
    machine: Snapshot


class CallerPart(_Part):
    """Who waits for an answer on a connection to the admin API. `app`: whose switch; None: the upgrade's own caller."""

    descriptor: int
    app: str | None


class SupervisorPart(_Part):
    """`settings`: as JSON, those that are in force first."""

    config: str
    settings: list[str]
    started: float
    reloads: int
    upgrades: int
    listeners: ListenersPart
    fleet: FleetPart
    counters: CountersPart
    events: EventsPart
    apps: dict[str, AppPart]


class Handover(_Part):
    """`lock`, `admin`: descriptors. `notify`: the service manager's address."""

    form: Literal[1]
    lock: int
    admin: int
    notify: str
    supervisor: SupervisorPart
    callers: list[CallerPart]

    @property
    def descriptors(self) -> list[int]:
        """All that must survive execve."""
        supervisor = self.supervisor
        return [
            self.lock,
            self.admin,
            *(each for address in supervisor.listeners.addresses for each in address.sockets),
            *(worker.link for worker in supervisor.fleet.workers if worker.link >= 0),
            *(caller.descriptor for caller in self.callers),
        ]


def decode(raw: bytes) -> Handover:
    """Raises RefusedError when it is of another form."""
    try:
        return Handover.model_validate_json(raw)
    except ValidationError as error:
        raise _other_version(error) from error


def running_settings(part: SupervisorPart) -> list[Settings]:
    """Those in force first. Raises RefusedError when this version has other ones."""
    try:
        return [Settings.model_validate_json(each) for each in part.settings]
    except ValidationError as error:
        raise _other_version(error) from error


def _other_version(error: ValidationError) -> RefusedError:
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    return RefusedError(
        f"this version can't take over from the one that runs: {where}: {detail['msg']}",
        "stop the proxy with the old version and start it with the new one",
    )


def write(handover: Handover) -> int:
    """A descriptor to read it from, which survives execve. Raises OSError."""
    descriptor = os.memfd_create("switchyard-handover", 0)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(handover.model_dump_json().encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def receive(environment: MutableMapping[str, str]) -> Handover | None:
    """What was handed to this process, None at an ordinary start. Its descriptors are no longer inherited.

    Raises RefusedError when it can't be read.
    """
    descriptor = environment.pop(VARIABLE, "")
    if not descriptor.isdigit():
        return None
    with os.fdopen(int(descriptor), "rb") as file:
        handover = decode(file.read())
    keep(handover, inheritable=False)
    return handover


def keep(handover: Handover, *, inheritable: bool) -> None:
    """Whether the descriptors survive execve, here and in every child that is started meanwhile."""
    for descriptor in handover.descriptors:
        with suppress(OSError):  # A caller's connection may have been closed.
            os.set_inheritable(descriptor, inheritable)
