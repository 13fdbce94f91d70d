"""`proxy stop`: asks the running supervisor to end, and waits for it; or the workers of one that is gone."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from proxy.control import orphans
from proxy.control.pid_file import running_pid
from proxy.errors import OperatorError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def stop(state_dir: str, within: float) -> str:
    """What was done. `within`: seconds. Raises RefusedError when none runs or it may not be signalled."""
    pid = running_pid(state_dir)
    if pid is not None:
        _end([pid], within)
        return f"the proxy (pid {pid}) has stopped"
    left = orphans.recorded(state_dir)
    if left:
        _end(left, within)
        return f"no supervisor runs; the workers that it had left (pid {_listed(left)}) have stopped"
    raise RefusedError("no proxy runs with this configuration", f"{state_dir} is not in use")


def _end(pids: Sequence[int], within: float) -> None:
    """Returns when all have ended."""
    deadline = time.monotonic() + within
    with ExitStack() as opened:
        ending: dict[int, int] = {}
        for pid in pids:
            with suppress(ProcessLookupError):  # It has just ended.
                descriptor = os.pidfd_open(pid)
                opened.callback(os.close, descriptor)
                ending[descriptor] = pid
        # A pidfd is readable when the process has ended.
        waiting = select.poll()
        for descriptor, pid in ending.items():
            _terminate(descriptor, pid)
            waiting.register(descriptor, select.POLLIN)
        while ending:
            ended = waiting.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ended:
                late = _listed(ending.values())
                raise OperatorError(
                    f"pid {late} did not end within {within:g} s", f"kill -TERM {late} a second time ends it at once"
                )
            for descriptor, _ in ended:
                waiting.unregister(descriptor)
                del ending[descriptor]


def _terminate(descriptor: int, pid: int) -> None:
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    except ProcessLookupError:
        pass  # It has just ended.
    except PermissionError as error:
        raise RefusedError(f"not allowed to stop pid {pid}", "run this as the proxy's user") from error


def _listed(pids: Iterable[int]) -> str:
    return " ".join(str(pid) for pid in pids)
