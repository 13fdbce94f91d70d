"""What new code is asked before it goes on where the running one is: can it start, read everything, and take over?"""

from __future__ import annotations

import importlib
from typing import Final

from proxy.config_file import load
from proxy.control.handover import decode, running_settings
from proxy.control.state import StateStore, for_settings
from proxy.control.status import own_version
from proxy.control.supervisor import check_unchanged

PROGRAM: Final = ("proxy.control.run", "proxy.net.worker_command", "proxy.net.worker")
"""All that the supervisor and the workers import when they start."""


def check(config: str, handed: bytes) -> str:
    """A sentence when all is well. Raises OperatorError, or whatever the new code fails with."""
    for module in PROGRAM:
        importlib.import_module(module)
    settings = load(config)
    check_unchanged(running_settings(decode(handed).supervisor)[0], settings)
    store = StateStore(settings.state_dir)
    for_settings(store.load(), settings, str(store.path))
    return f"version {own_version()} can take over"
