"""`proxy stop`: asks the running supervisor to end, and waits for it."""

from __future__ import annotations

import os
import select
import signal

from proxy.control.pid_file import running_pid
from proxy.errors import OperatorError, RefusedError


def stop(state_dir: str, within: float) -> str:
    """What was done. `within`: seconds. Raises RefusedError when none runs or it may not be signalled."""
    pid = running_pid(state_dir)
    if pid is None:
        raise RefusedError("no proxy runs with this configuration", f"{state_dir} is not in use")
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise RefusedError("the proxy has just ended") from error
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        # A pidfd is readable when the process has ended.
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        if not ended.poll(within * 1000):
            raise OperatorError(
                f"pid {pid} did not end within {within:g} s", f"kill -TERM {pid} a second time ends it at once"
            )
    except PermissionError as error:
        raise RefusedError(f"not allowed to stop pid {pid}", "run this as the proxy's user") from error
    finally:
        os.close(descriptor)
    return f"the proxy (pid {pid}) has stopped"
