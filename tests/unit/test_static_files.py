"""Static files leave the WAR; nothing else does."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from deployer.errors import Refused
from deployer.static_files import extract_static, publish_static, selected

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def make(path: Path, entries: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("pattern", "name", "path"),
    [
        ("static/**", "static/app.css", "app.css"),
        ("static/**", "static/css/deep/app.css", "css/deep/app.css"),
        ("static/*", "static/app.css", "app.css"),
        ("static/*.css", "static/app.css", "app.css"),
        ("static/**/*.css", "static/app.css", "app.css"),
        ("static/**/*.css", "static/a/b/app.css", "a/b/app.css"),
        ("favicon.ico", "favicon.ico", "favicon.ico"),
        ("*.txt", "robots.txt", "robots.txt"),
        ("a?.js", "ab.js", "ab.js"),
        ("**", "static/app.css", "static/app.css"),
        ("assets/v1/*", "assets/v1/x", "x"),
    ],
)
def test_what_a_pattern_takes(pattern: str, name: str, path: str) -> None:
    assert selected([name], [pattern]) == {path: name}


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("static/*", "static/css/app.css"),
        ("static/*.css", "static/app.css.map"),
        ("*.css", "static/app.css"),
        ("a.b", "aXb"),
        ("**", "WEB-INF/web.xml"),
        ("**", "web-inf/classes/A.class"),
        ("META-INF/*", "META-INF/MANIFEST.MF"),
        ("**", "../outside"),
        ("**", "/etc/passwd"),
        ("**", "folder/"),
    ],
)
def test_what_a_pattern_leaves(pattern: str, name: str) -> None:
    assert selected([name], [pattern]) == {}


def test_two_entries_for_one_path_are_refused() -> None:
    with pytest.raises(Refused, match="both become"):
        selected(["static/app.css", "css/app.css"], ["static/**", "css/**"])


def test_extraction_is_whole(tmp_path: Path) -> None:
    war = make(tmp_path / "a.war", {"static/a.css": b"a", "static/b/c.js": b"c", "WEB-INF/web.xml": b"x"})
    to = tmp_path / "out" / "static"
    assert extract_static(war, ["static/**"], to) == ["a.css", "b/c.js"]
    assert (to / "b" / "c.js").read_bytes() == b"c"
    assert (to / "a.css").stat().st_mode & 0o777 == 0o644
    assert (to.stat().st_mode & 0o777) == 0o755
    with pytest.raises(Refused, match="already"):
        extract_static(war, ["static/**"], to)


def test_a_damaged_war_leaves_nothing(tmp_path: Path) -> None:
    war = make(tmp_path / "a.war", {"static/a.css": b"a" * 99, "static/b.css": b"b" * 99})
    data = bytearray(war.read_bytes())
    data[data.index(b"b" * 99)] ^= 1
    war.write_bytes(data)
    with pytest.raises(Refused, match="CRC"):
        extract_static(war, ["static/**"], tmp_path / "out" / "static")
    assert list((tmp_path / "out").iterdir()) == []


def test_publishing_keeps_what_older_pages_still_need(tmp_path: Path) -> None:
    to = tmp_path / "static"
    one = make(tmp_path / "1.war", {"static/app.111.css": b"1", "static/same.png": b"s", "static/x.js": b"1"})
    two = make(tmp_path / "2.war", {"static/app.222.css": b"2", "static/same.png": b"s", "static/x.js": b"2"})
    assert publish_static(one, ["static/**"], to).added == ("app.111.css", "same.png", "x.js")
    unchanged = (to / "same.png").stat()
    done = publish_static(two, ["static/**"], to)
    assert (done.added, done.replaced, done.same) == (("app.222.css",), ("x.js",), 1)
    assert (to / "same.png").stat().st_ino == unchanged.st_ino
    assert sorted(path.name for path in to.iterdir()) == ["app.111.css", "app.222.css", "same.png", "x.js"]


def test_a_target_that_is_a_file_is_refused(tmp_path: Path) -> None:
    war = make(tmp_path / "a.war", {"static/a.css": b"a"})
    (tmp_path / "static").touch()
    with pytest.raises(Refused, match="cannot put the static files"):
        publish_static(war, ["static/**"], tmp_path / "static")
