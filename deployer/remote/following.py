"""Runs a job on the server and shows it here; a lost connection is made again, and the job knows nothing of it."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from typing import TYPE_CHECKING

from deployer.errors import Refused
from deployer.remote.connection import ConnectionGone, call, connect, stream, there
from deployer.remote.layout import JOB_LOST, NO_JOB

if TYPE_CHECKING:
    import asyncssh

    from deployer.remote.connection import Place
    from deployer.remote.screen import Screen

PATIENCE = 60.0
"""Seconds in which a lost connection is tried again."""
_PASSED_ON = 2
"""Ctrl-Cs: the first undoes the release there, the second leaves all there as it is, the next one leaves from here."""
_PAUSE = 1.0
_LOSSES = 100
"""Connections that may be lost one after the other, though each could be made."""


def new_job_id() -> str:
    """Begins with the time, so that names sort by it."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


class Follower:
    """One job, from here. args: the command after `deployer`, None: it is there already. patience: seconds."""

    def __init__(
        self, place: Place, screen: Screen, job: str, args: list[str] | None, *, patience: float = PATIENCE
    ) -> None:
        self._place = place
        self._screen = screen
        self._job = job
        self._args = args
        self._patience = patience
        self._connection: asyncssh.SSHClientConnection | None = None
        self._interrupts = 0
        self._losses = 0
        self._passing: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Follower {self._job} on {self._place.address} interrupts={self._interrupts}>"

    async def run(self, connection: asyncssh.SSHClientConnection) -> int:
        """The job's exit code. Raises ConnectionGone, or Refused when it did not begin."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        self._connection = connection
        try:
            while (code := await self._follow(self._connection)) is None:
                self._connection = await self._again()
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            if self._connection is not connection:
                self._connection.abort()
        return self._verdict(code)

    async def _follow(self, connection: asyncssh.SSHClientConnection) -> int | None:
        """Shows what comes, from where it stopped; also starts the job, unless it was started before."""
        offsets = (str(self._screen.out.count), str(self._screen.err.count))
        verb, rest = ("follow", []) if self._args is None else ("job", self._args)
        command = there(self._place, verb, self._job, *offsets, *rest)
        return await stream(connection, command, self._screen.out.write, self._screen.err.write)

    async def _again(self) -> asyncssh.SSHClientConnection:
        if self._interrupts > _PASSED_ON:
            raise self._gone("we left")
        self._losses += 1
        self._screen.note(f"the connection to {self._place.address} was lost; what runs there goes on")
        until = time.monotonic() + self._patience
        while True:
            try:
                if self._losses <= _LOSSES:
                    return await connect(self._place)
            except Refused as error:
                if time.monotonic() + _PAUSE > until:
                    raise self._gone(str(error)) from error
            else:
                raise self._gone(f"for the {self._losses}th time")
            await asyncio.sleep(_PAUSE)

    def _gone(self, why: str) -> ConnectionGone:
        nothing_seen = not self._screen.out.count and not self._screen.err.count
        goes_on = "whether the command began there is not known" if nothing_seen else "the command goes on there"
        return ConnectionGone(
            f"the connection to {self._place.address} was lost: {why}; {goes_on}",
            f"`deployer status {self._place.named}` shows how it stands, "
            f"`deployer resume {self._place.named}` follows it again",
        )

    def _verdict(self, code: int) -> int:
        if code == JOB_LOST:
            raise ConnectionGone(
                f"the command on {self._place.address} ended without an exit code: killed, or the machine stopped",
                f"`deployer status {self._place.named}` says what to do",
            )
        if code == NO_JOB:
            raise Refused(f"the command did not begin on {self._place.address}", "nothing was touched there")
        return code

    def _interrupt(self) -> None:
        self._interrupts += 1
        if self._interrupts > _PASSED_ON:
            if self._connection is not None:
                self._connection.abort()
            return
        self._screen.note("Ctrl-C is passed on to the server")
        task = asyncio.ensure_future(self._pass_on())
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass_on(self) -> None:
        if self._connection is None:
            return
        code, _, _ = await call(self._connection, there(self._place, "interrupt", self._job))
        if code != 0:
            self._screen.note("Ctrl-C did not arrive there; try once more")
