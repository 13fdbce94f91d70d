"""The rule of config/examples/database: how far the database may be taken, by what the releases were written for."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from deployer.config_file import load as load_settings

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLE = Path(__file__).parents[2] / "config/examples/database"


def load() -> ModuleType:
    """The example is no package: a team copies its files."""
    spec = importlib.util.spec_from_file_location("migrate_example", EXAMPLE / "migrate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


migrate: Any = load()
BEGIN, EXPAND, FILL, SETTLE, CONTRACT = ("1_begin", "2_expand", "3_fill", "4_settle", "5_contract")


def chain(current: str | None) -> Any:
    breaks = {CONTRACT: SETTLE}
    names = (BEGIN, EXPAND, FILL, SETTLE, CONTRACT)
    return migrate.Chain(tuple(migrate.Migration(name, f"does {name}", breaks.get(name)) for name in names), current)


def names(steps: list[Any]) -> list[str]:
    return [step.revision for step in steps]


@pytest.mark.parametrize(
    ("current", "new", "live", "applied"),
    [
        (None, BEGIN, None, [BEGIN]),
        (BEGIN, EXPAND, BEGIN, [EXPAND]),
        (EXPAND, EXPAND, BEGIN, []),
        (SETTLE, EXPAND, BEGIN, []),
        (EXPAND, SETTLE, EXPAND, [FILL, SETTLE]),
        (BEGIN, SETTLE, BEGIN, [EXPAND, FILL, SETTLE]),
        (SETTLE, CONTRACT, SETTLE, [CONTRACT]),
        (BEGIN, None, BEGIN, []),
    ],
)
def test_before_a_release_the_database_gets_what_it_needs(
    current: str | None, new: str | None, live: str | None, applied: list[str]
) -> None:
    assert names(chain(current).before(new, live, first=False)) == applied


def test_a_release_that_would_break_the_live_one_is_refused() -> None:
    with pytest.raises(migrate.RefusedError, match="would break the live release, which was written for 2_expand"):
        chain(SETTLE).before(CONTRACT, EXPAND, first=False)
    with pytest.raises(migrate.RefusedError, match="written for no revision"):
        chain(SETTLE).before(CONTRACT, None, first=False)
    assert names(chain(None).before(CONTRACT, None, first=True)) == [BEGIN, EXPAND, FILL, SETTLE, CONTRACT]


@pytest.mark.parametrize(
    ("current", "kept", "applied", "waits"),
    [
        (EXPAND, [EXPAND, BEGIN], [FILL, SETTLE], CONTRACT),
        (SETTLE, [SETTLE, EXPAND], [], CONTRACT),
        (SETTLE, [SETTLE, None], [], CONTRACT),
        (SETTLE, [SETTLE, SETTLE], [CONTRACT], None),
        (CONTRACT, [SETTLE, EXPAND], [], None),
    ],
)
def test_after_a_release_what_a_rollback_needs_stays(
    current: str, kept: list[str | None], applied: list[str], waits: str | None
) -> None:
    steps, waiting = chain(current).after(kept)
    assert names(steps) == applied
    assert (waiting.revision if waiting else None) == waits


def test_a_release_is_checked_against_the_database_as_it_is() -> None:
    chain(SETTLE).check(BEGIN)
    chain(CONTRACT).check(SETTLE)
    with pytest.raises(migrate.RefusedError, match="needs 2_expand, and the database is at 1_begin"):
        chain(BEGIN).check(EXPAND)
    with pytest.raises(migrate.RefusedError, match="only releases written for 4_settle or later work with it"):
        chain(CONTRACT).check(EXPAND)
    with pytest.raises(migrate.RefusedError, match="only releases written for 4_settle or later"):
        chain(CONTRACT).before(EXPAND, SETTLE, first=False)
    with pytest.raises(migrate.RefusedError, match="bring its files here first"):
        chain(BEGIN).before("6_other", BEGIN, first=False)


def war(directory: Path, release: str, manifest: str | None) -> None:
    with zipfile.ZipFile(directory / f"{release}.war", "w") as archive:
        archive.writestr("index.html", "")
        if manifest is not None:
            archive.writestr("META-INF/MANIFEST.MF", manifest)


def test_what_a_release_needs_is_read_from_its_manifest(tmp_path: Path) -> None:
    war(tmp_path, "plain", "Manifest-Version: 1.0\r\nDatabase-Needs: 2_expand\r\n\r\n")
    war(tmp_path, "folded", "Manifest-Version: 1.0\r\ndatabase-needs: 2_\r\n expand\r\n\r\n")
    war(tmp_path, "silent", "Manifest-Version: 1.0\r\n\r\n")
    war(tmp_path, "bare", None)
    found = {name: migrate.needs_of(tmp_path / f"{name}.war") for name in ("plain", "folded", "silent", "bare")}
    assert found == {"plain": EXPAND, "folded": EXPAND, "silent": None, "bare": None}


def test_a_rollback_that_is_not_known_keeps_everything(tmp_path: Path) -> None:
    war(tmp_path, "new", "Database-Needs: 4_settle\n")
    war(tmp_path, "old", "Database-Needs: 2_expand\n")
    assert migrate.kept(tmp_path, SETTLE, "new", "old") == [SETTLE, EXPAND]
    assert migrate.kept(tmp_path, SETTLE, "new", "new") == [SETTLE, None]
    assert migrate.kept(tmp_path, SETTLE, "new", "gone") == [SETTLE, None]
    assert migrate.kept(tmp_path, SETTLE, "new", "") == [SETTLE, None]


def test_the_examples_migrations_are_one_line_and_name_revisions_that_exist() -> None:
    script = ScriptDirectory.from_config(Config(str(EXAMPLE / "alembic.ini")))
    walked = list(reversed(list(script.walk_revisions())))
    revisions = [one.revision for one in walked]
    assert revisions == sorted(revisions)
    assert len(script.get_heads()) == 1
    marked = {one.revision: one.module.breaks_before for one in walked if hasattr(one.module, "breaks_before")}
    assert marked == {"0005_contract": "0004_settle"}


def test_the_examples_settings_run_each_moment_of_the_tool() -> None:
    hooks = load_settings(str(EXAMPLE / "deployer.yaml")).hooks
    ran = {
        moment: [hook.run.rpartition(" ")[2] for hook in getattr(hooks, moment)] for moment in type(hooks).model_fields
    }
    assert {moment: words for moment, words in ran.items() if words} == {
        "before_start": ["before"],
        "smoke": ["check"],
        "after_release": ["after"],
    }


def test_without_the_deployers_variables_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DEPLOYER_RELEASE", raising=False)
    with pytest.raises(SystemExit) as ended:
        migrate.main(["before"])
    assert ended.value.code == 2
    assert "DEPLOYER_RELEASE is not set" in capsys.readouterr().err
