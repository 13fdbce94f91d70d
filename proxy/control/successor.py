"""The second half of an upgrade, in the new code: the workers are replaced, and those who wait get their answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.control import problems
from proxy.control.callers import answer
from proxy.control.status import own_version
from proxy.errors import AdminError, OperatorError
from proxy.wire import Done

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pydantic import BaseModel

    from proxy.control.handover import CallerPart
    from proxy.control.supervisor import Supervisor

CALM_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.05


class Successor:
    """`run` returns when the upgrade is over. `callers`: who asked for it, and who waits for a drain."""

    def __init__(self, supervisor: Supervisor, callers: list[CallerPart]) -> None:
        self._supervisor = supervisor
        self._callers = callers

    async def run(self) -> None:
        upgrading = asyncio.create_task(self._upgrade())
        await asyncio.gather(*(self._answer(caller, self._result(caller, upgrading)) for caller in self._callers))
        await asyncio.gather(upgrading, return_exceptions=True)

    async def _upgrade(self) -> Done:
        supervisor = self._supervisor
        try:
            await self._replace_workers()
        except (AdminError, OperatorError) as error:
            message = (
                f"the supervisor runs version {own_version()}, but the workers of the version before serve on: {error}"
            )
            supervisor.bus.publish("upgrade", message)
            raise AdminError(503, f"{message}; `proxy reload` tries again") from error
        supervisor.upgrades += 1
        message = (
            f"upgraded to version {own_version()}; "
            f"{len(supervisor.fleet.current)} new workers serve {', '.join(supervisor.settings.listen)}"
        )
        supervisor.bus.publish("upgrade", message)
        return Done(message=message)

    async def _replace_workers(self) -> None:
        deadline = asyncio.get_running_loop().time() + CALM_SECONDS
        while True:
            try:
                await self._supervisor.reload()
            except AdminError as error:
                if error.status != 409 or asyncio.get_running_loop().time() > deadline:
                    raise
            else:
                return
            # A tick: a switch that has just begun is over in milliseconds.
            await asyncio.sleep(_LOOK_SECONDS)

    async def _result(self, caller: CallerPart, upgrading: asyncio.Task[Done]) -> BaseModel:
        if caller.app is None:
            return await asyncio.shield(upgrading)
        app = self._supervisor.apps[caller.app]
        if app.resumed is None:
            raise AdminError(503, f"app {caller.app} has no switch under way any more")
        return await asyncio.shield(app.resumed)

    async def _answer(self, caller: CallerPart, result: Awaitable[BaseModel]) -> None:
        try:
            body = (await result).model_dump_json(by_alias=True).encode()
            status, media_type = 200, "application/json"
        except (AdminError, OperatorError) as error:
            told = problems.of_error(error)
            status, media_type, body = told.status, problems.MEDIA_TYPE, (told.text or "").encode()
        with suppress(OSError, TimeoutError):  # The caller may have gone; the log and the events have it all.
            await answer(caller.descriptor, status, HTTPStatus(status).phrase, media_type, body)

    def __repr__(self) -> str:
        return f"<Successor callers={len(self._callers)}>"
