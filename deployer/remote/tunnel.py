"""`deployer tunnel`: a port here that is a slot's private port on the server."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployer.errors import Refused
from deployer.remote.connection import call, connected, greet, there

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncssh

    from deployer.remote.connection import Place


def tunnel(place: Place, slot: str, port: int, config: str | None, say: Callable[[str], None]) -> None:
    """Holds the tunnel until Ctrl-C. port: here, 0 for any. config: the file there. Raises Refused."""
    gc.enable()
    asyncio.run(_tunnel(place, slot, port, config, say))


async def _tunnel(place: Place, slot: str, port: int, config: str | None, say: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with connected(place) as connection:
        await greet(connection, place)
        host, target = await _private(connection, place, slot, config, say)
        try:
            listener = await connection.forward_local_port("127.0.0.1", port, host, target)
        except OSError as error:
            raise Refused(f"port {port} here can't be had: {error.strerror}", "choose another with -L PORT") from error
        say(f"http://127.0.0.1:{listener.get_port()} is {slot} on {place.address}; Ctrl-C ends it")
        lost = asyncio.create_task(connection.wait_closed())
        stopped = asyncio.create_task(asked_to_stop.wait())
        done, _ = await asyncio.wait((lost, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if stopped not in done:
            raise Refused(f"the connection to {place.address} was lost, and the tunnel with it", "open it again")


async def _private(
    connection: asyncssh.SSHClientConnection, place: Place, slot: str, config: str | None, say: Callable[[str], None]
) -> tuple[str, int]:
    """The slot's private address there, from `deployer status`."""
    words = ["status", "--json", *([f"--config={config}"] if config else [])]
    code, out, err = await call(connection, there(place, "run", *words))
    try:
        slots: dict[str, Any] = json.loads(out)["slots"]
    except (ValueError, KeyError, TypeError) as error:
        said = (err.strip() or out.strip()).splitlines()[:1] or [f"exit code {code}"]
        raise Refused(f"`deployer status` on {place.address} failed: {said[0]}") from error
    if slot not in slots:
        raise Refused(f"there is no slot {slot} on {place.address}; there are {', '.join(slots)}")
    if not slots[slot]["running"]:
        say(f"note: {slot} does not run there now; `deployer start {slot} {place.named}` starts it")
    url = urlsplit(slots[slot]["url"])
    if url.hostname is None or url.port is None:
        raise Refused(f"{slot} has no private port on {place.address}: its address is {slots[slot]['url']}")
    return url.hostname, url.port
