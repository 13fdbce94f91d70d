"""What the last published run of `scripts/bench switch` found, for the targets table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.model import OURS
from benchmarks.servers import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class SwitchingRun:
    """`made` is the date and time, `hold_p99_ms` ours, `failed` the failed requests of each server."""

    made: str
    hold_p99_ms: float
    failed: Mapping[str, int]


def parse(text: str) -> SwitchingRun:
    """Reads switching.json. Raises ValueError, KeyError or TypeError when it is something else."""
    data = json.loads(text)
    figures = {name: server["figures"] for name, server in data["servers"].items() if server["figures"]}
    failed = {name: int(found["faults"]["failed"]) for name, found in figures.items()}
    return SwitchingRun(str(data["made"]), float(figures[OURS]["hold"]["p99"]), failed)


def read(path: Path) -> SwitchingRun | None:
    """The run in that file, None when there is no file. Raises BenchError when it can't be understood."""
    try:
        return parse(path.read_text())
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{path} is not a run of switches: {error!r}", "make it again with scripts/bench switch"
        ) from error
