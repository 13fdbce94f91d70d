"""Whether one app's new requests are served: pauses that end by themselves, and maintenance. Both are durable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from proxy.control.state import MaintenanceRecord
from proxy.core import orders
from proxy.errors import StateError
from proxy.wire import MaintenanceStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.control.state import AppRecord
    from proxy.wire import MaintenanceRequest

    Change = Callable[[AppRecord], AppRecord]


class AdmissionControl:
    """`tell_all` reaches every worker. A worker that starts later gets `order`.

    `paused_until` is a Unix time, so that a pause goes on, and ends, in the next supervisor too.
    """

    def __init__(
        self,
        app: str,
        *,
        clock: Callable[[], float],
        persist: Callable[[Change], Awaitable[AppRecord]],
        tell_all: Callable[[orders.Admission], None],
        note: Callable[[str, str], None],
    ) -> None:
        self.paused_until: float | None = None
        self._app = app
        self._maintenance: MaintenanceRecord | None = None
        self._clock = clock
        self._persist = persist
        self._tell_all = tell_all
        self._note = note
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._clearing: asyncio.Task[None] | None = None

    def load(self, record: AppRecord) -> None:
        """Begins with what the state file says; a pause whose time has passed is none."""
        self._maintenance = record.maintenance
        if record.paused_until is not None and record.paused_until > self._clock():
            self._set_pause(record.paused_until)

    def order(self) -> orders.Admission | None:
        """What a worker is told; None: new requests are served."""
        if self.paused_until is None and self._maintenance is None:
            return None
        pause = None if self.paused_until is None else max(0.0, self.paused_until - self._clock())
        page = None
        if self._maintenance is not None:
            record = self._maintenance
            page = orders.MaintenancePage(page=record.page, text=record.text, retry_after=record.retry_after)
        return orders.Admission(app=self._app, pause=pause, maintenance=page)

    def maintenance(self) -> MaintenanceStatus | None:
        """For the admin API."""
        record = self._maintenance
        if record is None:
            return None
        return MaintenanceStatus(
            since=record.since, text=record.text, page=record.page is not None, retry_after=record.retry_after
        )

    async def pause(self, seconds: float) -> None:
        """New requests wait, at most for so long from now. Raises StateError."""
        until = self._clock() + seconds
        await self._persist(lambda record: record.model_copy(update={"paused_until": until}))
        self._set_pause(until)
        self._tell()
        self._note("traffic", f"paused for {seconds:g} s: new requests wait")

    async def resume(self) -> None:
        """New requests are served, if there was a pause. Raises StateError."""
        if self.paused_until is None:
            return
        await self._persist(_without_pause)
        self._set_pause(None)
        self._tell()
        self._note("traffic", "resumed: requests go on")

    async def set_maintenance(self, request: MaintenanceRequest) -> None:
        """Raises StateError."""
        record = None
        if request.on:
            since = self._maintenance.since if self._maintenance is not None else self._clock()
            record = MaintenanceRecord(
                since=since, text=request.text, page=request.page, retry_after=max(1, round(request.retry_after))
            )
        if record == self._maintenance:
            return
        await self._persist(lambda app: app.model_copy(update={"maintenance": record}))
        self._maintenance = record
        self._tell()
        self._note("traffic", f"maintenance is {'on: requests get the page' if record else 'off: requests are served'}")

    def _set_pause(self, until: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.paused_until = until
        if until is not None:
            self._timer = self._loop.call_later(max(0.0, until - self._clock()), self._pause_over)

    def _pause_over(self) -> None:
        # The workers end it by their own clocks, as they would without a supervisor; this makes sure of it.
        self._set_pause(None)
        self._tell()
        self._note("traffic", "the pause is over, as nobody resumed it in time: requests go on")
        self._clearing = self._loop.create_task(self._clear())

    async def _clear(self) -> None:
        try:
            await self._persist(lambda record: record if self.paused_until is not None else _without_pause(record))
        except StateError as error:
            self._note("traffic", f"the pause's end could not be noted, which does no harm: {error}")

    def _tell(self) -> None:
        self._tell_all(self.order() or orders.Admission(app=self._app))

    async def close(self) -> None:
        """Ends the timer; what is durable stays."""
        if self._timer is not None:
            self._timer.cancel()
        if self._clearing is not None:
            await asyncio.gather(self._clearing, return_exceptions=True)

    def __repr__(self) -> str:
        maintenance = " maintenance" if self._maintenance is not None else ""
        return f"<AdmissionControl {self._app} paused_until={self.paused_until}{maintenance}>"


def _without_pause(record: AppRecord) -> AppRecord:
    return record.model_copy(update={"paused_until": None})
