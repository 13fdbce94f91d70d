"""The state in memory and on disk: changed one at a time, and in memory only when it is in its place on disk."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from proxy.control import signals
from proxy.errors import StateError
from proxy.urgency import SUPERVISOR, hurry

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.control.state import AppRecord, State, StateStore


class StateKeeper:
    def __init__(self, store: StateStore, state: State) -> None:
        self.store = store
        self.state = state
        self._lock = asyncio.Lock()
        self._writer = ThreadPoolExecutor(1, "state", initializer=_begin_writing)
        self._settling: set[asyncio.Task[None]] = set()

    @property
    def writing(self) -> bool:
        """Whether a change is under way, or not yet durable."""
        return self._lock.locked() or bool(self._settling)

    async def change_app(self, name: str, change: Callable[[AppRecord], AppRecord]) -> AppRecord:
        """The app's new record, when it is durable. Raises StateError; then the old one still counts."""
        state = await self.change(lambda state: state.with_app(name, change(state.apps[name])))
        return state.apps[name]

    async def place_app(
        self, name: str, change: Callable[[AppRecord], AppRecord]
    ) -> tuple[AppRecord, asyncio.Task[None]]:
        """(The app's new record, when it is in its place; what ends when it is durable).

        A change that `stage_app` has prepared waits for no disk and for no thread. Raises StateError; then the old
        record still counts. The task raises it when the change may be lost with the machine.
        """
        async with self._lock:
            new = self.state.with_app(name, change(self.state.apps[name]))
            if not self.store.staged(new):
                await self._write(self.store.stage, new)
            self.store.place(new)
            self.state = new
            durable = asyncio.create_task(self._settle())
            self._settling.add(durable)
            durable.add_done_callback(self._settling.discard)
        return new.apps[name], durable

    async def _settle(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self.store.sync)

    async def stage_app(self, name: str, change: Callable[[AppRecord], AppRecord]) -> None:
        """Makes a coming `change_app` or `place_app` with the same outcome quicker. Raises StateError."""
        async with self._lock:
            await self._write(self.store.stage, self.state.with_app(name, change(self.state.apps[name])))

    async def change(self, change: Callable[[State], State]) -> State:
        """As `change_app`, for all of the state."""
        async with self._lock:
            new = change(self.state)
            try:
                await self._write(self.store.save, new)
            except StateError:
                # The new file may already be in its place, with only the directory's fsync missing.
                with suppress(StateError):
                    await self._write(self.store.save, self.state)
                raise
            self.state = new
            return new

    async def _write(self, how: Callable[[State], None], state: State) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, how, state)

    def __repr__(self) -> str:
        return f"<StateKeeper {self.store!r} apps={sorted(self.state.apps)}>"


def _begin_writing() -> None:
    """The thread does nothing but that, and requests may wait for it."""
    signals.block()
    hurry(SUPERVISOR)
