"""Sampled stacks read by cost: system calls, event loop, patterns, our code. Pure: text in, numbers out.

Reads py-spy's raw format with native frames: `outermost;…;innermost COUNT`, a frame being `function (file:line)`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum

OURS = re.compile(r"^(?P<function>\S+) \((?P<file>(?:.*/)?proxy/[\w/]+\.py):\d+\)$")
PYTHON = re.compile(r" \(.*\.py:\d+\)$")
REFERENCE_COUNT = re.compile(r"_?Py_X?(?:INC|DEC)REF\b")
SYSTEM_CALL = re.compile(
    r"^(?:__(?:libc_)?)?(?P<call>p?readv?|p?writev?|send(?:msg|to|file)?|recv(?:msg|from)?|epoll_p?wait|epoll_ctl"
    r"|accept4?|close|shutdown|connect|socket|poll|ioctl)(?:64)? \(libc\.so\.6\)$"
)
LOOP = re.compile(
    r"\((?:loop\.c|.*\.pyx|core\.c|linux\.c|stream\.c|uv-common\.c|tcp\.c|timer\.c|async\.c|.*uvloop.*):?"
)


WAITING = re.compile(
    r"^(?:PyThread_acquire_lock_timed|lock_PyThread_acquire_lock|take_gil|_queue_SimpleQueue_get_impl"
    r"|pthread_cond_(?:timed)?wait)\b"
)


class Cost(Enum):
    """What a sample was spent on, by its innermost frames."""

    SYSTEM = "system calls"
    LOOP = "event loop"
    PATTERN = "patterns"
    OURS = "our code"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames from the outermost to the innermost, and how many samples (or microseconds) had them."""

    frames: tuple[str, ...]
    count: int


def parse(text: str) -> list[Stack]:
    """The stacks of a raw file; lines that aren't stacks, and threads that wait for a lock, are left out.

    So are the frames of reference counting: they are inlined, and stand between a function and what it calls.
    """
    stacks = []
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():
            shown = tuple(frame for frame in frames.split(";") if not REFERENCE_COUNT.match(frame))
            if not any(WAITING.match(frame) for frame in shown):
                stacks.append(Stack(shown, int(count)))
    return stacks


def weigh(stacks: list[Stack], user: float, system: float) -> list[Stack]:
    """The stacks with microseconds for samples, so that system calls have `system` seconds and the rest `user`.

    A process that a sampler stops is found in system calls too often, as it mostly loses its core there.
    """
    counts = by_cost(stacks)
    samples = sum(counts.values())
    inside = counts[Cost.SYSTEM]
    if not inside or inside == samples:
        return stacks
    weights = {True: system * 1e6 / inside, False: user * 1e6 / (samples - inside)}
    return [Stack(s.frames, round(s.count * weights[cost(s) is Cost.SYSTEM])) for s in stacks]


def name_of(frame: str) -> str:
    """The frame's function, without its place."""
    return frame.partition(" (")[0]


def owner(stack: Stack) -> str:
    """The innermost function of the proxy on the stack, `net/exchange.py function`; "" when there is none."""
    for frame in reversed(stack.frames):
        if match := OURS.match(frame):
            return f"{match['file'].rpartition('proxy/')[2]} {match['function']}"
    return ""


def cost(stack: Stack) -> Cost:
    """What the sample's time went to.

    The innermost frame that says it decides: a C library's system call, the regular expression engine, the event
    loop's C code, or a Python frame of ours (with the interpreter's work for it).
    """
    for frame in reversed(stack.frames):
        if SYSTEM_CALL.match(frame):
            return Cost.SYSTEM
        if "sre" in name_of(frame):
            return Cost.PATTERN
        if LOOP.search(frame):
            return Cost.LOOP
        if PYTHON.search(frame):
            return Cost.OURS if OURS.match(frame) else Cost.OTHER
    return Cost.OTHER


def by_cost(stacks: list[Stack]) -> dict[Cost, int]:
    """Samples by what they were spent on."""
    counts = Counter[Cost]()
    for stack in stacks:
        counts[cost(stack)] += stack.count
    return {kind: counts[kind] for kind in Cost}


def by_layer(stacks: list[Stack]) -> dict[str, int]:
    """Samples by whose code ran: the kernel's, the Python interpreter's, or uvloop's."""
    costs = by_cost(stacks)
    interpreter = costs[Cost.OURS] + costs[Cost.PATTERN] + costs[Cost.OTHER]
    return {"kernel": costs[Cost.SYSTEM], "Python interpreter": interpreter, "uvloop": costs[Cost.LOOP]}


@dataclass(frozen=True, slots=True)
class Row:
    """One function of ours: the samples in which it was the innermost of ours, and what they were spent on."""

    function: str
    samples: int
    costs: dict[Cost, int]


def by_function(stacks: list[Stack]) -> list[Row]:
    """Every function of the proxy that has samples, dearest first; the loop's own time is "(event loop)"."""
    groups: dict[str, list[Stack]] = {}
    for stack in stacks:
        groups.setdefault(owner(stack) or "(event loop)", []).append(stack)
    rows = [Row(name, sum(s.count for s in group), by_cost(group)) for name, group in groups.items()]
    return sorted(rows, key=lambda row: -row.samples)


def by_system_call(stacks: list[Stack]) -> dict[str, int]:
    """Samples inside each system call, most first."""
    counts = Counter[str]()
    for stack in stacks:
        if cost(stack) is Cost.SYSTEM:
            call = next(match["call"] for f in reversed(stack.frames) if (match := SYSTEM_CALL.match(f)))
            counts[call] += stack.count
    return dict(counts.most_common())
