"""Probes the backends of one app and tells when one's health changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from proxy.address import parse_backend
from proxy.control.handover import HealthPart
from proxy.core.health import BackendHealth
from proxy.net.health import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.settings import HealthSettings


class Prober:
    """`changed(slot, address, health)` is called at each change. `clock`: Unix time."""

    def __init__(self, clock: Callable[[], float], changed: Callable[[str, str, BackendHealth], None]) -> None:
        self._clock = clock
        self._changed = changed
        self._settings: HealthSettings | None = None
        self._health: dict[tuple[str, str], BackendHealth] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def watch(self, settings: HealthSettings | None, slots: Mapping[str, Sequence[str]]) -> None:
        """Probes these backends from now on. What is known of a backend stays, unless the settings are others."""
        wanted = {(slot, address) for slot, addresses in slots.items() for address in addresses}
        renewed = settings != self._settings
        self._settings = settings
        for key in [key for key in self._health if renewed or key not in wanted]:
            self._drop(key)
        for key in wanted:
            if settings is not None and key not in self._health:
                self._health[key] = BackendHealth(settings.rise, settings.fall, self._clock())
                self._tasks[key] = asyncio.create_task(self._watch(key, settings))

    def hand_over(self) -> list[HealthPart]:
        return [
            HealthPart(slot=slot, address=address, up=health.up, since=health.since, last_error=health.last_error)
            for (slot, address), health in self._health.items()
        ]

    def take_over(self, parts: list[HealthPart]) -> None:
        """What was known of the backends that are watched."""
        for part in parts:
            health = self._health.get((part.slot, part.address))
            if health is not None:
                health.up, health.since, health.last_error = part.up, part.since, part.last_error

    def health(self, slot: str, address: str) -> BackendHealth | None:
        """None when the backend is not probed."""
        return self._health.get((slot, address))

    def up(self, slot: str, address: str) -> bool | None:
        """None when it is unknown."""
        health = self._health.get((slot, address))
        return None if health is None else health.up

    async def slot_works(self, slot: str) -> str | None:
        """None when a backend of the slot is up; otherwise why not.

        A backend that is not up is probed here and now, `rise` times without the interval between them, so that a
        server that has just started need not be waited for.
        """
        settings = self._settings
        keys = [key for key in self._health if key[0] == slot]
        if settings is None or not keys or any(self._health[key].up for key in keys):
            return None
        await asyncio.gather(*(self._probe_again(key, settings) for key in keys))
        found = {key[1]: self._health[key] for key in keys if key in self._health}
        if any(health.up for health in found.values()):
            return None
        return "; ".join(f"{address}: {health.last_error}" for address, health in found.items())

    async def _probe_again(self, key: tuple[str, str], settings: HealthSettings) -> None:
        for _ in range(settings.rise):
            await self._probe(key, settings)
            health = self._health.get(key)
            if health is None or health.up or health.last_error is not None:
                return

    async def _watch(self, key: tuple[str, str], settings: HealthSettings) -> None:
        # A tick, as a server that has died tells nobody.
        while True:
            await self._probe(key, settings)
            await asyncio.sleep(settings.interval)

    async def _probe(self, key: tuple[str, str], settings: HealthSettings) -> None:
        slot, address = key
        error = await probe(parse_backend(address), settings.path, settings.timeout)
        health = self._health.get(key)
        if health is not None and health.note(error, self._clock()):
            self._changed(slot, address, health)

    def _drop(self, key: tuple[str, str]) -> None:
        del self._health[key]
        self._tasks.pop(key).cancel()

    async def close(self) -> None:
        """Ends the probes."""
        tasks = list(self._tasks.values())
        for key in list(self._health):
            self._drop(key)
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    def __repr__(self) -> str:
        return f"<Prober {self._health}>"
