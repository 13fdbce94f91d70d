"""The command line of a worker, as the supervisor writes it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def worker_command(arguments: Sequence[str]) -> int:
    """`--channel FD --listen FD,FD,… [--lent FD,FD,…]` -> the worker's exit code.

    `--lent`: which of those to listen on are a service manager's.
    """
    parser = argparse.ArgumentParser(prog="proxy _worker")
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--listen", type=_descriptors, required=True)
    parser.add_argument("--lent", type=_descriptors, default=())
    parsed = parser.parse_args(arguments)

    from proxy.net.worker import main
    from proxy.privileges import give_up_capabilities
    from proxy.urgency import WORKER, allow

    allow(WORKER)
    give_up_capabilities()
    return main(parsed.channel, parsed.listen, parsed.lent)


def _descriptors(listed: str) -> tuple[int, ...]:
    return tuple(int(descriptor) for descriptor in listed.split(","))
