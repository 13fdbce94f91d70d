"""The process that decides: it owns listeners, state and workers, and does what the admin API asks for."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from proxy import urgency
from proxy.config_file import load
from proxy.control.activation import by_endpoint
from proxy.control.affinity import slot_cookies
from proxy.control.app_control import AppControl
from proxy.control.counters import Counters, slot_of
from proxy.control.fleet import Fleet
from proxy.control.handover import SupervisorPart, running_settings
from proxy.control.listeners import Listeners
from proxy.control.notify import Notifier
from proxy.control.questions import Questions
from proxy.control.state import for_settings
from proxy.control.status import app_status, status
from proxy.control.worker_process import COMMAND, WorkerError
from proxy.core import orders
from proxy.core.recent import merge_samples
from proxy.core.trial import Counts
from proxy.errors import AdminError, ConfigurationError, OperatorError, RefusedError
from proxy.wire import Inflight, Recent

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from proxy.control.events import EventBus
    from proxy.control.keeper import StateKeeper
    from proxy.control.worker_process import WorkerProcess
    from proxy.settings import Settings
    from proxy.wire import (
        AppStatus,
        MaintenanceRequest,
        PauseRequest,
        ReleaseProgress,
        SlotUpdate,
        Status,
        SwitchReport,
        SwitchRequest,
        WeightsRequest,
    )

ANSWER_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 0.1
"""How long a switch waits for counters that are newer than COUNT_INTERVAL: they only date the figures since it."""
APPLY_SECONDS: Final = 30.0
MAX_INFLIGHT: Final = 1000
WEIGHTS_HOLD: Final = 5.0
"""Longest time (s) that new requests may wait for a change of weights."""
COUNT_INTERVAL: Final = 5.0
_RESTART_KEYS: Final = ("admin", "state_dir", "user")


class Supervisor:
    """Made inside a running loop. `clock`: Unix time. `command` starts a worker.

    `notifier` tells the service manager; `given` are the listening sockets that it has opened.
    """

    def __init__(
        self,
        config: str,
        settings: Settings,
        keeper: StateKeeper,
        bus: EventBus,
        *,
        clock: Callable[[], float],
        command: Sequence[str] = COMMAND,
        notifier: Notifier | None = None,
        given: Sequence[socket.socket] = (),
    ) -> None:
        self.config = config
        self.settings = settings
        self.bus = bus
        self.clock = clock
        self.started = clock()
        self.stopping = False
        self.reloads = 0
        self.upgrades = 0
        self.counters = Counters()
        self.fleet = Fleet(self, clock, command)
        self.apps: dict[str, AppControl] = {}
        self._keeper = keeper
        self._notifier = notifier or Notifier("")
        self._given = given
        self._listeners = Listeners({}, 0)
        self._questions = Questions()
        self._haste = urgency.Haste(asyncio.get_running_loop().call_later)
        self.changes: str | None = None
        self._counting: asyncio.Task[None] | None = None
        self.former_workers: Callable[[], Sequence[int]] = tuple

    # --- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Opens the listeners and starts the workers. Raises OperatorError; then nothing is left running."""
        count = worker_count(self.settings)
        await self._keeper.change(lambda state: for_settings(state, self.settings, str(self._keeper.store.path)))
        given = by_endpoint(self._given, self.settings.endpoints)
        before = Listeners(given, count, given)
        self._listeners = Listeners.open(self.settings.endpoints, count, before, listening=not self.former_workers())
        self.set_apps(self.settings)
        try:
            await self.fleet.launch(self.settings, self._listeners, count, commit=lambda: None)
        except WorkerError as error:
            await self.stop(0.0)
            raise RefusedError(f"the workers did not start: {error}") from error
        self._counting = asyncio.create_task(self._count())
        self.bus.publish("worker", self.serving())

    async def stop(self, grace: float) -> None:
        """Lets the workers end what they have, for at most `grace` seconds; returns when all is gone."""
        self.stopping = True
        if self._counting is not None:
            self._counting.cancel()
        self._listeners.drop_new_connections()
        # From here on the workers alone have the listeners, so that each ends when its queue is empty.
        self._listeners.close()
        await self.fleet.stop(grace)
        for app in self.apps.values():
            await app.close()
        self.bus.close()

    def serving(self) -> str:
        """One sentence for people."""
        return f"{len(self.fleet.current)} workers serve {', '.join(self.settings.listen)}"

    def switch_awaited_by(self, caller: asyncio.Task[object]) -> str | None:
        """The app whose switch has been made, and whose report the caller waits for."""
        return next((name for name, app in self.apps.items() if app.switching.waits(caller)), None)

    def unsettled(self) -> str | None:
        """Why all this can't be handed over to a successor now; None: it can."""
        if self.stopping:
            return "the proxy stops"
        if self._keeper.writing:
            return "the state is being written"
        for app in self.apps.values():
            if app.machine.switching or app.switching.reporting:
                return f"app {app.name} is being switched"
        return self.fleet.unsettled()

    def hand_over(self) -> SupervisorPart:
        """Only while not `unsettled`."""
        settings = [self.settings]
        for worker in self.fleet.workers.values():
            if worker.settings not in settings:
                settings.append(worker.settings)
        return SupervisorPart(
            config=self.config,
            settings=[each.model_dump_json() for each in settings],
            started=self.started,
            reloads=self.reloads,
            upgrades=self.upgrades,
            listeners=self._listeners.hand_over(),
            fleet=self.fleet.hand_over(settings),
            counters=self.counters.hand_over(),
            events=self.bus.hand_over(),
            apps={name: app.hand_over() for name, app in self.apps.items()},
        )

    async def take_over(self, part: SupervisorPart) -> None:
        """Instead of `start`: goes on with the listeners and workers of a supervisor that this one was made from."""
        settings = [self.settings, *running_settings(part)[1:]]
        self.started, self.reloads, self.upgrades = part.started, part.reloads, part.upgrades
        self.bus.take_over(part.events)
        self.counters.take_over(part.counters)
        self._listeners = Listeners.taken_over(part.listeners)
        self.set_apps(self.settings)
        for name, app in self.apps.items():
            app.take_over(part.apps[name])
        await self.fleet.take_over(part.fleet, settings, self._listeners)
        self._counting = asyncio.create_task(self._count())

    @asynccontextmanager
    async def changing(self, what: str) -> AsyncIterator[None]:
        """No reload or upgrade begins meanwhile. Raises AdminError 409 when one is under way, 503 at a stop."""
        if self.changes is not None:
            raise AdminError(409, f"{self.changes} is under way")
        if self.stopping:
            raise AdminError(503, "the proxy stops")
        self.changes = what
        try:
            yield
        finally:
            self.changes = None

    async def reload(self) -> str:
        """Reads the configuration again and replaces all workers. Returns what was done.

        Raises OperatorError when the configuration is wrong or a worker does not come up with it; AdminError 409
        or 503 when this is not the time. Then nothing has changed.
        """
        async with self.changing("a reload"):
            self._check_calm()
            self._notifier.reloading(f"Reloading {self.config}")
            try:
                settings = await asyncio.to_thread(load, self.config)
                check_unchanged(self.settings, settings)
                await self._launch(settings)
            except (OperatorError, WorkerError) as error:
                self.bus.publish("reload", f"not reloaded: {error}")
                if isinstance(error, WorkerError):
                    raise RefusedError(f"the new workers did not start: {error}", "nothing has changed") from error
                raise
            finally:
                self._notifier.ready(self.serving())
            self.reloads += 1
            message = (
                f"reloaded {self.config}; {len(self.fleet.current)} new workers serve {', '.join(settings.listen)}"
            )
            self.bus.publish("reload", message)
            return message

    def _check_calm(self) -> None:
        for app in self.apps.values():
            if app.machine.switching:
                raise AdminError(409, f"app {app.name} is being switched")

    async def _launch(self, settings: Settings) -> None:
        count = worker_count(settings)
        path = str(self._keeper.store.path)
        for_settings(self._keeper.state, settings, path)
        old = self._listeners
        fresh = Listeners.open(settings.endpoints, count, old, listening=False)
        before = set(self.apps)
        try:
            await self._keeper.change(lambda state: for_settings(state, settings, path))
            self.set_apps(settings, keep=True)
            await self.fleet.launch(settings, fresh, count, commit=lambda: self._commit(settings, fresh))
        except BaseException:
            fresh.close(keep=old)
            for name in set(self.apps) - before:
                await self.apps.pop(name).close()
            raise
        old.close(keep=fresh)
        for name in set(self.apps) - set(settings.apps):
            await self.apps.pop(name).close()

    def _commit(self, settings: Settings, listeners: Listeners) -> None:
        self.settings = settings
        self._listeners = listeners
        for name, app in settings.apps.items():
            self.apps[name].configure(app)

    def set_apps(self, settings: Settings, *, keep: bool = False) -> None:
        """Makes the apps of the settings; those that are there already stay as they are when `keep`."""
        for name in settings.apps:
            if not (keep and name in self.apps):
                self.apps[name] = self._app(name, settings)

    def _app(self, name: str, settings: Settings) -> AppControl:
        return AppControl(
            name,
            settings.apps[name],
            self._keeper.state.apps[name],
            clock=self.clock,
            send=self._send,
            kill=self._kill,
            stage=partial(self._keeper.stage_app, name),
            persist=partial(self._keeper.change_app, name),
            place=partial(self._keeper.place_app, name),
            tell_all=self._tell_all,
            switched=self.counters.mark_switch,
            counts=partial(self._counts, name),
            cookies=partial(slot_cookies, self._keeper.store.path.parent, name),
            note=lambda kind, message: self.bus.publish(kind, message, name),
        )

    # --- for the fleet -----------------------------------------------------------------------------------------

    def start_order(self, worker: WorkerProcess) -> orders.Start:
        apps = {}
        for name, app in worker.settings.apps.items():
            control = self.apps[name]
            apps[name] = {slot: control.slot(slot, app.slots[slot]) for slot in app.slots}
        return orders.Start(worker=worker.number, settings=worker.settings.model_dump_json(), apps=apps)

    async def admit(self, worker: WorkerProcess) -> None:
        """Waits until no switch is undecided, so that the worker begins with the outcome."""
        controls = [self.apps[name] for name in worker.settings.apps]
        while not all(control.machine.decided for control in controls):
            for control in controls:
                await control.switching.decided()
        if worker.state == "prepared":
            apps = {control.name: control.join(worker.number) for control in controls}
            worker.send(orders.Serve(apps=apps))

    def worker_event(self, worker: WorkerProcess, event: orders.Event) -> None:
        match event:
            case orders.StatsReply():
                self.counters.update(worker.number, event.snapshot)
                self._questions.answered(worker.number, event)
            case orders.InflightReply() | orders.SampleReply():
                self._questions.answered(worker.number, event)
            case orders.Stopped():
                self.counters.update(worker.number, event.snapshot)
            case orders.HoldAck() | orders.SwitchAck() | orders.SessionsEnded() | orders.Drained() | orders.CutReport():
                app = self.apps.get(event.app)
                if app is not None:
                    app.switching.worker_event(worker.number, event)
            case orders.SlotFailed():
                app = self.apps.get(event.app)
                if app is not None:
                    app.slot_failed(worker.number, event)

    def worker_lost(self, worker: WorkerProcess) -> None:
        self.counters.retire(worker.number)
        self._questions.lost(worker.number)
        for app in self.apps.values():
            app.switching.lost(worker.number)

    def note(self, message: str) -> None:
        self.bus.publish("worker", message)

    def _send(self, number: int, order: orders.Order) -> None:
        worker = self.fleet.workers.get(number)
        if worker is not None:
            if isinstance(order, orders.Hold):
                self._hurry(worker)
            elif isinstance(order, orders.Switch | orders.ReleaseHold):
                asyncio.get_running_loop().call_soon(self._haste.end)
            worker.send(order)

    def _hurry(self, worker: WorkerProcess) -> None:
        """From its hold on; the worker itself ends its own haste."""
        self._haste.begin(urgency.SUPERVISOR)
        worker.hurry()

    def _kill(self, number: int, reason: str) -> None:
        worker = self.fleet.workers.get(number)
        if worker is not None:
            worker.kill(reason)

    def _tell_all(self, order: orders.HealthChanged | orders.SlotChanged | orders.Admission | orders.CloseIdle) -> None:
        for worker in self.fleet.workers.values():
            app = worker.settings.apps.get(order.app)
            if app is not None and (isinstance(order, orders.Admission) or order.slot in app.slots):
                worker.send(order)

    # --- for the admin API -------------------------------------------------------------------------------------

    def app(self, name: str) -> AppControl:
        """Raises AdminError 404; 503 as long as the configured apps are not there yet."""
        app = self.apps.get(name)
        if app is None and not self.apps:
            raise AdminError(503, "the proxy is starting")
        if app is None:
            raise AdminError(404, f"there is no app {name}; there is {', '.join(self.apps)}")
        return app

    async def collect(self, within: float = ANSWER_SECONDS) -> dict[str, Any]:
        """All workers' counters, as new as can be had within `within` seconds."""
        await self._questions.ask(self._serving(), lambda number: orders.StatsRequest(id=number), within)
        return self.counters.totals()

    async def status(self) -> Status:
        return status(self, await self.collect())

    async def app_status(self, name: str) -> AppStatus:
        app = self.app(name)
        return app_status(app, self.counters, await self.collect())

    async def inflight(self, name: str) -> Inflight:
        """At most MAX_INFLIGHT exchanges, the oldest first."""
        self.app(name)
        answers = await self._questions.ask(
            self._serving(),
            lambda number: orders.InflightRequest(id=number, app=name, limit=MAX_INFLIGHT),
            ANSWER_SECONDS,
        )
        replies = [answer for answer in answers.values() if isinstance(answer, orders.InflightReply)]
        exchanges = sorted(
            (exchange for reply in replies for exchange in reply.exchanges),
            key=lambda exchange: exchange.age_ms,
            reverse=True,
        )
        truncated = len(exchanges) > MAX_INFLIGHT or any(reply.truncated for reply in replies)
        return Inflight(exchanges=tuple(exchanges[:MAX_INFLIGHT]), truncated=truncated)

    async def recent(self, name: str) -> Recent:
        """What the workers have noted of the app's requests."""
        self.app(name)
        answers = await self._questions.ask(
            [worker for worker in self._serving() if worker.state == "ready"],
            lambda number: orders.SampleRequest(id=number, app=name),
            ANSWER_SECONDS,
        )
        replies = [answer.requests for answer in answers.values() if isinstance(answer, orders.SampleReply)]
        return Recent(requests=merge_samples(replies))

    async def close_idle(self, name: str, slot: str) -> None:
        """Returns when every worker has closed its idle connections to the slot, or APPLY_SECONDS are over."""
        app = self.app(name)
        if slot not in app.settings.slots:
            raise AdminError(404, f"app {name} has no slot {slot}; it has {', '.join(app.settings.slots)}")
        self._tell_all(orders.CloseIdle(app=name, slot=slot))
        await self.collect(APPLY_SECONDS)

    async def switch(self, name: str, request: SwitchRequest) -> SwitchReport:
        """Raises AdminError: see the admin API's document."""
        app = self.app(name)
        self._check_slots(app, [request.to])
        if request.expect_active not in (None, app.machine.active):
            raise AdminError(409, f"slot {app.machine.active} is active, not {request.expect_active}")
        await self.collect(FRESH_SECONDS)
        return await app.switch(request)

    def _check_slots(self, app: AppControl, slots: Iterable[str]) -> None:
        """Raises AdminError unless every worker can send requests to these slots."""
        if self.stopping:
            raise AdminError(503, "the proxy stops")
        if former := self.former_workers():
            # They take no orders, and what they still send goes to the slot that was active when they had some.
            pids = ", ".join(str(pid) for pid in former)
            raise AdminError(503, f"workers of a supervisor that is gone still end requests: pid {pids}")
        for slot in slots:
            if slot not in app.settings.slots:
                raise AdminError(422, f"app {app.name} has no slot {slot}; it has {', '.join(app.settings.slots)}")
            for worker in self.fleet.workers.values():
                known = worker.settings.apps.get(app.name)
                if known is not None and slot not in known.slots:
                    raise AdminError(
                        503, f"worker {worker.number} still ends requests of the last configuration, without {slot}"
                    )

    async def confirm(self, name: str) -> AppStatus:
        """Ends the trial: the switch stays. Raises AdminError 404, 409."""
        app = self.app(name)
        await app.trial.confirm("it was confirmed")
        return app_status(app, self.counters, await self.collect())

    async def set_weights(self, name: str, request: WeightsRequest) -> AppStatus:
        """Returns when every worker goes by them. Raises AdminError: see AppControl.set_weights."""
        app = self.app(name)
        self._check_slots(app, request.weights)
        await self.collect(FRESH_SECONDS)
        await app.set_weights(request, WEIGHTS_HOLD)
        return app_status(app, self.counters, await self.collect())

    async def pause(self, name: str, request: PauseRequest) -> AppStatus:
        """Returns when every worker lets new requests wait, or APPLY_SECONDS are over; as the next two."""
        app = self.app(name)
        await app.admission.pause(request.seconds if request.seconds is not None else self.settings.limits.hold)
        return app_status(app, self.counters, await self.collect(APPLY_SECONDS))

    async def resume(self, name: str) -> AppStatus:
        app = self.app(name)
        await app.admission.resume()
        return app_status(app, self.counters, await self.collect(APPLY_SECONDS))

    async def set_maintenance(self, name: str, request: MaintenanceRequest) -> AppStatus:
        app = self.app(name)
        await app.admission.set_maintenance(request)
        return app_status(app, self.counters, await self.collect(APPLY_SECONDS))

    async def revert(self, name: str) -> SwitchReport:
        """Ends the trial: switches back. Raises AdminError as `switch`."""
        return await self.app(name).trial.revert("it was called back")

    async def update_slot(self, name: str, slot: str, update: SlotUpdate) -> AppStatus:
        """Returns when every worker sends requests accordingly, or APPLY_SECONDS are over.

        Raises AdminError 404, 422; then the slot is as before.
        """
        app = self.app(name)
        root = update.static_root
        if root is not None and not await asyncio.to_thread(Path(root).is_dir):
            raise AdminError(422, f"static_root: {root} is no directory")
        matters = update.model_fields_set & {"backends", "static_root"}
        await app.update_slot(slot, update, lambda: self.collect(APPLY_SECONDS if matters else ANSWER_SECONDS))
        return app_status(app, self.counters, self.counters.totals())

    def set_release(self, name: str, progress: ReleaseProgress) -> None:
        """Shown in the status; each change of a step is an event."""
        app = self.app(name)
        app.release = progress
        running = [step.name for step in progress.steps if step.state == "running"]
        what = progress.message or (f"step {running[0]}" if running else "")
        self.bus.publish("release", f"{progress.release} {progress.state}{': ' if what else ''}{what}", name)

    async def _counts(self, app: str, slot: str) -> Counts:
        counted = slot_of(await self.collect(), app, slot)
        return Counts(counted["requests"], counted["status"][4], tuple(counted["hist"]))

    def _serving(self) -> list[WorkerProcess]:
        return [worker for worker in self.fleet.workers.values() if worker.state in ("ready", "draining")]

    async def _count(self) -> None:
        # A tick, as a worker that is killed can't send its last counters.
        while True:
            await asyncio.sleep(COUNT_INTERVAL)
            await self.collect()

    def __repr__(self) -> str:
        return f"<Supervisor {self.fleet!r} apps={list(self.apps)}>"


def worker_count(settings: Settings) -> int:
    """As configured, or one for each core that this process may use."""
    return settings.workers or len(os.sched_getaffinity(0))


def check_unchanged(old: Settings, new: Settings) -> None:
    """Raises ConfigurationError when a running proxy can't take the new settings over."""
    for key in _RESTART_KEYS:
        if getattr(old, key) != getattr(new, key):
            raise ConfigurationError(
                f"{key} can't be changed by a reload", "set it back, or stop the proxy and start it again"
            )
