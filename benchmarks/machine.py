"""Where a run was made: the machine and the versions, for the head of the report."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """`load` is the number of runnable processes, averaged over the minute before the run."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    load: float


def cpu_model(cpuinfo: str) -> str:
    """The processor's name in /proc/cpuinfo's text, "unknown" when it isn't there."""
    for line in cpuinfo.splitlines():
        if line.lower().startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def read() -> Machine:
    return Machine(
        cpu=cpu_model(Path("/proc/cpuinfo").read_text()),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )


def first_line(argv: tuple[str, ...]) -> str:
    """The first line that a command prints, "unknown" when it fails or prints nothing."""
    environment = os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    root = Path(__file__).resolve().parent.parent
    try:
        result = subprocess.run(argv, capture_output=True, text=True, timeout=10, env=environment, cwd=root, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    lines = (result.stdout + result.stderr).splitlines()
    return lines[0].strip() if lines else "unknown"


def commit() -> str:
    """The commit measured, with "-dirty" when files differ from it."""
    return first_line(("git", "describe", "--always", "--dirty"))
