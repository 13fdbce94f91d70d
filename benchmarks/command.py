"""What the benchmark's commands have in common."""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from benchmarks.processes import REPOSITORY
from proxy.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.processes import Cores

PUBLISHED = REPOSITORY / "benchmarks" / "results"
UNPUBLISHED = REPOSITORY / "var" / "bench"


def stop_cleanly(number: int, _frame: object) -> NoReturn:
    """A signal ends the run as an exception does, so that every server is stopped."""
    raise SystemExit(128 + number)


def prepare_process(cores: Cores) -> None:
    """As many open files as are allowed, for this process and all that it starts; and off the server's core."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if cores.load:
        os.sched_setaffinity(0, cores.load)


def report_errors(command: Callable[[], None]) -> None:
    """Runs a command of the benchmark; an operator's error ends it with a sentence and its exit code."""
    signal.signal(signal.SIGTERM, stop_cleanly)
    try:
        command()
    except OperatorError as error:
        click.echo(f"bench: {error}" + (f"\n  {error.advice}" if error.advice else ""), err=True)
        sys.exit(error.exit_code)
