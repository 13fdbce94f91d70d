"""Commands on the server that outlive the connection which started them. Standard library only.

A job is a directory: `command.json`, `out` and `err` (what it printed), `pid`, `exit` (its exit code, whole or not
there), `seen` (someone was shown the end) and `lock`, which the job holds: the kernel lets go of it when the job's
processes have died, however that was.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deployer import durable
from deployer.remote.layout import JOBS

if TYPE_CHECKING:
    from pathlib import Path

_KEEP = 20
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class JobState:
    """What is known of a job. args: after `deployer`. started: Unix seconds. exit_code: None when there is none.

    seen: whether its end was shown to someone.
    """

    id: str
    args: list[str]
    started: float
    running: bool
    exit_code: int | None
    seen: bool


class Job:
    """One job's directory, below the project's."""

    def __init__(self, project: Path, identity: str) -> None:
        if _ID.fullmatch(identity) is None:
            raise ValueError(f"{identity!r} is not a job")
        self.id = identity
        self.directory = project / JOBS / identity

    def __repr__(self) -> str:
        return f"<Job {self.id} running={self.running} exit={self.exit_code}>"

    @property
    def exists(self) -> bool:
        """Whether it was ever started."""
        return self.directory.is_dir()

    @property
    def running(self) -> bool:
        """Whether a process of it lives."""
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @property
    def exit_code(self) -> int | None:
        """Of the command; None while it runs, and for ever when it was killed."""
        try:
            return int((self.directory / "exit").read_text())
        except (OSError, ValueError):
            return None

    def mark_seen(self) -> None:
        """Its end was shown."""
        with suppress(OSError):
            (self.directory / "seen").touch()

    def interrupt(self) -> bool:
        """Sends it SIGINT, as Ctrl-C does; False when it does not run."""
        try:
            pid = int((self.directory / "pid").read_text())
        except (OSError, ValueError):
            return False
        if not self.running:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        return True

    def state(self) -> JobState:
        """All that is known of it."""
        # Asked in this order: a job that ends meanwhile is never called lost.
        running = self.running
        facts: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            facts = json.loads((self.directory / "command.json").read_bytes())
        seen = (self.directory / "seen").exists()
        return JobState(
            self.id,
            facts.get("args", []),
            facts.get("started", 0.0),
            running,
            None if running else self.exit_code,
            seen,
        )


def all_jobs(project: Path) -> list[Job]:
    """The newest first, by the clock here: the ids are made by callers."""
    try:
        names = [entry.name for entry in os.scandir(project / JOBS) if _ID.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
    return [Job(project, name) for _, name in sorted(((_begun(project, name), name) for name in names), reverse=True)]


def _begun(project: Path, name: str) -> float:
    try:
        return (project / JOBS / name / "lock").stat().st_mtime
    except OSError:
        return 0.0


def documents(jobs: list[Job]) -> list[dict[str, Any]]:
    """As JSON data."""
    return [asdict(job.state()) for job in jobs]


def supervise(job: Job, args: list[str], command: list[str]) -> bool:
    """Runs `command` + `args` as the job, and notes its exit code; False at once when there is such a job already.

    Called in a process and session of its own. Closes the standard output once it has begun. Raises OSError.
    """
    home = job.directory.parent
    home.mkdir(parents=True, exist_ok=True)
    _prune(job)
    new = home / f".new-{job.id}-{os.getpid()}"
    new.mkdir(mode=0o700)
    with (new / "lock").open("wb") as lock, (new / "out").open("wb") as out, (new / "err").open("wb") as err:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (new / "command.json").write_text(json.dumps({"args": args, "started": time.time()}))
        try:
            # The name appears with the lock taken: nobody sees a job that looks dead before it has begun.
            new.rename(job.directory)
        except OSError:
            shutil.rmtree(new)
            return False
        child = subprocess.Popen(
            [*command, *args], stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=[lock.fileno()]
        )
        (job.directory / "pid").write_text(str(child.pid))
        _let_go_of_output()
        code = child.wait()
        durable.write(job.directory / "exit", str(code if code >= 0 else 128 - code).encode(), 0o600)
    return True


def _let_go_of_output() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)


def _prune(coming: Job) -> None:
    project = coming.directory.parent.parent.parent.parent
    ended = [job for job in all_jobs(project) if not job.running]
    for job in ended[_KEEP:]:
        shutil.rmtree(job.directory, ignore_errors=True)
