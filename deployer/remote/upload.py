"""Sends a file: at most once, on from where a broken upload ended, and never under its name before it is whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import asyncssh

from deployer.errors import Refused
from deployer.remote.connection import call, home_relative, there
from deployer.remote.layout import BAD_HASH, PART, UPLOADS

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader
    from pathlib import Path

    from deployer.remote.connection import Place

_PIECE = 1024 * 1024
"""Bytes between two reports. asyncssh splits them into requests and keeps many under way."""
_SPARE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file is: bytes that are there, of all. resumed: bytes that were there when we came."""

    name: str
    sent: int
    size: int
    resumed: int


@dataclass(frozen=True, slots=True)
class Uploaded:
    """path: on the server, below the project's directory. sent: bytes that went over the line now."""

    path: str
    sent: int
    size: int


async def upload(
    connection: asyncssh.SSHClientConnection,
    place: Place,
    source: Path,
    report: Callable[[Progress], None],
    *,
    free: int,
    below: str = UPLOADS,
) -> Uploaded:
    """Brings the file to `below` there, if it is not. free: bytes of disk there. Raises Refused."""
    with _opened(source) as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
        final = str(PurePosixPath(below, sha256[:16], source.name))
        whole = await _digest(connection, place, final)
        if whole == (size, sha256):
            report(Progress(source.name, size, size, size))
            return Uploaded(final, 0, size)
        there_already = await _usable(connection, place, stream, final + PART)
        needed = size - there_already + _SPARE
        if free < needed:
            raise _no_room(place, free, needed)
        try:
            await _send(connection, place, stream, final + PART, report, Progress(source.name, 0, size, there_already))
        except asyncssh.SFTPConnectionLost as error:
            raise _lost(place) from error
        except asyncssh.SFTPError as error:
            raise Refused(
                f"{source.name} can't be written on {place.address}: {error}",
                f"look at the disk's room and the directory {place.directory}/{below} there",
            ) from error
        except (OSError, asyncssh.Error) as error:
            raise _lost(place) from error
    await _place(connection, place, final, sha256)
    return Uploaded(final, size - there_already, size)


def _opened(source: Path) -> BufferedReader:
    try:
        return source.open("rb")
    except OSError as error:
        raise Refused(f"{source} can't be read: {error.strerror}") from error


def _lost(place: Place) -> Refused:
    return Refused(
        f"the connection to {place.address} was lost during the upload; nothing was begun there",
        "the same command again goes on from where it ended",
    )


def _no_room(place: Place, free: int, needed: int) -> Refused:
    return Refused(
        f"{place.address} has {free >> 20} MiB free at {place.directory}; the upload needs {needed >> 20} MiB",
        "make room there, or choose a larger disk with --remote-dir",
    )


async def _digest(connection: asyncssh.SSHClientConnection, place: Place, path: str) -> tuple[int, str]:
    code, out, err = await call(connection, there(place, "digest", path))
    if code is None:
        raise _lost(place)
    if code != 0:
        raise Refused(f"{path} on {place.address} can't be read: {(err.strip().splitlines() or [''])[-1]}")
    facts: dict[str, Any] = json.loads(out)
    return facts["size"], facts["sha256"]


async def _usable(connection: asyncssh.SSHClientConnection, place: Place, stream: BufferedReader, part: str) -> int:
    """How many bytes of the broken upload are right: all that are there, or none."""
    size, sha256 = await _digest(connection, place, part)
    if not size:
        return 0
    stream.seek(0)
    ours = hashlib.sha256()
    left = size
    while left and (data := stream.read(min(left, _PIECE))):
        ours.update(data)
        left -= len(data)
    return size if not left and ours.hexdigest() == sha256 else 0


async def _send(
    connection: asyncssh.SSHClientConnection,
    place: Place,
    stream: BufferedReader,
    part: str,
    report: Callable[[Progress], None],
    start: Progress,
) -> None:
    name = PurePosixPath(home_relative(place.directory), part)
    async with connection.start_sftp_client() as sftp:
        await sftp.makedirs(str(name.parent), exist_ok=True)
        flags = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT
        async with sftp.open(str(name), flags if start.resumed else flags | asyncssh.FXF_TRUNC, encoding=None) as file:
            at = start.resumed
            stream.seek(at)
            report(Progress(start.name, at, start.size, start.resumed))
            while data := stream.read(_PIECE):
                await file.write(data, at)
                at += len(data)
                report(Progress(start.name, at, start.size, start.resumed))


async def _place(connection: asyncssh.SSHClientConnection, place: Place, final: str, sha256: str) -> None:
    code, _, err = await call(connection, there(place, "place", final + PART, final, sha256))
    if code is None:
        raise _lost(place)
    if code == BAD_HASH:
        raise Refused(
            f"what arrived on {place.address} is not what was sent (its SHA-256 differs), and was removed",
            "was the file written to meanwhile? The same command sends it again",
        )
    if code != 0:
        raise Refused(f"the upload can't be finished on {place.address}: {(err.strip().splitlines() or [''])[-1]}")
