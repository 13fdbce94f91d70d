"""Workers that outlived their supervisor: they serve on, until its successor has workers of its own.

A process is known by its pid and its start time (proc_pid_stat(5), field 22), so that no other process that got
the pid since is ever signalled.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FILE: Final = "workers"


def record(state_dir: str, pids: Iterable[int]) -> None:
    """Notes the workers that live now. It is a hint for a successor and need not survive the machine's crash."""
    lines = [f"{pid} {started}\n" for pid in pids if (started := _started(pid)) is not None]
    path = Path(state_dir) / FILE
    temporary = path.with_suffix(".new")
    with suppress(OSError):
        temporary.write_text("".join(lines))
        temporary.replace(path)


def noted(state_dir: str) -> dict[int, str]:
    """The noted workers: pid -> start time."""
    try:
        lines = (Path(state_dir) / FILE).read_text().splitlines()
    except OSError:
        return {}
    parts = (line.partition(" ") for line in lines)
    return {int(pid): started for pid, _, started in parts if pid.isdigit() and started}


def alive(workers: Mapping[int, str]) -> list[int]:
    """Those of `noted` that still live."""
    return [pid for pid, started in workers.items() if _started(pid) == started]


def recorded(state_dir: str) -> list[int]:
    """The noted workers that still live."""
    return alive(noted(state_dir))


def barrier_left(state_file: Path, barrier: float, now: float) -> float:
    """Seconds for which sessions may still be busy, in these workers, on a slot that the last switch has left.

    Nobody can ask those workers, so it is the whole `barrier` after the last change of the state. `now`: Unix time.
    """
    try:
        changed = state_file.stat().st_ctime
    except OSError:
        return 0.0
    return max(0.0, min(barrier, changed + barrier - now))


def dismiss(pids: Iterable[int]) -> None:
    """Lets them end what they have and leave."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)


def _started(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
