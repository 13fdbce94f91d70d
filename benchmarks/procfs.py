"""What Linux says a server's processes have used: /proc/PID/stat, smaps_rollup and status (man 5 proc)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from benchmarks.model import Usage

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


def parse_stat(text: str) -> tuple[int, int, int]:
    """The parent's pid, and user and system time in clock ticks, of a line of /proc/PID/stat.

    The times are those of all the process's threads, ended ones too. The name in parentheses may hold anything.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), int(fields[11]), int(fields[12])


def parse_kib(text: str, key: str) -> int:
    """The bytes of a `Key:   123 kB` line of smaps_rollup or status; 0 when it isn't there."""
    for line in text.splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0


def tree(root: int) -> tuple[int, ...]:
    """The pids of a process and of all that descend from it, sorted; empty when it is gone."""
    parents: dict[int, int] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = parse_stat((entry / "stat").read_text())[0]
    if root not in parents:
        return ()
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found and pid not in found}
        if not more:
            return tuple(sorted(found))
        found |= more


def usage(root: int) -> Usage:
    """What a process and its descendants have used. A process that ends meanwhile counts as nothing."""
    user = system = rss = pss = peak = 0
    pids = tree(root)
    for pid in pids:
        with contextlib.suppress(OSError):
            _, user_ticks, system_ticks = parse_stat((PROC / str(pid) / "stat").read_text())
            rollup = (PROC / str(pid) / "smaps_rollup").read_text()
            status = (PROC / str(pid) / "status").read_text()
            user += user_ticks
            system += system_ticks
            rss += parse_kib(rollup, "Rss")
            pss += parse_kib(rollup, "Pss")
            peak += parse_kib(status, "VmHWM")
    return Usage(user / TICKS, system / TICKS, rss, pss, peak, pids)


def reset_peak(root: int) -> None:
    """Lets `Usage.peak_rss` begin again at what is resident now."""
    for pid in tree(root):
        with contextlib.suppress(OSError):
            (PROC / str(pid) / "clear_refs").write_text("5")
