"""The release store: idempotent, whole or not at all, never emptied of what is in use."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from deployer import durable
from deployer.errors import Refused
from deployer.store import Store

if TYPE_CHECKING:
    from pathlib import Path


class FakeClock:
    """A minute later at each look."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        self.now += 60
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "releases", FakeClock())


def war(tmp_path: Path, content: bytes, name: str = "shop.war") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_a_release_is_its_content(store: Store, tmp_path: Path) -> None:
    release = store.add(war(tmp_path, b"one", "shop-1.war"))
    assert release.sha256 == hashlib.sha256(b"one").hexdigest()
    assert release.id == release.sha256[:12]
    assert (release.name, release.size) == ("shop-1.war", 3)
    assert release.war.read_bytes() == b"one"
    assert release.war.is_absolute()
    assert store.add(war(tmp_path, b"one", "other.war")) == release
    assert store.list() == [release]


def test_the_newest_comes_first(store: Store, tmp_path: Path) -> None:
    releases = [store.add(war(tmp_path, content)) for content in (b"1", b"2", b"3")]
    assert store.list() == releases[::-1]


def test_a_release_is_found_by_the_start_of_its_hash(store: Store, tmp_path: Path) -> None:
    release = store.add(war(tmp_path, b"one"))
    for prefix in (release.id, release.id[:4], release.sha256):
        assert store.get(prefix) == release
    for wrong in ("abc", "zzzz", "", "../..", release.id.upper() + "x"):
        with pytest.raises(Refused, match="is not a release's id"):
            store.get(wrong)
    with pytest.raises(Refused, match="no stored release"):
        store.get("0000000000")


def test_an_ambiguous_start_is_refused(store: Store, tmp_path: Path) -> None:
    by_start: dict[str, bytes] = {}
    number = 0
    while True:
        content = str(number).encode()
        start = hashlib.sha256(content).hexdigest()[:4]
        if start in by_start:
            break
        by_start[start] = content
        number += 1
    store.add(war(tmp_path, content))
    store.add(war(tmp_path, by_start[start]))
    with pytest.raises(Refused, match="more than one"):
        store.get(start)


def test_a_war_that_is_gone_is_said(store: Store, tmp_path: Path) -> None:
    release = store.add(war(tmp_path, b"one"))
    release.war.unlink()
    with pytest.raises(Refused, match="is gone"):
        store.get(release.id)
    assert store.add(war(tmp_path, b"one")) == release
    assert store.get(release.id).war.read_bytes() == b"one"


def test_an_add_that_was_cut_off_is_no_release_and_is_completed_by_the_next(store: Store, tmp_path: Path) -> None:
    release = store.add(war(tmp_path, b"one"))
    release.war.with_suffix(".json").unlink()
    assert store.list() == []
    again = store.add(war(tmp_path, b"one"))
    assert (again.id, again.war) == (release.id, release.war)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 5, "size": 1, "added": 1, "name": "x"}'])
def test_a_damaged_description_is_passed_over(store: Store, tmp_path: Path, text: str) -> None:
    good = store.add(war(tmp_path, b"one"))
    (store.directory / "0123456789ab.json").write_text(text)
    assert store.list() == [good]


def test_a_description_of_another_content_is_passed_over(store: Store, tmp_path: Path) -> None:
    good = store.add(war(tmp_path, b"one"))
    text = good.war.with_suffix(".json").read_text()
    (store.directory / "0123456789ab.json").write_text(text)
    assert store.list() == [good]


def test_pruning_keeps_the_newest_and_those_in_use(store: Store, tmp_path: Path) -> None:
    one, two, three, four = (store.add(war(tmp_path, content)) for content in (b"1", b"2", b"3", b"4"))
    (store.directory / f"{durable.TEMPORARY_PREFIX}rest").write_bytes(b"half a WAR")
    assert store.prune(2, {one.id}) == [two]
    assert store.list() == [four, three, one]
    assert not two.war.exists()
    assert not list(store.directory.glob(f"{durable.TEMPORARY_PREFIX}*"))
    assert store.prune(2, {one.id}) == []


def test_an_empty_store_is_no_error(store: Store) -> None:
    assert list(store.list()) == []
    assert list(store.prune(5, ())) == []


def test_what_cannot_be_read_or_written_is_refused_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot read"):
        store.add(tmp_path / "missing.war")
    with pytest.raises(Refused, match="cannot read"):
        store.add(tmp_path)
    assert not store.directory.exists()
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot store"):
        Store(tmp_path / "file" / "releases").add(war(tmp_path, b"one"))
