"""The table of faults as Markdown. Text from data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.faults.rows import all_rows
from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.faults.run import Record
    from benchmarks.machine import Machine


@dataclass(frozen=True, slots=True)
class Made:
    """Where and when the last row was made."""

    when: str
    machine: Machine
    users: int


HEAD: Final = """\
# Faults in a release

What becomes of users when, at each step of a release under load, the deployer, one of the two Tomcats or the proxy's
supervisor is killed with SIGKILL. `scripts/bench faults` makes this table.

{users} users check their sessions and every answer, and send each request once. At the step the fault is injected;
the supervisor is started again after 100 ms, as systemd does. Then the operator types what `deployer status`
advises, until users are served and nothing is cut off. Up to its first switch `return` does the same steps as `swap`,
so it is tried from there on. *Active* and *idle* are meant at the moment of the kill.

- **in flight**: the killed Tomcat had these requests. They are not sent again to another one: they may have acted.
- **dead slot**: requests that came while the killed Tomcat was the active one, answered with 502 at once. The proxy
  sends users to another slot only by a switch: the operator's, the deployer's or a trial's end. *down* is that time.
- **by us**: all others, which would be the deployer's or the proxy's doing.
- **lost**: sessions that the server did not know any more or had with another content. When the active Tomcat is
  killed while no other is up, or while the other is being stopped, all of them are gone: such a row is marked *alone*.
"""

OTHERS_HEAD: Final = """\
## Other faults

Held by `tests/process/test_faults_machine.py` and `tests/unit/test_faults_clock.py`; no request fails.
"""
OTHERS: Final = (
    ("no room in the release store", "refused before anything is touched"),
    ("no room for a slot's files, or for static files", "the release is undone; it works when there is room again"),
    ("no room for the lock and the journal", "refused before anything is touched"),
    ("the journal's disk fills during the release", "undone without the journal; status tells of a command cut off"),
    ("a read-only store, slot or static directory", "the release is undone"),
    ("a read-only state directory", "refused before anything is touched"),
    (
        "the clock is set back",
        "nothing: lock and journal go by order. An open trial lasts longer until it is confirmed",
    ),
    ("the clock is set forward", "a trial may have run out: the proxy switches back, and the release is undone"),
    ("a Tomcat never gets ready", "given up after `health.timeout`, and undone"),
    ("a Tomcat dies after the switch", "the proxy's guard switches back; without traffic the deployer does"),
)


FOUND: Final = """\
## What making the table found

Mended, with a test for each, and such rows made again afterwards:

- A release that began just as the live Tomcat died stopped the idle one, which had all sessions: they were lost. Now
  it stops nothing then, and says what to type.
- A live Tomcat that died while its sessions were counted made the release fail, and its undo stopped the other one.
- The deployer switched to a slot that had just died, as the proxy's probes need seconds to see it: 502 until its undo.
- A supervisor that had just begun answered 404 for its apps: a release then ended with exit code 4.

Rows whose release failed because a smoke test took over 10 s on a machine with a load average above 15 were made again
too, with more patience.
"""


def to_markdown(records: Sequence[Record], made: Made) -> str:
    """The page."""
    where = made.machine
    right = sum(record.is_right for record in records)
    ours = sum(record.account.ours for record in records)
    lost = sum(record.account.lost + record.account.torn for record in records if not record.alone)
    commits = list(dict.fromkeys(record.commit for record in records))
    missing = len(all_rows()) - len(records)
    lines = [
        HEAD.format(users=made.users),
        f"Made {made.when} at commit {', '.join(commits)}; {where.cpu}, {where.cores} cores, Python {where.python}; "
        f"load average {where.load} before the run." + (f" {missing} rows are not made yet." if missing else ""),
        "",
        f"**{len(records)} rows: {ours} requests failed by the deployer's or the proxy's doing; {lost} sessions lost "
        f"where another Tomcat was up; {right} of {len(records)} rows as they must be.**",
        "",
    ]
    for strategy in dict.fromkeys(record.row.strategy for record in records):
        part = [record for record in records if record.row.strategy == strategy]
        lines += [f"## {strategy}", "", _table(part)]
    wrong = [record for record in records if not record.is_right]
    if wrong:
        lines += ["## Not as they must be", ""]
        lines += [*(f"- {record.row.name}: {_why(record)}" for record in wrong), ""]
    lines += [FOUND, OTHERS_HEAD, table(("fault", "outcome"), OTHERS, left=2)]
    return "\n".join(lines).rstrip() + "\n"


def _table(records: Sequence[Record]) -> str:
    head = (
        "step",
        "killed",
        "the release",
        "the operator",
        "outcome",
        "in flight",
        "dead slot",
        "by us",
        "lost",
        "down",
    )
    return table(head, [_row(record) for record in records], left=5)


def _row(record: Record) -> tuple[str, ...]:
    found = record.account
    counts = (found.in_flight, found.dead, found.ours, found.lost + found.torn)
    killed = record.row.fault + (" (alone)" if record.alone else "")
    mends = "; ".join(f"`{mend}`" for mend in record.mends)
    return (
        record.row.step,
        killed,
        _cell(record.release),
        _cell(mends) or "-",
        _cell(record.outcome),
        *map(str, counts),
        f"{record.down:.1f} s" if record.down else "-",
    )


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def _why(record: Record) -> str:
    return _cell("; ".join((record.problem, *record.account.unexcused[:3])).strip("; "))
