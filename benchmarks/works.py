"""The works of the targets table."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from benchmarks.model import KB, MB, Kind, Source, Work
from benchmarks.servers import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable

CONNECTIONS = (10, 100, 1000, 5000)
IDLE = 10_000

WORKS = (
    Work("proxied-1k", "1 KB proxied", Kind.REQUESTS, Source.PROXIED, KB, 64, repeat=2),
    Work("static-10k", "10 KB static", Kind.REQUESTS, Source.STATIC, 10 * KB, 64, repeat=2),
    Work("proxied-1m", "1 MB proxied", Kind.DOWNLOAD, Source.PROXIED, MB, 8, max_requests=4000),
    Work("static-1m", "1 MB static", Kind.DOWNLOAD, Source.STATIC, MB, 8, max_requests=4000),
    Work("proxied-100m", "100 MB proxied", Kind.DOWNLOAD, Source.PROXIED, 100 * MB, 4, max_requests=60),
    Work("static-100m", "100 MB static", Kind.DOWNLOAD, Source.STATIC, 100 * MB, 4, max_requests=60),
    *(
        Work(
            *(f"connections-{n}", f"1 KB proxied, {n:,} connections", Kind.REQUESTS, Source.PROXIED, KB, n),
            repeat=2,
            group="connections",
        )
        for n in CONNECTIONS
    ),
    Work("idle", f"{IDLE:,} idle connections", Kind.IDLE, Source.PROXIED, KB, IDLE),
    Work(
        "one-worker", "1 KB proxied, 1 worker on all cores", Kind.REQUESTS, Source.PROXIED, KB, 64, 1, shared_cores=True
    ),
    Work(
        "two-workers",
        "1 KB proxied, 2 workers on all cores",
        Kind.REQUESTS,
        Source.PROXIED,
        KB,
        64,
        2,
        shared_cores=True,
    ),
)


def together(works: Iterable[Work]) -> list[tuple[Work, ...]]:
    """The works in their order, those of a group in one."""
    return [tuple(group) for _, group in groupby(works, key=lambda work: work.group or work.name)]


def choose(names: tuple[str, ...]) -> tuple[Work, ...]:
    """The works of these names, all when none is named. Raises BenchError for an unknown name."""
    known = {work.name: work for work in WORKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"no work is called {', '.join(unknown)}", f"choose from {', '.join(known)}")
    return tuple(work for work in WORKS if not names or work.name in names)
