"""One app in one worker: its gate, its slots' backends and files, and what the supervisor orders for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.core import orders
from proxy.core.backends import Backend, BackendSet
from proxy.core.gate import Effects, Gate, Maintenance, Ticket
from proxy.core.recent import SLOW_SECONDS, Recent
from proxy.core.spread import Spread
from proxy.net.exchange import Exchange
from proxy.net.pages import maintenance_page
from proxy.net.pool import Pool
from proxy.wire import InflightExchange

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from proxy.core.files import FileIndex
    from proxy.net.access_log import AccessLog
    from proxy.settings import AppSettings, Settings

MAX_CUT_LISTED: Final = 1000
CLOSE_INTERVAL: Final = 0.02
CLOSE_SECONDS: Final = 3.0
"""At a drain's deadline WebSockets are closed one after the other, with CLOSE_INTERVAL between them or less, so that
the last one comes within CLOSE_SECONDS."""
FRAME_SECONDS: Final = 1.0
"""Then what is left is ended. The supervisor waits a little longer than both (proxy.core.switchover.CUT_SECONDS)."""
CLIENT_GONE: Final = 499
"""What stands for the status of a request whose client went away before an answer, here and in the access log."""
FORMER_FILES_SECONDS: Final = 900.0
"""How long the files of a release are served after its slot got another one."""
MAX_FORMER_FILES: Final = 4


class SlotRuntime:
    """One slot's backends with their pools, and its static files. `only`: the pool, where there is one backend."""

    __slots__ = ("backends", "files", "only", "pools")

    def __init__(self, backends: BackendSet, pools: dict[Backend, Pool], files: FileIndex | None) -> None:
        self.backends = backends
        self.pools = pools
        self.only = next(iter(pools.values())) if len(pools) == 1 else None
        self.files = files

    def __repr__(self) -> str:
        return f"<SlotRuntime {list(self.pools.values())}>"


class App:
    """What the exchanges of one app share. `tell` sends an event to the supervisor; `files` are the slots' indexes.

    `time` is that of the last look: good enough for what lasts for seconds, and free.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        slots: Mapping[str, orders.SlotState],
        active: orders.ActiveSlot,
        *,
        worker: int,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        tell: Callable[[orders.Event], None],
        log: AccessLog,
        files: Mapping[str, FileIndex],
    ) -> None:
        self.name = name
        self.settings: AppSettings = settings.apps[name]
        self.loop = loop
        self.now = now
        self.time = now()
        self._worker = worker
        self._timeouts = settings.timeouts
        self._max_fields = settings.limits.headers
        self._tell = tell
        self._log = log
        self._timer: asyncio.TimerHandle | None = None
        self._held_for: orders.Hold | None = None
        self.unserved: dict[int, int] = {}
        self.recent = Recent()
        self.gate = Gate(
            name,
            slots,
            active.active,
            active.epoch,
            session_cookie=self.settings.session_cookie,
            max_held=settings.limits.held,
            max_wait=settings.limits.hold,
            barrier=settings.timeouts.barrier,
            spread=self._spread(active.spreading),
        )
        self.slots = {slot: self._runtime(slot_state, None, files.get(slot)) for slot, slot_state in slots.items()}
        self._former_files: list[tuple[float, FileIndex]] = []
        self._files: tuple[FileIndex, ...] = ()
        self._files_of: dict[str, tuple[FileIndex, ...]] = {}
        self._order_files()
        self._apply(self.gate.block(active.busy, now()))
        if active.admission is not None:
            self.admit(active.admission)

    def __repr__(self) -> str:
        return f"<App {self.gate!r}>"

    # --- exchanges -------------------------------------------------------------------------------------------------

    def ended(self, exchange: Exchange) -> None:
        """The exchange is over, however it ended: ticket, counters, log. One that no slot had is no slot's fault."""
        clock = self.now
        now = clock()
        seconds = now - exchange.started
        ticket = exchange.ticket
        if ticket is None:
            self.gate.leave(exchange)
            status = exchange.status or CLIENT_GONE
            self.unserved[status] = self.unserved.get(status, 0) + 1
            self._log.exchange(exchange, b"-", seconds)
            return
        slot = ticket.slot
        effects = self.gate.release(ticket, now)
        if effects is not None:
            self._apply(effects)
        slot.stats.count(exchange.status, seconds, exchange.bytes_in, exchange.bytes_out)
        if self.recent.wanted or exchange.status >= 500 or seconds >= SLOW_SECONDS:
            self.recent.note(slot.name, exchange.method, exchange.head.target, exchange.status, seconds, now)
        self._log.exchange(exchange, slot.label, seconds)
        exchange.ticket = None  # the ticket knows its exchange: no cycle may be left for the garbage collector

    def another_slot(self, exchange: Exchange, tried: Collection[Backend]) -> bool:
        """Gives an exchange of which nothing was sent another slot's ticket, while the slots have weights."""
        ticket, spread = exchange.ticket, self.gate.spread
        if ticket is None or spread is None:
            return False
        for name in spread.weights:
            if self.slots[name].backends.choose(self.time, tried) is not None:
                moved = self.gate.move(ticket, name, self.now())
                if moved is None:
                    return False
                exchange.ticket, effects = moved
                if effects is not None:
                    self._apply(effects)
                return True
        return False

    def look(self) -> None:
        """Lets the gate see the time; called by the worker's clock."""
        self.time = now = self.now()
        self.recent.look()
        self._apply(self.gate.look(now))
        if self._former_files and self._former_files[0][0] < now:
            self._former_files = [former for former in self._former_files if former[0] >= now]
            self._order_files()
        for runtime in self.slots.values():
            for pool in runtime.pools.values():
                pool.look(now)

    def _apply(self, effects: Effects) -> None:
        if effects.look_again is not None:
            self._look_at(effects.look_again)
        for epoch in sorted({epoch for epoch, _ in effects.sessions_ended}):
            ended = tuple(session for of_epoch, session in effects.sessions_ended if of_epoch == epoch)
            self._tell(orders.SessionsEnded(app=self.name, epoch=epoch, sessions=ended))
        if effects.drained is not None:
            self._drained(effects.drained)
        for owner in effects.wake:
            owner.wake()
        for owner in effects.refuse:
            owner.refuse()

    def _look_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(max(0.0, when - self.now()), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._apply(self.gate.look(self.now()))

    def _drained(self, slot: str) -> None:
        for pool in self.slots[slot].pools.values():
            pool.close_idle()
        self._tell(orders.Drained(app=self.name, epoch=self.gate.epoch, slot=slot))

    # --- orders ----------------------------------------------------------------------------------------------------

    def hold(self, order: orders.Hold) -> None:
        result = self.gate.hold(order.epoch, order.attempt, order.hold, self.now(), order.staying)
        if result is not None:
            self._held_for = order
            if result.look_again is not None:
                self._look_at(result.look_again)
            self._tell(
                orders.HoldAck(
                    app=self.name,
                    epoch=order.epoch,
                    attempt=order.attempt,
                    busy=result.busy,
                    in_flight=result.in_flight,
                    tunnels=result.tunnels,
                )
            )

    def release_hold(self, order: orders.ReleaseHold) -> None:
        self._apply(self.gate.release_hold(order.epoch, order.attempt))

    def orders_ended(self, decided: int | None) -> None:
        """The supervisor is gone. `decided`: the epoch of the app's last switch in its state file, if known.

        When that is the switch that requests were held for last, it is carried out, as all workers that are left do;
        but who of them still has which session can't be told any more.
        """
        order = self._held_for
        if order is None or order.to is None or order.epoch <= self.gate.epoch or order.epoch != decided:
            self._apply(self.gate.orders_ended())
            return
        barrier = order.spreading is None or order.spreading.sticky
        self._switch(order.epoch, order.to, None if barrier else {}, order.spreading)

    def switch(self, order: orders.Switch) -> None:
        self._switch(order.epoch, order.to, order.busy, order.spreading)

    def _switch(self, epoch: int, to: str, busy: dict[str, int] | None, spreading: orders.Spreading | None) -> None:
        result = self.gate.switch(epoch, to, busy, self.now(), self._spread(spreading))
        if result is not None:
            self._tell(orders.SwitchAck(app=self.name, epoch=epoch, held=result.held, hold_ms=result.hold_ms))
            self._order_files()
            self._apply(result.effects)

    def admit(self, order: orders.Admission) -> None:
        page = order.maintenance
        maintenance = None
        if page is not None:
            maintenance = Maintenance(maintenance_page(page.page, page.text), page.retry_after)
        self._apply(self.gate.admit(order.pause, maintenance, self.now()))

    def sessions_ended(self, order: orders.SessionsEnded) -> None:
        self._apply(self.gate.sessions_ended(order.epoch, order.sessions))

    def drain(self, order: orders.Drain) -> None:
        for pool in self.slots[order.slot].pools.values():
            pool.close_idle()
        self._apply(self.gate.drain(order.epoch, order.slot))

    def close_idle(self, order: orders.CloseIdle) -> None:
        for pool in self.slots[order.slot].pools.values():
            pool.close_idle()

    def cut(self, order: orders.Cut) -> None:
        """Ends what is outstanding on the slot, and reports it one by one.

        WebSockets get a close frame, a few at a time, so that their clients do not come again all at once.
        """
        if order.epoch != self.gate.epoch:
            return
        tickets = self._oldest(self.gate.slots[order.slot].outstanding)
        listed = tuple(self._inflight(ticket) for ticket in tickets[:MAX_CUT_LISTED])
        self._tell(orders.CutReport(app=self.name, epoch=order.epoch, slot=order.slot, exchanges=listed))
        exchanges = [_exchange_of(ticket) for ticket in tickets]
        for exchange in exchanges:
            if not exchange.is_websocket:
                exchange.cut()
        websockets = [exchange for exchange in exchanges if exchange.is_websocket]
        if websockets:
            self._close_one_by_one(websockets, CLOSE_SECONDS)
            self.loop.call_later(CLOSE_SECONDS + FRAME_SECONDS, _cut_all, websockets)

    def close_websockets(self, within: float) -> None:
        """The worker stops: all its WebSockets get a close frame, one after the other, within so many seconds."""
        tickets = self._oldest(ticket for slot in self.gate.slots.values() for ticket in slot.outstanding)
        exchanges = [_exchange_of(ticket) for ticket in tickets]
        self._close_one_by_one([exchange for exchange in exchanges if exchange.is_websocket], within)

    def _close_one_by_one(self, websockets: Sequence[Exchange], within: float) -> None:
        for number, exchange in enumerate(websockets):
            self.loop.call_later(number * min(CLOSE_INTERVAL, within / len(websockets)), exchange.close_websocket)

    def health_changed(self, order: orders.HealthChanged) -> None:
        backend = self.slots[order.slot].backends.find(order.backend)
        if backend is not None:
            backend.probed(order.up, self.now())

    def slot_changed(self, order: orders.SlotChanged, files: FileIndex | None) -> None:
        """New backends get pools of their own; connections to backends that stay are kept."""
        old = self.slots.get(order.slot)
        new = self._runtime(order.state, old, files)
        self.gate.set_slots((order.slot,))
        self.slots[order.slot] = new
        if old is not None:
            for backend, pool in old.pools.items():
                if backend not in new.pools:
                    pool.retire()
            if old.files is not None:
                self._former_files.append((self.now() + FORMER_FILES_SECONDS, old.files))
                del self._former_files[:-MAX_FORMER_FILES]
        self._order_files()

    def static_root(self, state: orders.SlotState) -> str | None:
        """The root of a slot's static files; None when the app has none."""
        static = self.settings.static
        return None if static is None else state.static_root or static.root

    def file_indexes(self, cookies: bytes) -> tuple[FileIndex, ...]:
        """Where to look for a file: in the visitor's slot, then in the others, then in what was there before.

        The visitor's slot is the active one, but for weights: then the one that the request's `cookies` name. A page
        that was loaded before a switch asks for its own assets after it, and one from a worker that has switched may
        ask a worker that has not.
        """
        if self.gate.spread is None:
            return self._files
        return self._files_of.get(self.gate.spread.slot_in(cookies) or "", self._files)

    def _order_files(self) -> None:
        self._files = self._files_from(self.gate.active.name)
        spread = self.gate.spread
        self._files_of = {} if spread is None else {name: self._files_from(name) for name in spread.weights}

    def _files_from(self, name: str) -> tuple[FileIndex, ...]:
        first = self.slots[name]
        slots = [first, *(slot for slot in self.slots.values() if slot is not first)]
        former = [index for _, index in reversed(self._former_files)]
        return tuple(dict.fromkeys([slot.files for slot in slots if slot.files is not None] + former))

    def _spread(self, spreading: orders.Spreading | None) -> Spread | None:
        if spreading is None:
            return None
        return Spread(
            self.name,
            spreading.weights,
            sticky=spreading.sticky,
            cookies=spreading.cookies,
            path=self.settings.path,
            usable=lambda slot: self.slots[slot].backends.usable(self.time),
        )

    def _runtime(self, state: orders.SlotState, old: SlotRuntime | None, files: FileIndex | None) -> SlotRuntime:
        pools: dict[Backend, Pool] = {}
        for address, healthy in state.backends.items():
            backend = old.backends.find(address) if old is not None else None
            if backend is None or old is None:
                backend = Backend(address)
                pools[backend] = Pool(
                    backend,
                    self.loop,
                    self.time,
                    connect_timeout=self._timeouts.connect,
                    max_idle_age=self._timeouts.upstream_idle,
                    max_fields=self._max_fields,
                )
            else:
                pools[backend] = old.pools[backend]
            backend.probed(healthy, self.time)
        return SlotRuntime(BackendSet(pools), pools, files)

    # --- facts -----------------------------------------------------------------------------------------------------

    def inflight(self, limit: int) -> tuple[tuple[InflightExchange, ...], bool]:
        """(outstanding exchanges, the oldest first; whether there are more than `limit`)."""
        tickets = self._oldest(ticket for slot in self.gate.slots.values() for ticket in slot.outstanding)
        return tuple(self._inflight(ticket) for ticket in tickets[:limit]), len(tickets) > limit

    def snapshot(self) -> dict[str, Any]:
        """Counters, in the shape that `proxy.core.stats.merge` adds up."""
        return {
            "held": self.gate.held,
            "slots": {
                name: {
                    **slot.stats.snapshot(),
                    "in_flight": len(slot.outstanding),
                    "tunnels": slot.tunnels,
                    "backends": {backend.address: backend.in_flight for backend in self.slots[name].pools},
                }
                for name, slot in self.gate.slots.items()
            },
        }

    def _oldest(self, tickets: Iterable[Ticket]) -> list[Ticket]:
        return sorted(tickets, key=lambda ticket: _exchange_of(ticket).started)

    def _inflight(self, ticket: Ticket) -> InflightExchange:
        exchange = _exchange_of(ticket)
        return InflightExchange(
            id=exchange.request_id.decode(),
            slot=ticket.slot.name,
            method=exchange.method.decode(),
            path=exchange.head.target.partition(b"?")[0][:512].decode("latin-1"),
            age_ms=(self.now() - exchange.started) * 1000,
            bytes=exchange.bytes_out,
            client=exchange.client.address.decode(),
            worker=self._worker,
            tunnel=ticket.tunnel,
        )


def _cut_all(exchanges: Iterable[Exchange]) -> None:
    """Ends those that are still there: a frame that has begun did not end in time."""
    for exchange in exchanges:
        exchange.cut()


def _exchange_of(ticket: Ticket) -> Exchange:
    assert isinstance(ticket.owner, Exchange)
    return ticket.owner
