"""The part that runs on the server, called over SSH as `python -m deployer.remote.there VERB …` in the project there.

Standard library only, and quick to start. Standard input is the caller's line to us: when it ends, the connection is
gone, and whatever was only for the caller ends too. A job goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from deployer import durable
from deployer.remote import jobs
from deployer.remote.layout import BAD_HASH, JOB_LOST, NO_JOB, UPLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 64 * 1024
_LOOK = 0.2
"""Seconds between two looks at a job's output."""
_GRACE = 10.0
"""Seconds that a command gets to end when its caller has gone."""
_KEEP_UPLOADS = 5
_DEPLOYER = [sys.executable, "-m", "deployer"]


def hello(_: list[str]) -> int:
    """Prints who we are: version, directory, bytes free, and the jobs, newest first."""
    try:
        ours = version("switchyard")
    except PackageNotFoundError:
        ours = "unknown"
    here = Path.cwd()
    known = jobs.documents(jobs.all_jobs(here)[:5])
    print(
        json.dumps({"version": ours, "directory": str(here), "free": shutil.disk_usage(here).free, "jobs": known}),
        flush=True,
    )
    return 0


def digest(args: list[str]) -> int:
    """Prints size and SHA-256 of the file named; size 0 when there is none."""
    path = Path(args[0])
    try:
        with path.open("rb") as stream:
            facts = {
                "size": os.fstat(stream.fileno()).st_size,
                "sha256": hashlib.file_digest(stream, "sha256").hexdigest(),
            }
    except FileNotFoundError:
        facts = {"size": 0, "sha256": ""}
    print(json.dumps(facts), flush=True)
    return 0


def place(args: list[str]) -> int:
    """PART FINAL SHA256: gives the whole file its name, once its hash is right; else removes it."""
    part, final, wanted = Path(args[0]), Path(args[1]), args[2]
    with part.open("r+b") as stream:
        right = hashlib.file_digest(stream, "sha256").hexdigest() == wanted
        os.fsync(stream.fileno())
    if not right:
        part.unlink()
        return BAD_HASH
    part.replace(final)
    durable.sync_directory(final.parent)
    _prune_uploads()
    return 0


def _prune_uploads() -> None:
    uploads = sorted(Path(UPLOADS).glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in uploads[_KEEP_UPLOADS:]:
        shutil.rmtree(old, ignore_errors=True)


def run(args: list[str]) -> int:
    """ARGS: runs a deployer command for the caller; it ends with the connection."""
    with subprocess.Popen([*_DEPLOYER, *args], stdin=subprocess.DEVNULL) as child:
        ended = os.pidfd_open(child.pid)
        try:
            while not (ready := select.select([sys.stdin.fileno(), ended], [], [])[0]) or ended not in ready:
                if _caller_left():
                    child.terminate()
                    if not select.select([ended], [], [], _GRACE)[0]:
                        child.kill()
                    break
        finally:
            os.close(ended)
    code = child.returncode
    return code if code >= 0 else 128 - code


def _caller_left() -> bool:
    """Reads what came on the standard input, which must be readable."""
    try:
        return not os.read(sys.stdin.fileno(), _CHUNK)
    except OSError:
        return True


def job(args: list[str]) -> int:
    """ID OUT ERR ARGS: starts a job, unless there is one with that id, and follows it from these offsets."""
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "deployer.remote.there", "supervise", args[0], *args[3:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # Nothing of the connection may stay with it: sshd waits for whoever has it open.
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert supervisor.stdout is not None
    said = supervisor.stdout.read().decode()
    if said:
        sys.stderr.write(said)
        return NO_JOB
    return follow(args[:3])


def supervise(args: list[str]) -> int:
    """ID ARGS: the job itself; see jobs.supervise. Called by `job` alone, which it tells why it could not start."""
    try:
        jobs.supervise(jobs.Job(Path.cwd(), args[0]), args[1:], _DEPLOYER)
    except OSError as error:
        print(f"the command could not be started: {error}")
        return NO_JOB
    return 0


def follow(args: list[str]) -> int:
    """ID OUT ERR: prints what a job prints, from these offsets on; ends with its exit code."""
    followed = jobs.Job(Path.cwd(), args[0])
    if not followed.exists:
        return NO_JOB
    streams = [
        [os.open(followed.directory / name, os.O_RDONLY | os.O_CLOEXEC), target, int(offset)]
        for name, target, offset in (("out", 1, args[1]), ("err", 2, args[2]))
    ]
    while True:
        running = followed.running
        moved = False
        for stream in streams:
            source, target, offset = stream
            while data := os.pread(source, _CHUNK, offset):
                _write_all(target, data)
                offset += len(data)
                moved = True
            stream[2] = offset
        if not running:
            if select.select([sys.stdin.fileno()], [], [], 0)[0] and _caller_left():
                return 0
            code = followed.exit_code
            followed.mark_seen()
            return JOB_LOST if code is None else code
        if not moved and select.select([sys.stdin.fileno()], [], [], _LOOK)[0] and _caller_left():
            return 0


def _write_all(target: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]


def interrupt(args: list[str]) -> int:
    """ID: Ctrl-C for a job."""
    return 0 if jobs.Job(Path.cwd(), args[0]).interrupt() else NO_JOB


VERBS: dict[str, Callable[[list[str]], int]] = {
    "hello": hello,
    "digest": digest,
    "place": place,
    "run": run,
    "job": job,
    "supervise": supervise,
    "follow": follow,
    "interrupt": interrupt,
}


def main() -> int:
    """The verb's exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A host in the environment there would send the command on, at worst back to itself.
    os.environ.pop("DEPLOYER_HOST", None)
    try:
        return VERBS[sys.argv[1]](sys.argv[2:])
    except BrokenPipeError:
        # The caller has gone; nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


if __name__ == "__main__":
    sys.exit(main())
