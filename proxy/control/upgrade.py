"""`POST /v1/upgrade`: the supervisor goes on with new code, in the same process, while the workers serve.

The new code is tried first: it must start, import all that it will need, and read the configuration, the state file and
what would be handed to it. Then execve(2) replaces the program; children, descriptors and their locks stay. If execve
itself fails, nothing has happened. If the new code fails after it, the supervisor has died: the workers serve on, and a
supervisor that is started (by the service manager, or by hand) takes their place.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from typing import TYPE_CHECKING, Final

from proxy.control import handover, notify, signals
from proxy.control.handover import FORM, Handover
from proxy.errors import AdminError, ConfigurationError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from proxy.control.callers import Callers
    from proxy.control.supervisor import Supervisor

CHECK: Final = "upgrade-check"
CHECK_SECONDS: Final = 60.0
CALM_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.01


class Upgrade:
    """`lock`, `admin`: descriptors that the successor gets too. `told_to_stop`: whether a signal has said so."""

    def __init__(
        self,
        supervisor: Supervisor,
        callers: Callers,
        *,
        lock: int,
        admin: int,
        notify_address: str,
        told_to_stop: Callable[[], bool],
        execute: Callable[[str, list[str], Mapping[str, str]], object] = os.execve,
    ) -> None:
        self._supervisor = supervisor
        self._callers = callers
        self._lock = lock
        self._admin = admin
        self._notify_address = notify_address
        self._told_to_stop = told_to_stop
        self._execute = execute

    async def begin(self) -> None:
        """Does not return: the caller is answered by the successor.

        Raises AdminError 409 or 503 when this is not the time, ConfigurationError when the new code can't take over,
        RefusedError when it can't be executed. Then nothing has changed.
        """
        async with self._supervisor.changing("an upgrade"):
            try:
                await self._check()
                await self._go()
            except (AdminError, ConfigurationError, RefusedError) as error:
                self._supervisor.bus.publish("upgrade", f"not upgraded: {error}")
                raise

    async def _check(self) -> None:
        """Lets the new code look at everything."""
        await self._wait_until_settled()
        command = [*own_command(sys.orig_argv, sys.argv), CHECK, "-c", self._supervisor.config]
        self._supervisor.bus.publish("upgrade", f"trying the new code: {' '.join(command)}")
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
        except OSError as error:
            raise RefusedError(f"the new code can't be started: {command[0]}: {error.strerror}") from error
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                said, _ = await process.communicate(self._handover().model_dump_json().encode())
        except TimeoutError as error:
            raise RefusedError(f"the new code did not start within {CHECK_SECONDS:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ConfigurationError(
                f"the new code can't take over: {said.decode(errors='replace').strip()[-2000:]}", "nothing has changed"
            )

    async def _go(self) -> None:
        # From here on a signal waits in the kernel, and the successor gets it. One that has come already is still in
        # the loop, for one round.
        signals.block()
        try:
            await asyncio.sleep(0)
            await self._wait_until_settled()
            self._replace_program()
        finally:
            signals.unblock()

    async def _wait_until_settled(self) -> None:
        """Returns with nothing under way that a successor could not go on with."""
        deadline = asyncio.get_running_loop().time() + CALM_SECONDS
        while (reason := self._unsettled()) is not None:
            if asyncio.get_running_loop().time() > deadline:
                raise AdminError(409, f"{reason}; ask again when that is over")
            # A tick, as these are things of many kinds, and each is over in milliseconds.
            await asyncio.sleep(_LOOK_SECONDS)

    def _unsettled(self) -> str | None:
        if self._told_to_stop():
            return "the proxy stops"
        return self._supervisor.unsettled() or self._callers.unsettled(self._supervisor.switch_awaited_by)

    def _handover(self) -> Handover:
        return Handover(
            form=FORM,
            lock=self._lock,
            admin=self._admin,
            notify=self._notify_address,
            supervisor=self._supervisor.hand_over(),
            callers=self._callers.hand_over(self._supervisor.switch_awaited_by),
        )

    def _replace_program(self) -> None:
        """Without a wait, so that all stays as it is written down."""
        command = [*own_command(sys.orig_argv, sys.argv), *sys.argv[1:]]
        self._supervisor.bus.publish("upgrade", f"going on with the new code: {' '.join(command)}")
        handed = self._handover()
        memory = -1
        try:
            memory = handover.write(handed)
            handover.keep(handed, inheritable=True)
            environment = {**os.environ, handover.VARIABLE: str(memory)}
            if self._notify_address:
                environment[notify.VARIABLE] = self._notify_address
            self._execute(command[0], command, environment)
        except OSError as error:
            handover.keep(handed, inheritable=False)
            if memory >= 0:
                os.close(memory)
            raise RefusedError(
                f"the new code can't be executed: {command[0]}: {error.strerror}", "nothing has changed"
            ) from error

    def __repr__(self) -> str:
        return f"<Upgrade {self._supervisor!r}>"


def own_command(original: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """From sys.orig_argv and sys.argv: interpreter and program, without the program's arguments."""
    return [sys.executable, *original[1 : len(original) - len(arguments) + 1]]
