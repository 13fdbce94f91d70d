"""What is wrong with a WAR, said before anything is touched."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployer import war_rules
from deployer.errors import Refused
from deployer.war import Finding, check_war, read_war, safe_name, tomcat_server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WEB_XML = b'<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"><distributable/></web-app>'


def class_file(java: int = 11, uses: bytes = b"jakarta/servlet/http/HttpServlet", minor: int = 0) -> bytes:
    return struct.pack(">4sHH", b"\xca\xfe\xba\xbe", minor, java + 44) + b"\x00\x05\x01" + uses


def jar(entries: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def make(path: Path, entries: Mapping[str, bytes | None] | None = None) -> Path:
    """A good WAR with other or additional entries; None leaves one out."""
    good = {
        "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\nImplementation-Version: 2.4.\r\n 1\r\n\r\nName: x\r\n",
        "WEB-INF/web.xml": WEB_XML,
        "WEB-INF/classes/shop/Cart.class": class_file(),
        "WEB-INF/lib/tool-1.0.jar": jar({"tool/T.class": class_file(8, b"x")}),
        "index.jsp": b"<p>shop</p>",
    }
    wanted = {**good, **(entries or {})}
    path.write_bytes(jar({name: data for name, data in wanted.items() if data is not None}))
    return path


def found(path: Path, java: int = 17, tomcat: int = 10) -> list[str]:
    return [str(finding) for finding in check_war(path, java, tomcat_server(tomcat))]


def test_a_good_war_has_no_finding(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war")
    assert found(path) == []
    war = read_war(path)
    assert (war.size, war.entries, war.version) == (path.stat().st_size, 5, "2.4.1")
    assert len(war.sha256) == 64


def test_a_manifest_is_not_needed(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war", {"META-INF/MANIFEST.MF": None})
    assert found(path) == []
    assert read_war(path).version is None


def only_error(path: Path) -> Finding:
    findings = check_war(path, 17, tomcat_server(10))
    assert [finding.severity for finding in findings] == ["error"]
    return findings[0]


def test_files_that_are_no_war(tmp_path: Path) -> None:
    missing, empty, text, folder = (tmp_path / name for name in ("missing", "empty", "text", "folder"))
    empty.touch()
    text.write_text("<html>404 Not Found</html>")
    folder.mkdir()
    for path, words in ((missing, "no file"), (empty, "is empty"), (text, "<html>"), (folder, "a directory")):
        assert words in only_error(path).what
        with pytest.raises(Refused, match=words):
            read_war(path)
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in only_error(tmp_path / "fifo").what


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war")
    path.chmod(0)
    assert "Permission denied" in only_error(path).what


def test_a_war_that_was_cut_off(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war")
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut off" in only_error(path).what


def test_damage_in_the_middle_is_found_and_named(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war", {"a.bin": bytes(range(256)) * 8})
    data = bytearray(path.read_bytes())
    at = data.index(b"a.bin") + 60
    data[at] ^= 0xFF
    path.write_bytes(data)
    assert "entry a.bin is damaged" in only_error(path).what


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a//b", "..\\evil", "C:/x", "a/./b"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    assert "outside" in only_error(make(tmp_path / "shop.war", {name: b"x"})).what
    assert not safe_name(name)


def test_ordinary_names_are_safe() -> None:
    assert all(safe_name(name) for name in ("a", "a/b.c", "a/", "..a/b..", "WEB-INF/lib/ä b.jar", "a/b:c"))
    assert not safe_name("")
    assert not safe_name("a\0b")


def test_an_entry_that_is_there_twice(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("index.jsp", b"other")
    assert "twice" in only_error(path).what


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    assert "ZIP bomb" in only_error(make(tmp_path / "shop.war", {"zeros": bytes(8 << 20)})).what


def test_an_encrypted_entry(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war")
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(data)
    assert "encrypted" in only_error(path).what


@pytest.mark.parametrize(
    ("web_xml", "words"),
    [
        (b"<web-app><oops></web-app>", "not well-formed"),
        (b"", "not well-formed"),
        (b"\xff\xfe", "not well-formed"),
        (b"<web-fragment/>", "a <web-fragment>, not a <web-app>"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><web-app/>', "entities"),
        (b"<?xml version='1.0' encoding='nonsense'?><web-app/>", "not well-formed"),
    ],
)
def test_a_bad_descriptor(tmp_path: Path, web_xml: bytes, words: str) -> None:
    assert words in only_error(make(tmp_path / "shop.war", {"WEB-INF/web.xml": web_xml})).what


def test_distributable_is_asked_for(tmp_path: Path) -> None:
    for web_xml in (b"<web-app/>", None):
        (finding,) = check_war(make(tmp_path / "shop.war", {"WEB-INF/web.xml": web_xml}), 17, tomcat_server(10))
        assert finding.severity == "warning"
        assert "<distributable/>" in finding.what


def test_classes_for_a_newer_java(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war", {"WEB-INF/classes/shop/New.class": class_file(21)})
    (line,) = found(path)
    assert line.startswith("error: 1 of 2 classes need Java 21, the slot has 17: shop/New.class")
    assert found(path, java=21) == []


def test_libraries_for_a_newer_java_may_be_unused(tmp_path: Path) -> None:
    entries = {
        "WEB-INF/lib/new-2.jar": jar(
            {"n/N.class": class_file(21, b"x"), "META-INF/versions/23/n/N.class": class_file(23, b"x")}
        )
    }
    (line,) = found(make(tmp_path / "shop.war", entries))
    assert line.startswith("warning: libraries newer than the slot's Java 17: new-2.jar (Java 21)")


def test_preview_classes(tmp_path: Path) -> None:
    path = make(tmp_path / "shop.war", {"WEB-INF/classes/P.class": class_file(17, minor=0xFFFF)})
    assert "preview" in found(path)[0]


def test_a_file_that_is_no_class(tmp_path: Path) -> None:
    assert "not a class file: X.class" in only_error(make(tmp_path / "a.war", {"WEB-INF/classes/X.class": b"x"})).what


def test_javax_against_jakarta(tmp_path: Path) -> None:
    old = {"WEB-INF/classes/shop/Cart.class": class_file(11, b"javax/servlet/Servlet")}
    path = make(tmp_path / "old.war", old)
    assert found(path)[0].startswith("error: 1 classes use javax.servlet, Tomcat 10 has jakarta.servlet")
    assert found(path, tomcat=9) == []
    new = make(tmp_path / "new.war")
    assert found(new, tomcat=11) == []
    assert found(new, tomcat=9)[0].startswith("error: 1 classes use jakarta.servlet, Tomcat 9 has javax.servlet")


def test_a_class_for_both_worlds_is_only_a_warning(tmp_path: Path) -> None:
    path = make(tmp_path / "a.war", {"WEB-INF/classes/A.class": class_file(11, b"javax/servlet/Servlet")})
    assert found(path)[0].startswith("warning: 1 classes use javax.servlet")


def test_a_library_of_the_other_world(tmp_path: Path) -> None:
    entries = {"WEB-INF/lib/old-1.jar": jar({"o/O.class": class_file(8, b"javax/servlet/Filter")})}
    assert found(make(tmp_path / "a.war", entries))[0].startswith("warning: libraries use javax.servlet")


def test_a_context_of_its_own_would_not_be_deployed(tmp_path: Path) -> None:
    assert "META-INF/context.xml" in only_error(make(tmp_path / "a.war", {"META-INF/context.xml": b"<Context/>"})).what


@pytest.mark.parametrize(
    "name",
    [
        "servlet-api.jar",
        "javax.servlet-api-4.0.1.jar",
        "jakarta.servlet-api-6.0.0.jar",
        "jakarta.servlet.jsp-api-3.1.jar",
        "tomcat-embed-core-10.1.1.jar",
        "catalina.jar",
    ],
)
def test_the_servers_api_among_the_libraries(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "a.war", {f"WEB-INF/lib/{name}": jar({"x/X.class": class_file(8, b"javax/servlet/X")})})
    assert [line.partition(":")[0] for line in found(path)] == ["warning"]
    assert "scope provided" in found(path)[0]


def test_ordinary_libraries_are_not_taken_for_the_api(tmp_path: Path) -> None:
    names = ("servlet-utils-1.0.jar", "jasperreports-6.20.jar", "catalina-client-1.jar", "my-jsp-apis-1.jar")
    plain = jar({"x/X.class": class_file(8, b"x")})
    assert found(make(tmp_path / "a.war", {f"WEB-INF/lib/{name}": plain for name in names})) == []


def test_two_versions_of_a_library(tmp_path: Path) -> None:
    plain = jar({"x/X.class": class_file(8, b"x")})
    names = ("guava-31.1-jre.jar", "guava-33.0-jre.jar", "log4j-api-2.1.jar", "log4j-core-2.1.jar")
    (line,) = found(make(tmp_path / "a.war", {f"WEB-INF/lib/{name}": plain for name in names}))
    assert "guava 31.1-jre and 33.0-jre" in line
    assert "log4j" not in line


def test_a_damaged_library(tmp_path: Path) -> None:
    assert "x-1.jar" in only_error(make(tmp_path / "a.war", {"WEB-INF/lib/x-1.jar": b"no zip"})).what


def test_archives_that_are_no_web_application(tmp_path: Path) -> None:
    boot, photos, site = tmp_path / "boot.jar", tmp_path / "photos.zip", tmp_path / "site.zip"
    boot.write_bytes(jar({"BOOT-INF/classes/A.class": b""}))
    photos.write_bytes(jar({"a.png": b"x"}))
    site.write_bytes(jar({"index.html": b"x"}))
    assert "Spring Boot" in only_error(boot).what
    assert "WEB-INF" in only_error(photos).what
    assert found(site)[0].startswith("warning: there is no WEB-INF")


def test_errors_come_first_and_long_lists_are_cut(tmp_path: Path) -> None:
    entries: dict[str, bytes | None] = {f"WEB-INF/classes/C{n}.class": class_file(25) for n in range(9)}
    lines = found(make(tmp_path / "a.war", {**entries, "WEB-INF/web.xml": b"<web-app/>"}))
    assert [line.partition(":")[0] for line in lines] == ["error", "warning"]
    assert f"and {9 - war_rules.MOST_EXAMPLES} more" in lines[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 400))
def test_no_damage_makes_the_check_itself_fail(tmp_path: Path, at: int, value: int, cut: int) -> None:
    path = make(tmp_path / "fuzz.war")
    data = bytearray(path.read_bytes())
    data[at % len(data)] = value
    path.write_bytes(data[: max(0, len(data) - (cut if at % 3 == 0 else 0))])
    assert all(isinstance(finding, Finding) for finding in check_war(path, 17, tomcat_server(10)))


def test_a_directory_of_a_later_zip_version_is_a_finding(tmp_path: Path) -> None:
    path = make(tmp_path / "later.war")
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 6] = 64  # "version needed to extract" (APPNOTE 4.3.12): 6.4, where 6.3 is the latest
    path.write_bytes(data)
    assert "damaged" in found(path)[0]
    with pytest.raises(Refused):
        read_war(path)
