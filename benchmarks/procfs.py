"""What Linux says a server's processes have used: /proc/PID/stat, smaps_rollup and status (man 5 proc)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.model import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def parse_busy(text: str) -> int:
    """The clock ticks that all cores together were not idle, from /proc/stat (steal counts as busy)."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, text.split("\n", 1)[0].split()[1:9])
    return user + nice + system + irq + softirq + steal


def machine_busy() -> float:
    """CPU seconds that anything used since boot, on all cores."""
    return parse_busy((PROC / "stat").read_text()) / TICKS


def own_busy() -> float:
    """CPU seconds of this process and all that it started, ended ones too."""
    times = os.times()
    used = usage_ticks(pid for pid in tree(os.getpid()) if pid != os.getpid())
    return times.user + times.system + times.children_user + times.children_system + used / TICKS


def usage_ticks(pids: Iterable[int]) -> int:
    """User and system ticks of these processes; an ended one counts as nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            _, user, system = parse_stat((PROC / str(pid) / "stat").read_text())
            total += user + system
    return total
