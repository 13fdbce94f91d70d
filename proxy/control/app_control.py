"""One app in the supervisor: its slots as they are now, its probes, its switch, and the release under way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.control.admission import AdmissionControl
from proxy.control.handover import AppPart
from proxy.control.prober import Prober
from proxy.control.state import AppRecord, SlotRecord, TrialRecord, WeightsRecord
from proxy.control.switching import Placed, Switching
from proxy.control.trial import TrialControl
from proxy.core import orders
from proxy.core.stats import BUCKETS_MS
from proxy.core.switchover import Switchover
from proxy.errors import AdminError, StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from proxy.core.health import BackendHealth
    from proxy.core.trial import Counts
    from proxy.settings import AppSettings, SlotSettings
    from proxy.wire import ReleaseProgress, SlotUpdate, SwitchReport, SwitchRequest, WeightsRequest

    Change = Callable[[AppRecord], AppRecord]


class AppControl:
    """`tell_all(order)` reaches every worker that knows the slot. `switched(app)` follows a switch.

    `counts(slot)` asks the workers what the slot has done. `cookies(slots)`: see proxy.control.affinity.
    `note(kind, message)` makes an event.
    """

    def __init__(
        self,
        name: str,
        settings: AppSettings,
        record: AppRecord,
        *,
        clock: Callable[[], float],
        send: Callable[[int, orders.Order], None],
        kill: Callable[[int, str], None],
        stage: Callable[[Change], Awaitable[None]],
        persist: Callable[[Change], Awaitable[AppRecord]],
        place: Callable[[Change], Awaitable[tuple[AppRecord, Awaitable[None]]]],
        tell_all: Callable[[orders.HealthChanged | orders.SlotChanged | orders.Admission], None],
        switched: Callable[[str], None],
        counts: Callable[[str], Awaitable[Counts]],
        cookies: Callable[[Iterable[str]], dict[str, str]],
        note: Callable[[str, str], None],
    ) -> None:
        self.name = name
        self.settings = settings
        self.records = dict(record.slots)
        self.since = clock()
        self.release: ReleaseProgress | None = None
        self.prober = Prober(clock, self._health_changed)
        machine = Switchover(name, record.active, record.epoch, _spreading(record.weights, cookies))
        self.switching = Switching(machine, send=send, kill=kill, place=self._place_active)
        self.switches = 0
        self.refused = 0
        self.hold_hist = [0] * (len(BUCKETS_MS) + 1)
        self.hold_sum_ms = 0.0
        self.trial = TrialControl(clock=clock, counts=counts, persist=persist, switch_back=self._switch_back, note=note)
        self.admission = AdmissionControl(name, clock=clock, persist=persist, tell_all=tell_all, note=note)
        self._cookies = cookies
        self._clock = clock
        self._stage = stage
        self._persist = persist
        self._place = place
        self._tell_all = tell_all
        self._switched = switched
        self._note = note
        self.resumed: asyncio.Task[SwitchReport] | None = None
        self._updating = asyncio.Lock()
        self._slot_failures: dict[str, str] = {}
        self._watch()
        self.trial.follow(record)
        self.admission.load(record)

    @property
    def machine(self) -> Switchover:
        return self.switching.machine

    def join(self, worker: int) -> orders.ActiveSlot:
        """What the worker begins with. Only while no switch is undecided."""
        return replace(self.machine.join(worker), admission=self.admission.order())

    def configure(self, settings: AppSettings) -> None:
        """New settings after a reload."""
        self.settings = settings
        self._watch()

    def slot(self, name: str, configured: SlotSettings | None = None) -> orders.SlotState:
        """The slot as it is now: configured (here, or by `configured`), changed through the admin API, probed."""
        record = self.records.get(name, SlotRecord())
        configured = configured or self.settings.slots[name]
        backends = record.backends if record.backends is not None else configured.backends
        return orders.SlotState(
            backends={address: self.prober.up(name, address) for address in backends},
            static_root=record.static_root if record.static_root is not None else configured.static_root,
            release=record.release,
        )

    def slots(self) -> dict[str, orders.SlotState]:
        return {name: self.slot(name) for name in self.settings.slots}

    async def switch(self, request: SwitchRequest) -> SwitchReport:
        """Raises AdminError: 422 when the slot has no healthy backend, and as Switching.switch; StateError.

        It ends an open trial, and may begin one.
        """
        if not request.force:
            await self._check_slot(request.to)
        ending = self.trial.end("replaced", f"a switch to {request.to} was asked for")
        begun = self._clock()

        def also(record: AppRecord) -> AppRecord:
            record = ending(record)
            if request.confirm_within is None and request.guard is None:
                return record
            trial = TrialRecord(
                from_slot=self.machine.active,
                to=record.active,
                epoch=record.epoch,
                started=begun,
                confirm_by=None if request.confirm_within is None else begun + request.confirm_within,
                guard=request.guard,
                hold=request.hold,
                drain=request.drain,
            )
            return record.model_copy(update={"trial": trial})

        return self._with_trial(await self._switch(request.to, hold=request.hold, drain=request.drain, also=also))

    def _with_trial(self, report: SwitchReport) -> SwitchReport:
        trial = self.trial.record
        if trial is None or trial.epoch != report.epoch:
            return report
        return report.model_copy(update={"trial": True, "confirm_by": trial.confirm_by})

    async def set_weights(self, request: WeightsRequest, hold: float) -> None:
        """Returns when every worker goes by the weights. What runs on a slot that has lost its weight may go on.

        Raises AdminError: 409 during a trial, 422 when a slot without a healthy backend gets its first requests, and
        as Switching.switch; StateError.
        """
        if self.trial.record is not None:
            raise AdminError(409, f"{self.trial.record.to} is on trial: confirm or revert it first")
        weights = {slot: weight for slot, weight in request.weights.items() if weight}
        to = self.machine.active if self.machine.active in weights else max(weights, key=weights.__getitem__)
        record = WeightsRecord(weights=weights, sticky=request.sticky) if len(weights) > 1 else None
        old = self.machine.spreading
        in_use = {self.machine.active} if old is None else {slot for slot, weight in old.weights.items() if weight}
        for slot in sorted(weights.keys() - in_use):
            await self._check_slot(slot)
        spreading = await asyncio.to_thread(_spreading, record, self._cookies)

        def also(app: AppRecord) -> AppRecord:
            return app.model_copy(update={"weights": record})

        await self._switch(to, hold=hold, drain=None, also=also, spreading=spreading)
        if spreading != old:
            shares = ", ".join(f"{slot} {weight}" for slot, weight in weights.items())
            how = "" if spreading is None else ", visitors keep their slot" if spreading.sticky else ", by turns"
            self._note("traffic", f"weights: {shares}{how}")

    async def _switch_back(self, trial: TrialRecord, reason: str) -> SwitchReport:
        await self._check_slot(trial.from_slot)
        also = self.trial.end("reverted", reason)
        return await self._switch(trial.from_slot, hold=trial.hold, drain=trial.drain, also=also)

    async def _check_slot(self, slot: str) -> None:
        why = await self.prober.slot_works(slot)
        if why is not None:
            raise AdminError(422, f"slot {slot} has no healthy backend ({why}); force switches all the same")

    async def _switch(
        self,
        to: str,
        *,
        hold: float,
        drain: float | None,
        also: Change,
        spreading: orders.Spreading | None = None,
    ) -> SwitchReport:
        """What takes time is done before the first request is held."""
        old = self.machine.active
        if to != old or spreading != self.machine.spreading:
            await self._stage(_activate(to, self.machine.epoch + 1, also))
        try:
            report = await self.switching.switch(to=to, hold=hold, drain=drain, also=also, spreading=spreading)
        except AdminError as error:
            self.refused += 1
            self._note("switch", f"{old} stays active: {error}")
            raise
        if report.from_slot != report.to:
            self._account(report)
        return report

    def _account(self, report: SwitchReport) -> None:
        self.switches += 1
        self._count_hold(report.hold_ms)
        left = f"{len(report.cut)} exchanges cut" if report.cut else "exchanges left"
        self._note(
            "drain",
            f"{report.from_slot} {'is drained' if report.drained else f'is not drained: {left}'} "
            f"after {report.drain_ms:.0f} ms; the hold was {report.hold_ms:.1f} ms, {report.held} requests waited",
        )

    def hand_over(self) -> AppPart:
        """Only while the machine is not `switching`."""
        return AppPart(
            since=self.since,
            release=self.release,
            switches=self.switches,
            refused=self.refused,
            hold_hist=self.hold_hist,
            hold_sum_ms=self.hold_sum_ms,
            trials=self.trial.outcomes,
            health=self.prober.hand_over(),
            machine=self.machine.snapshot(),
        )

    def take_over(self, part: AppPart) -> None:
        """Goes on as another did. `resumed` gives the report of the switch whose drain is still under way."""
        self.since, self.release = part.since, part.release
        self.switches, self.refused = part.switches, part.refused
        self.hold_hist, self.hold_sum_ms = part.hold_hist, part.hold_sum_ms
        self.trial.outcomes = dict(part.trials)
        self.prober.take_over(part.health)
        answer = self.switching.resume(part.machine)
        if answer is not None:
            self.resumed = asyncio.create_task(self._end_resumed(answer))

    async def _end_resumed(self, answer: asyncio.Future[SwitchReport]) -> SwitchReport:
        report = await answer
        self._account(report)
        return self._with_trial(report)

    async def update_slot(self, name: str, update: SlotUpdate, applied: Callable[[], Awaitable[object]]) -> None:
        """Makes the change durable, then tells the workers. `applied` returns when they have done it.

        Raises AdminError 422 when it can't be, or a worker could not do it; then the slot is as before. StateError.
        """
        async with self._updating:
            self._check_update(name, update)
            before = self.records.get(name, SlotRecord())
            changed = {key: getattr(update, key) for key in update.model_fields_set}
            self._slot_failures.pop(name, None)
            await self._change_slot(name, before.model_copy(update=changed))
            await applied()
            failure = self._slot_failures.pop(name, None)
            if failure is not None:
                await self._change_slot(name, before)
                raise AdminError(422, f"{failure}; slot {name} is as before")

    def slot_failed(self, worker: int, event: orders.SlotFailed) -> None:
        """A worker could not do what it was told of a slot."""
        self._slot_failures[event.slot] = event.message
        self._note("worker", f"worker {worker} goes on with slot {event.slot} as it was: {event.message}")

    async def _change_slot(self, name: str, slot: SlotRecord) -> None:
        await self._persist(lambda record: record.model_copy(update={"slots": {**record.slots, name: slot}}))
        self.records[name] = slot
        self._watch()
        self._tell_all(orders.SlotChanged(app=self.name, slot=name, state=self.slot(name)))

    def _check_update(self, name: str, update: SlotUpdate) -> None:
        if name not in self.settings.slots:
            raise AdminError(404, f"app {self.name} has no slot {name}; it has {', '.join(self.settings.slots)}")
        if "backends" in update.model_fields_set and update.backends is not None:
            if not update.backends:
                raise AdminError(422, "backends: at least one address is needed")
            for other, state in self.slots().items():
                taken = set(state.backends) & set(update.backends)
                if other != name and taken:
                    raise AdminError(422, f"backends: {min(taken)} is of slot {other}")

    def _watch(self) -> None:
        self.prober.watch(self.settings.health, {name: list(slot.backends) for name, slot in self.slots().items()})

    def _health_changed(self, slot: str, address: str, health: BackendHealth) -> None:
        self._tell_all(orders.HealthChanged(app=self.name, slot=slot, backend=address, up=health.up))
        why = f": {health.last_error}" if health.last_error else ""
        self._note("health", f"{slot} {address} is {'up' if health.up else 'down'}{why}")

    async def _place_active(self, active: str, epoch: int, also: Change) -> Placed:
        old = self.machine.active
        record, durable = await self._place(_activate(active, epoch, also))

        def follow() -> None:
            self._switched(self.name)
            if active != old:
                self._note("switch", f"{old} -> {active} (switch {epoch})")
            self.trial.follow(record)

        async def settle() -> bool:
            try:
                await durable
            except StateError:
                return await self._write_again(epoch)
            return True

        return Placed(follow, settle())

    async def _write_again(self, epoch: int) -> bool:
        """All workers have switched, and whoever starts now reads it so: to go back would help nobody."""
        try:
            await self._persist(lambda now: now)
        except StateError as error:
            self._note("switch", f"switch {epoch} may not outlast a failure of the machine: {error}")
            return False
        return True

    def _count_hold(self, hold_ms: float) -> None:
        self.hold_sum_ms += hold_ms
        bucket = next((index for index, bound in enumerate(BUCKETS_MS) if hold_ms <= bound), len(BUCKETS_MS))
        self.hold_hist[bucket] += 1

    async def close(self) -> None:
        await self.trial.close()
        await self.admission.close()
        self.switching.close()
        if self.resumed is not None:
            await asyncio.gather(self.resumed, return_exceptions=True)
        await self.prober.close()

    def __repr__(self) -> str:
        return f"<AppControl {self.switching!r}>"


def _activate(active: str, epoch: int, also: Change) -> Change:
    return lambda record: also(record.model_copy(update={"active": active, "epoch": epoch, "weights": None}))


def _spreading(
    record: WeightsRecord | None, cookies: Callable[[Iterable[str]], dict[str, str]]
) -> orders.Spreading | None:
    if record is None:
        return None
    made = cookies(record.weights) if record.sticky else {}
    return orders.Spreading(weights=record.weights, sticky=record.sticky, cookies=made)
