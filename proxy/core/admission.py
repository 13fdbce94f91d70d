"""Why a request gets no slot: its gate's queue is full, or the app is under maintenance."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.errors import RequestError


class NotAdmittedError(RequestError):
    """The request gets no slot, and does not wait for one."""

    status = 503


class GateFullError(NotAdmittedError):
    """More requests wait than the bound allows."""

    part = "the queue of waiting requests"


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What requests are answered instead of being served. `page`: HTML. `retry_after`: seconds."""

    page: bytes
    retry_after: int


class MaintenanceError(NotAdmittedError):
    """The app is under maintenance."""

    part = "the application, which is being maintained"

    def __init__(self, maintenance: Maintenance) -> None:
        super().__init__("it will be back soon")
        self.maintenance = maintenance
