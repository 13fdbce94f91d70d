"""`scripts/bench profile`: where one worker's time goes under load, by function; a table and a flame graph.

py-spy samples the worker with native frames. It stops the process for each sample, so the rate of requests is
lower than in a benchmark; the shares are what counts. System calls a request are counted by strace where there is one,
calls and bytecodes by the interpreter in a worker of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import bytecodes, flame, machine, servers, stacks, works
from benchmarks.command import PUBLISHED, prepare_process, report_errors
from benchmarks.measure import Bounds, downloader, generator, wrk
from benchmarks.model import OURS, Kind, Source, Work
from benchmarks.processes import Backend, Cores, find_tools, make_site, started
from benchmarks.procfs import PROC, TICKS, parse_stat
from benchmarks.report import table
from benchmarks.servers import BACKEND, BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLES_A_SECOND = 250
ENDLESS = 1000.0
STRACE_SECONDS = 3
COUNTED = "Counted by `scripts/bench profile --count`, in a worker of its own with one connection."
STRACE_LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Profile:
    """What was found for one work.

    `samples` is their number; `stacks` count microseconds. `user` and `system` are the worker's CPU seconds by the
    kernel's account while it was sampled; `calls` are system calls a request and `functions` what each takes in the
    interpreter, empty when they were not counted.
    """

    work: Work
    samples: int
    stacks: list[stacks.Stack]
    user: float
    system: float
    calls: Mapping[str, float]
    functions: tuple[bytecodes.FunctionCount, ...] = ()


def busiest(pids: tuple[int, ...], seconds: float) -> int:
    """The one of these processes that uses the most CPU in the next seconds: under load, the worker."""
    before = {pid: sum(cpu_ticks(pid)) for pid in pids}
    time.sleep(seconds)
    return max(pids, key=lambda pid: sum(cpu_ticks(pid)) - before[pid])


def cpu_ticks(pid: int) -> tuple[int, int]:
    _, user, system = parse_stat((PROC / str(pid) / "stat").read_text())
    return user, system


def parse_strace(text: str) -> dict[str, int]:
    """Calls by name, from the summary of `strace -c` (man 1 strace)."""
    return {name: int(count) for count, name in STRACE_LINE.findall(text) if name != "total"}


def sample(pid: int, seconds: int, directory: Path) -> list[stacks.Stack]:
    """py-spy's samples of a process. Raises BenchError when it can't attach."""
    raw = directory / "samples"
    tool = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if tool is None:
        raise BenchError("py-spy is not installed", "pip install '.[bench]'")
    argv = [tool, "record", "--native", "--format", "raw", "--output", str(raw), "--pid", str(pid)]
    argv += ["--rate", str(SAMPLES_A_SECOND), "--duration", str(seconds)]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if result.returncode or not raw.exists():
        raise BenchError(f"py-spy can't sample the worker: {result.stderr[-300:]}", "run it as root, or allow ptrace")
    return stacks.parse(raw.read_text())


def count_calls(pid: int, backend: Backend, work: Work, directory: Path) -> dict[str, float]:
    """System calls a request; empty without strace, and where the backend can't count the requests."""
    if shutil.which("strace") is None or work.source is Source.STATIC or work.kind is not Kind.REQUESTS:
        return {}
    output = directory / "strace"
    before = backend.counters()[1]
    with contextlib.suppress(subprocess.TimeoutExpired):
        argv = ["timeout", "-s", "INT", str(STRACE_SECONDS), "strace", "-c", "-f", "-o", str(output), "-p", str(pid)]
        subprocess.run(argv, capture_output=True, timeout=STRACE_SECONDS + 10, check=False)
    requests = backend.counters()[1] - before - 1
    calls = parse_strace(output.read_text()) if output.exists() and requests > 0 else {}
    return {name: count / requests for name, count in sorted(calls.items(), key=lambda item: -item[1])}


def count_functions(work: Work, cores: Cores, directory: Path, site: Path) -> tuple[bytecodes.FunctionCount, ...]:
    """What a request takes in the interpreter. Raises BenchError for other works than those of small requests."""
    (server,) = servers.choose((OURS,))
    with started(BACKEND, directory, site, 1, cores.load) as backing:
        backing.wait_ready("/1k.bin")
        return bytecodes.count(work, server, directory, site)


def profile(work: Work, seconds: int, cores: Cores, directory: Path, site: Path) -> Profile:
    """Loads our server with the work and samples its worker for `seconds`."""
    (server,) = servers.choose((OURS,))
    with contextlib.ExitStack() as stack:
        backing = stack.enter_context(started(BACKEND, directory, site, 1, cores.load))
        backing.wait_ready("/1k.bin")
        running = stack.enter_context(started(server, directory, site, 1, cores.server))
        running.wait_ready("/1k.bin")
        longest = seconds + STRACE_SECONDS + 60
        many = Bounds(longest, ENDLESS)
        argv = wrk(work, server.port, longest) if work.kind is Kind.REQUESTS else downloader(work, server.port, many)
        stack.enter_context(generator(argv, cores.load))
        pid = busiest(running.pids(), 2)
        user, system = cpu_ticks(pid)
        found = sample(pid, seconds, directory)
        user_after, system_after = cpu_ticks(pid)
        calls = count_calls(pid, Backend(backing), work, directory)
        used = (user_after - user) / TICKS, (system_after - system) / TICKS
        return Profile(work, sum(stack.count for stack in found), stacks.weigh(found, *used), *used, calls)


def percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole and part else ""


def to_markdown(found: Profile, where: machine.Machine, made: datetime, picture: str) -> str:
    """The tables: by cost, by function of ours, by system call."""
    total = sum(stack.count for stack in found.stacks)
    rows = [
        (row.function, percent(row.samples, total), *(percent(row.costs[cost], total) for cost in stacks.Cost))
        for row in stacks.by_function(found.stacks)
        if row.samples >= total * 0.002
    ]
    calls = stacks.by_system_call(found.stacks)
    names = [*calls, *(name for name in found.calls if name not in calls)]
    counted = ("## By calls and bytecodes", "", COUNTED, "", bytecodes.to_markdown(found.functions))
    return "\n".join(
        (
            f"# Where the time goes: {found.work.title}",
            "",
            f"Made {made:%Y-%m-%d %H:%M} UTC by `scripts/bench profile`: {found.samples} samples of one worker with "
            f"{found.work.connections} connections. {where.cpu}, Linux {where.kernel}, Python {where.python}.",
            "",
            f"![Flame graph]({picture})",
            "",
            "## By kind of work",
            "",
            table(
                ("code of", "share"), [(name, percent(n, total)) for name, n in stacks.by_layer(found.stacks).items()]
            ),
            table(
                ("spent on", "share"),
                [(cost.value, percent(count, total)) for cost, count in stacks.by_cost(found.stacks).items()],
            ),
            f"The worker used {found.user:.1f} s user and {found.system:.1f} s system time while it was "
            "sampled; the samples are weighted to agree.",
            "",
            "## By function",
            "",
            "A sample belongs to the innermost function of the proxy on its stack; the other columns say what that",
            "function had called.",
            "",
            table(("function", "share", *(cost.value for cost in stacks.Cost)), rows),
            "## By system call",
            "",
            table(
                ("call", "share of time", "calls a request"),
                [
                    (
                        name,
                        percent(calls.get(name, 0), total),
                        f"{found.calls[name]:.3f}" if name in found.calls else "",
                    )
                    for name in names
                ],
            ),
            *(counted if found.functions else ()),
        )
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("name", default="proxied-1k")
@click.option("--seconds", type=click.IntRange(1, 120), default=10, help="How long to sample.")
@click.option(
    "--count", "counting", is_flag=True, help="Only count calls and bytecodes; needs no root, writes no file."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=PUBLISHED)
def main(name: str, seconds: int, counting: bool, out: Path) -> None:
    """Profiles one worker under the work NAME (see scripts/bench --list) by function.

    Samples where its time goes, and counts the calls and bytecodes of a request.

    \b
    scripts/bench profile
    scripts/bench profile --count static-10k
    """
    (work,) = works.choose((name,))
    if work.kind is Kind.IDLE:
        raise BenchError("an idle connection costs no time", "choose another work, such as proxied-1k")
    large = work.kind is Kind.DOWNLOAD
    find_tools(("nginx", "wrk", "taskset", "setpriv"))
    cores = Cores.split(tuple(sorted(os.sched_getaffinity(0))))
    made, where = datetime.now(UTC), machine.read()
    prepare_process(cores)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        directory = Path(temporary)
        site = make_site(directory)
        functions = () if large and not counting else count_functions(work, cores, directory, site)
        if counting:
            click.echo(bytecodes.to_markdown(functions))
            return
        found = replace(profile(work, seconds, cores, directory, site), functions=functions)
    out.mkdir(parents=True, exist_ok=True)
    caption = f"{work.title}, one worker, {made:%Y-%m-%d}: orange our code, yellow patterns, blue system calls"
    (out / f"profile-{name}.svg").write_text(flame.draw(found.stacks, caption))
    (out / f"profile-{name}.md").write_text(to_markdown(found, where, made, f"profile-{name}.svg"))
    click.echo(f"written to {out}/profile-{name}.md and .svg")


if __name__ == "__main__":
    report_errors(main)
