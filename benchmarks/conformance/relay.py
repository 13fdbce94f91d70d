"""A relay that passes bytes on and reads none of them: what a server scores that does nothing against the material."""

from __future__ import annotations

import asyncio
import contextlib

import click

LOOPBACK = "127.0.0.1"


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--backend-port", type=int, required=True)
def main(port: int, backend_port: int) -> None:
    """Relays each connection to 127.0.0.1:PORT to the backend's port until SIGTERM."""
    asyncio.run(_serve(port, backend_port))


async def _serve(port: int, backend_port: int) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            other_reader, other_writer = await asyncio.open_connection(LOOPBACK, backend_port)
            with contextlib.closing(other_writer):
                tasks = [
                    asyncio.create_task(_copy(reader, other_writer)),
                    asyncio.create_task(_copy(other_reader, writer)),
                ]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()

    server = await asyncio.start_server(relay, LOOPBACK, port, backlog=1024)
    async with server:
        await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()


if __name__ == "__main__":
    main()
