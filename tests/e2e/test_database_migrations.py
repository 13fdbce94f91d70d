"""The migrations of config/examples/database on a real PostgreSQL: cut off, in users' way, and two at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ports import free_ports
from postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "config/examples/database"
ROWS = 20_000
WAIT = 30.0
NEEDS = {"one": "0001_orders", "two": "0002_expand", "three": "0004_settle", "four": "0004_settle"}


@dataclass(frozen=True)
class Ground:
    """A copy of the example with a new database, and a store of WARs that are nothing but their manifests."""

    directory: Path
    database: Postgres

    def start(self, moment: str, release: str, previous: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "migrate.py", moment, "--releases", "releases"]
        env = {**os.environ, "DEPLOYER_RELEASE": release, "DEPLOYER_PREVIOUS": previous}
        return subprocess.Popen(
            command, cwd=self.directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, moment: str, release: str, previous: str = "", code: int = 0) -> str:
        with self.start(moment, release, previous) as process:
            said, _ = process.communicate(timeout=60)
        assert process.returncode == code, said
        return said

    def rows(self, query: str, role: str = "shop") -> list[tuple[object, ...]]:
        with self.database.connect(role) as connection:
            return connection.execute(query).fetchall()

    def write(self, statement: str, role: str = "shop") -> None:
        with self.database.connect(role) as connection:
            connection.execute(statement)


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    # PostgreSQL's user has to get to its directory, which below pytest's own it may not.
    directory = Path("/var/tmp") / tmp_path_factory.mktemp("migrations").name
    directory = Path(f"{directory}-{os.getpid()}")
    shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("__pycache__"))
    directory.chmod(0o755)
    try:
        database = Postgres(directory / "postgres", free_ports(1)[0])
        try:
            owner = database.password_file(directory / "owner.pgpass", "shop_owner")
            ini = directory / "alembic.ini"
            ini.write_text(ini.read_text().replace(":5432/shop", f":{database.port}/shop?passfile={owner}"))
            (directory / "releases").mkdir()
            for release, needs in NEEDS.items():
                with zipfile.ZipFile(directory / "releases" / f"{release}.war", "w") as war:
                    war.writestr("META-INF/MANIFEST.MF", f"Database-Needs: {needs}\n")
            yield Ground(directory, database)
        finally:
            database.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_the_four_releases_and_who_may_come_back(ground: Ground) -> None:
    assert "0001_orders" in ground.run("before", "one")
    ground.run("before", "two", "one")
    assert "refused: the release was written" not in ground.run("check", "one")

    # As release 1, 2 and 3 write: the columns are equal whoever wrote, also after changes.
    ground.write("INSERT INTO orders (reference, item) VALUES ('a', 'tea'), ('b', 'tea')")
    ground.write("INSERT INTO orders (reference, item, product) VALUES ('c', 'tea', 'tea'), ('d', 'tea', 'tea')")
    ground.write("INSERT INTO orders (reference, product) VALUES ('e', 'tea')")
    ground.write("UPDATE orders SET item = 'jam' WHERE reference IN ('a', 'c', 'e')")
    ground.write("UPDATE orders SET product = 'oil' WHERE reference IN ('b', 'd')")
    assert ground.rows("SELECT reference, item, product FROM orders ORDER BY reference") == [
        ("a", "jam", "jam"),
        ("b", "oil", "oil"),
        ("c", "jam", "jam"),
        ("d", "oil", "oil"),
        ("e", "jam", "jam"),
    ]
    assert "0005_contract" in ground.run("after", "two", "one").splitlines()[-1]
    assert "waits" in ground.run("after", "three", "two")
    assert ground.run("check", "one")
    assert "0005_contract: contract" in ground.run("after", "four", "three")
    assert "only releases written for 0004_settle or later" in ground.run("check", "two", code=2)
    assert "only releases written for 0004_settle or later" in ground.run("before", "two", "four", code=2)
    assert ground.run("check", "three")
    assert ground.rows("SELECT product FROM orders WHERE reference = 'a'") == [("jam",)]


def test_a_backfill_that_is_killed_goes_on_where_it_was(ground: Ground) -> None:
    ground.run("before", "one")
    ground.write(f"INSERT INTO orders (reference, item) SELECT n, 'old-' || n FROM generate_series(1, {ROWS}) n")
    ground.run("before", "two", "one")
    filled = "SELECT count(*) FROM orders WHERE product IS NOT NULL"
    with ground.start("after", "two", "one") as process:
        end = time.monotonic() + WAIT
        while ground.rows(filled) == [(0,)] and time.monotonic() < end:
            time.sleep(0.005)
        process.kill()
    [(count,)] = ground.rows(filled)
    assert 0 < int(str(count)) < ROWS
    assert ground.rows("SELECT version_num FROM alembic_version", "shop_owner") == [("0002_expand",)]
    ground.write("UPDATE orders SET item = 'changed' WHERE number % 7 = 0")
    ground.run("after", "two", "one")
    assert ground.rows(filled) == [(ROWS,)]
    assert ground.rows("SELECT count(*) FROM orders WHERE item IS DISTINCT FROM product") == [(0,)]
    assert ground.rows("SELECT count(*) FROM orders WHERE product = 'changed'") == [(ROWS // 7,)]


def test_a_migration_waits_for_users_and_users_do_not_wait_for_it(ground: Ground) -> None:
    ground.run("before", "one")
    with ground.database.connect("shop") as reading:
        reading.autocommit = False
        reading.execute("SELECT count(*) FROM orders")
        with ground.start("before", "two", "one") as process:
            assert process.stdout is not None
            assert "the table is busy, tried again" in process.stdout.readline()
            ground.write("INSERT INTO orders (reference, item) VALUES ('a', 'tea')")
            reading.commit()
            said = process.stdout.read()
        assert process.returncode == 0, said
    assert "0002_expand" in said
    assert ground.rows("SELECT item, product FROM orders") == [("tea", None)]


def test_two_migrations_do_not_run_at_once_and_a_database_that_is_down_is_told(ground: Ground) -> None:
    with ground.database.connect() as other:
        other.execute("SELECT pg_advisory_lock(7410331)")
        assert "failed: another migration runs" in ground.run("before", "one", code=1)
    assert "0001_orders" in ground.run("before", "one")
    status = ground.run("status", "").splitlines()
    assert status[0].startswith("applied  0001_orders")
    assert status[-1].startswith("pending  0005_contract")
    assert "breaks releases written before 0004_settle" in status[-1]
    ground.database.stop()
    assert ground.run("check", "one", code=1).startswith("failed: ")
