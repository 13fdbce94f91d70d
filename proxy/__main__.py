"""`python -m proxy`; and, as `python -m proxy _worker`, a serving process of the supervisor."""

from __future__ import annotations

import sys


def main() -> int:
    if sys.argv[1:2] == ["_worker"]:
        from proxy.net.worker_command import worker_command

        return worker_command(sys.argv[2:])
    from proxy.cli import main as commands

    commands()
    return 0


if __name__ == "__main__":
    sys.exit(main())
