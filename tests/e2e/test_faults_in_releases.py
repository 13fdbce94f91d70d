"""Some rows of the table of faults with real Tomcats; `scripts/bench faults` makes all of them (docs/faults.md)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.demo.site import Ports
from benchmarks.faults.rows import all_rows
from benchmarks.faults.run import run
from benchmarks.faults.site import FaultSite
from benchmarks.faults.users import Users

if TYPE_CHECKING:
    from collections.abc import Iterator

# A row is a release and what mends it: half a minute on a quiet machine, minutes on a busy one.
pytestmark = [pytest.mark.tomcat, pytest.mark.timeout(400)]

ROWS = (
    "swap: start temp: idle Tomcat",
    "swap: switch to temp: supervisor",
    "swap: watch temp: active Tomcat",
)


@pytest.fixture(scope="module")
def busy_site() -> Iterator[tuple[FaultSite, Users]]:
    with tempfile.TemporaryDirectory(prefix="faults-") as directory:
        Path(directory).chmod(0o755)  # as root the Tomcats run as another user
        with FaultSite(Path(directory) / "site", Ports.choose(), watch=2) as site, Users(site.ports.public, 8) as users:
            yield site, users


@pytest.mark.parametrize("name", ROWS)
def test_nobody_but_a_killed_tomcats_own_users_notices(busy_site: tuple[FaultSite, Users], name: str) -> None:
    site, users = busy_site
    row = next(row for row in all_rows() if row.name == name)
    said: list[str] = []
    [record] = run(site, users, [row], said.append)
    assert record.is_right, said
    assert record.account.ours == record.account.lost == record.account.torn == 0
    if row.fault != "active Tomcat":
        assert record.account.failed == 0, said
