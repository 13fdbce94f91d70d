"""The worked example of config/examples/database: a column is renamed while users order, and no order is lost."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ports import free_ports
from postgres import Postgres
from test_release import PROXY, Shop, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shop_wars import ShopWars

pytestmark = [pytest.mark.tomcat]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config/examples/database"
USERS = 4
PAUSE = 0.1
SEEDS = 5000
"""Orders that are there before the rename: several batches of the backfill."""
BUILDS = {1: "old", 2: "dual", 3: "new", 4: "new"}


@dataclass
class Buyers:
    """Each places orders, changes his own, old and new, and reads back what he wrote.

    ledger: by reference, what was last acknowledged; nobody writes another's references. failures: all that was not so.
    """

    port: int
    ledger: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def busy(self) -> Iterator[Buyers]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._one, args=(number, stop)) for number in range(USERS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _one(self, number: int, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        chance = random.Random(number)
        mine = [f"seed-{seed}" for seed in range(number, SEEDS, USERS)]
        count = 0
        while not stop.is_set() and len(self.failures) < 20:
            count += 1
            fresh, known = f"buyer-{number}-{count}", chance.choice(mine)
            self._write(connection, "POST", fresh, f"tea-{count}")
            self._read(connection, fresh)
            self._read(connection, known)
            self._write(connection, "PUT", known, f"jam-{count}")
            self._read(connection, known)
            mine.append(fresh)
            time.sleep(PAUSE)
        connection.close()

    def _write(self, connection: http.client.HTTPConnection, method: str, reference: str, item: str) -> None:
        answer = self._ask(connection, method, f"/orders?reference={reference}&item={item}")
        if answer is not None:
            self.ledger[reference] = item

    def _read(self, connection: http.client.HTTPConnection, reference: str) -> None:
        answer = self._ask(connection, "GET", f"/orders?reference={reference}")
        if answer is not None and answer["item"] != self.ledger[reference]:
            self.failures.append(f"{answer}, and {self.ledger[reference]} was acknowledged")

    def _ask(self, connection: http.client.HTTPConnection, method: str, target: str) -> dict[str, Any] | None:
        try:
            connection.request(method, target)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{method} {target}: {error!r}")
            connection.close()
            return None
        if response.status != 200:
            self.failures.append(f"{method} {target}: {response.status} {body[:200]!r}")
            return None
        answer: dict[str, Any] = json.loads(body)
        self.versions[answer["version"]] += 1
        return answer


@dataclass
class Team:
    """The site of a team that has copied the example, and its database."""

    shop: Shop
    database: Postgres

    def release(self, version: int) -> str:
        return self.shop.released("release", self.shop.war(version), "--strategy", "swap")

    def columns(self) -> set[str]:
        with self.database.connect() as connection:
            rows = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'orders'")
            return {name for (name,) in rows} & {"item", "product"}

    def seed(self) -> dict[str, str]:
        """Orders of earlier years."""
        with self.database.connect() as connection:
            connection.execute(
                "INSERT INTO orders (reference, item) SELECT 'seed-' || n, 'old-' || n FROM generate_series(0, %s) n",
                (SEEDS - 1,),
            )
        return {f"seed-{number}": f"old-{number}" for number in range(SEEDS)}

    def bring_the_rename(self) -> None:
        """All its migrations at once, the contract too: it has to wait by itself."""
        versions = Path("migrations/versions")
        shutil.copytree(EXAMPLE / versions, self.shop.directory / "database" / versions, dirs_exist_ok=True)

    def check(self, version: int) -> subprocess.CompletedProcess[str]:
        """What the smoke hook would say to a rollback to that version."""
        release = hashlib.sha256(Path(self.shop.war(version)).read_bytes()).hexdigest()[:12]
        command = [sys.executable, "database/migrate.py", "check"]
        env = {**os.environ, "DEPLOYER_RELEASE": release}
        return subprocess.run(
            command, cwd=self.shop.directory, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def hooks_said(self) -> dict[str, str]:
        """What each moment's hooks printed in the last command, from its journal."""
        last = json.loads(self.shop.released("history", "--json"))["runs"][0]["id"]
        steps = json.loads(self.shop.released("show", str(last), "--json"))["steps"]
        return {step["name"].removeprefix("hooks "): step["detail"] for step in steps}


def configure(directory: Path, ports: dict[str, int], database: Postgres) -> None:
    """As a team would: copies the example, and puts its own ports, paths and passwords there."""
    later = ("0002_*", "0003_*", "0004_*", "0005_*")
    shutil.copytree(EXAMPLE, directory / "database", ignore=shutil.ignore_patterns("__pycache__", *later))
    owner = database.password_file(directory / "owner.pgpass", "shop_owner")
    try:
        tomcat = pwd.getpwnam("tomcat").pw_name
    except KeyError:
        tomcat = None
    shops = database.password_file(directory / "shop.pgpass", "shop", tomcat)
    ini = directory / "database/alembic.ini"
    ini.write_text(ini.read_text().replace(":5432/shop", f":{database.port}/shop?passfile={owner}"))
    text = (EXAMPLE / "deployer.yaml").read_text()
    text = text.replace(".venv/bin/python", sys.executable).replace(":5432/", f":{database.port}/")
    settings = yaml.safe_load(
        text.replace("/etc/shop/pgpass", str(shops)).replace("-Xmx256m", "-Xmx128m -XX:TieredStopAtLevel=1")
    )
    url, public = f"http://127.0.0.1:{ports['admin']}", f"http://127.0.0.1:{ports['front']}"
    settings["proxy"] = {"url": url, "token_file": "token", "public_url": public}
    for number, slot in enumerate(("production", "temp"), 1):
        keys = ("http", "cluster", "control")
        settings["slots"][slot] |= {f"{key}_port": ports[f"{key}{number}"] for key in keys}
    settings["health"]["successes"] = 2
    # Without the page, whose JSP takes its time to be compiled in each of six starts.
    settings["smoke"].pop()
    settings["warmup"] = {"requests": 60, "paths": settings["warmup"]["paths"][1:], "timeout": "10s"}
    settings["watch"] = {"for": "1s", "max_p99": "5s"}
    settings["static"]["to"] = "var/static"
    (directory / "deployer.yaml").write_text(yaml.safe_dump(settings))
    (directory / "proxy.yaml").write_text(PROXY.format(**ports))


def build_wars(wars: ShopWars) -> Callable[[int, str], Path]:
    """Each version's WAR, with the columns that it uses."""
    try:
        wars.get(1, orders=BUILDS[1])
    except subprocess.CalledProcessError as error:
        if "JDBC driver" in error.stderr:
            pytest.skip(error.stderr)
        raise
    return lambda version, variant: wars.get(version, variant, BUILDS[version])


@contextmanager
def running_proxy(shop: Shop) -> Iterator[None]:
    with (shop.directory / "proxy.log").open("wb") as log:
        command = [sys.executable, "-m", "proxy", "run", "-c", "proxy.yaml"]
        proxy = subprocess.Popen(command, cwd=shop.directory, env=shop.environment, stdout=log, stderr=log)
    try:
        wait_for(shop.front, proxy)
        yield
    finally:
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(40)


@contextmanager
def running_database(directory: Path, port: int) -> Iterator[Postgres]:
    database = Postgres(directory, port)
    try:
        yield database
    finally:
        database.stop()


@pytest.fixture
def team(shop_wars: ShopWars) -> Iterator[Team]:
    directory = Path(tempfile.mkdtemp(prefix="database-"))
    directory.chmod(0o755)
    names = ("front", "admin", "http1", "http2", "cluster1", "cluster2", "control1", "control2", "database")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    try:
        shop = Shop(directory, ports["front"], build_wars(shop_wars))
        with running_database(directory / "postgres", ports["database"]) as database:
            configure(directory, ports, database)
            with running_proxy(shop):
                try:
                    yield Team(shop, database)
                finally:
                    for slot in ("temp", "production"):
                        shop.deployer("stop", slot, "--force")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.timeout(600)
def test_a_column_is_renamed_under_load_with_a_rollback_and_no_order_is_lost(team: Team) -> None:
    shop = team.shop
    team.release(1)
    assert team.columns() == {"item"}
    team.bring_the_rename()
    buyers = Buyers(shop.front, team.seed())
    with buyers.busy():
        team.release(2)
        assert team.columns() == {"item", "product"}
        said = team.hooks_said()
        assert "0002_expand" in said["before_start"]
        assert "0003_backfill" in said["after_release"]
        assert "0005_contract" in said["after_release"].splitlines()[-1]

        on_one = buyers.versions["1"]
        shop.released("rollback", "--strategy", "swap")
        time.sleep(1)
        assert shop.version() == "1"
        assert buyers.versions["1"] > on_one + USERS
        team.release(2)

        team.release(3)
        assert team.columns() == {"item", "product"}
        assert "waits" in team.hooks_said()["after_release"]
        team.release(4)
        assert team.columns() == {"product"}
        assert "0005_contract" in team.hooks_said()["after_release"]
        shop.released("rollback", "--strategy", "swap")
        assert shop.version() == "3"
        time.sleep(0.5)
    assert buyers.failures == []
    assert set(buyers.versions) == {"1", "2", "3", "4"}
    assert team.check(3).returncode == 0
    for version in (1, 2):
        refused = team.check(version)
        assert refused.returncode == 2
        assert "only releases written for 0004_settle or later work with it" in refused.stderr
    with team.database.connect("shop") as connection:
        rows = connection.execute("SELECT reference, product FROM orders").fetchall()
    assert sorted(rows) == sorted(buyers.ledger.items())
    assert len(rows) > SEEDS + 5 * USERS
