"""What is said of two WARs' session classes."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import pytest
from class_bytes import ClassBytes, serializable, u2

from deployer.errors import Refused
from deployer.session_safety import compare_sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployer.war import Finding

DISTRIBUTABLE = b'<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee"><distributable/></web-app>'


def jar(entries: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return stream.getvalue()


def war(path: Path, *made: ClassBytes, more: Mapping[str, bytes] | None = None) -> Path:
    """A WAR with these classes of its own and more entries."""
    entries = {f"WEB-INF/classes/{one.name}.class": one.bytes() for one in made}
    path.write_bytes(jar({"WEB-INF/web.xml": DISTRIBUTABLE, **entries, **(more or {})}))
    return path


def login(puts: str = "shop/Cart") -> ClassBytes:
    made = ClassBytes("shop/Login", parent="jakarta/servlet/http/HttpServlet")
    made.add_put("doPost", puts)
    return made


def cart(uid: int | None = 1, *fields: str) -> ClassBytes:
    made = serializable("shop/Cart", uid)
    for name in fields:
        made.add_field(name, "Ljava/lang/String;")
    return made


def said(tmp_path: Path, was: list[ClassBytes], now: list[ClassBytes], **more: Mapping[str, bytes]) -> list[Finding]:
    first = war(tmp_path / "old.war", *was, more=more.get("old"))
    return compare_sessions(first, war(tmp_path / "new.war", *now, more=more.get("new")))


def test_releases_with_the_same_classes_lose_nothing(tmp_path: Path) -> None:
    assert said(tmp_path, [login(), cart()], [login(), cart()]) == []
    assert said(tmp_path, [], []) == []


def test_a_changed_number_is_an_error_that_says_how_to_undo_it(tmp_path: Path) -> None:
    (one,) = said(tmp_path, [login(), cart(1)], [login(), cart(2)])
    assert one.severity == "error"
    assert "session class shop.Cart: its serialVersionUID changes from 1 to 2" in one.what
    assert "will be lost at the switch (certain: set in shop.Login.doPost)" in one.what
    assert one.advice.startswith("set it back to 1L")
    assert "--accept-session-loss" in one.advice


def test_a_computed_number_is_given_for_the_source_and_what_changed_it_is_named(tmp_path: Path) -> None:
    (one,) = said(tmp_path, [login(), cart(None)], [login(), cart(None, "name")])[:1]
    assert "+ field private java.lang.String name" in one.what
    assert "it gets java.lang.String name" in one.what
    assert one.advice.startswith("declare `private static final long serialVersionUID = ")
    number = int(one.advice.partition("serialVersionUID = ")[2].partition("L;")[0])
    assert f"from {number} to " in one.what
    assert said(tmp_path, [login(), cart(None)], [login(), cart(number, "name")])[0].severity == "warning"


def test_fields_that_come_and_go_are_warnings_with_their_names(tmp_path: Path) -> None:
    (one,) = said(tmp_path, [login(), cart(1, "old")], [login(), cart(1, "fresh")])
    assert one.severity == "warning"
    assert "it gets java.lang.String fresh: null, 0 or false" in one.what
    assert "no longer has java.lang.String old" in one.what


def test_a_class_that_went_away(tmp_path: Path) -> None:
    (one,) = said(tmp_path, [login(), cart()], [login("shop/Basket"), serializable("shop/Basket")])[:1]
    assert (one.severity, "the class is gone" in one.what) == ("error", True)


def test_what_a_rollback_would_lose_is_a_note(tmp_path: Path) -> None:
    more = ClassBytes("shop/Extra")
    more.add_put("doGet", "shop/Wishes")
    (one,) = said(tmp_path, [login(), cart()], [login(), cart(), more, serializable("shop/Wishes")])
    assert (one.severity, "shop.Wishes" in one.what, "rollback" in one.what) == ("note", True, True)


def test_what_is_not_serializable_is_an_error_once_and_a_warning_from_then_on(tmp_path: Path) -> None:
    trail = ClassBytes("shop/Trail")
    errors = said(tmp_path, [login(), cart()], [login("shop/Trail"), cart(), trail])
    assert errors[0].severity == "error"
    assert "shop.Trail is not Serializable and is put into the session" in errors[0].what
    assert "each request that sets it answers 500 (certain: set in shop.Login.doPost)" in errors[0].what
    (again,) = said(tmp_path, [login("shop/Trail"), trail], [login("shop/Trail"), trail])
    assert (again.severity, "the live release does the same" in again.what) == ("warning", True)
    plain = {"WEB-INF/web.xml": b"<web-app/>"}
    (silent,) = said(tmp_path, [login(), cart()], [login("shop/Trail"), cart(), trail], new=plain)
    assert "stays on one slot, and the attribute reads as null" in silent.what
    (object_,) = said(tmp_path, [], [login("java/lang/Object")])
    assert object_.what.startswith("java.lang.Object is not Serializable")


def test_what_an_attribute_holds_must_be_serializable_too(tmp_path: Path) -> None:
    deep = cart()
    deep.add_field("link", "Ljava/sql/Connection;")
    deep.add_field("trail", "[Lshop/Trail;")
    deep.add_field("passing", "Lshop/Trail;", 0x82)
    found = said(tmp_path, [login(), cart()], [login(), deep, ClassBytes("shop/Trail")])
    assert [one.what.partition(":")[0] for one in found if one.severity == "error"] == [
        "java.sql.Connection is not Serializable, and shop.Cart.link holds it",
        "shop.Trail is not Serializable, and shop.Cart.trail holds it",
    ]


def test_classes_that_nothing_shows_in_a_session_do_not_stop_a_release(tmp_path: Path) -> None:
    names = [f"shop/C{number}" for number in range(8)]
    old = [serializable(name, 1) for name in names]
    found = said(tmp_path, old, [serializable(name, 2) for name in names])
    assert [one.severity for one in found] == ["warning"] * 5 + ["note"]
    assert "(possible: nothing shows one in a session)" in found[0].what
    assert "3 more Serializable classes" in found[5].what
    servlet = [
        ClassBytes("shop/A", parent="jakarta/servlet/http/HttpServlet"),
        ClassBytes("shop/B", parent="java/lang/Exception"),
    ]
    changed = [ClassBytes(one.name, parent=one.parent, interfaces=("shop/Mark",)) for one in servlet]
    assert said(tmp_path, servlet, changed) == []


def test_libraries_count_and_the_application_s_own_classes_come_first(tmp_path: Path) -> None:
    def library(uid: int) -> dict[str, bytes]:
        classes = {f"lib/{name}.class": serializable(f"lib/{name}", uid).bytes() for name in ("User", "Other")}
        return {"WEB-INF/lib/lib-1.jar": jar({**classes, "shop/Cart.class": cart(uid).bytes(), "x.txt": b""})}

    found = said(tmp_path, [login("lib/User")], [login("lib/User")], old=library(1), new=library(2))
    assert [one.severity for one in found] == ["error", "note"]
    assert "session class lib.User" in found[0].what
    assert "2 of libraries: lib.Other, shop.Cart" in found[1].what
    assert said(tmp_path, [login(), cart()], [login(), cart()], old=library(1), new=library(1)) == []


def test_beans_of_pages_live_in_sessions(tmp_path: Path) -> None:
    page = {
        "cart.jsp": b'<jsp:useBean id="cart"\n scope="session" class="shop.Cart"/><jsp:useBean id="x" class="shop.X"/>'
    }
    (one,) = said(tmp_path, [cart(1)], [cart(2)], old=page, new=page)
    assert (one.severity, "a bean of cart.jsp" in one.what) == ("error", True)


def test_an_attribute_s_subclasses_and_contents_are_likely(tmp_path: Path) -> None:
    listed = cart(1)
    generic = listed.attribute("Signature", u2(listed.text("Ljava/util/List<Lshop/Item;>;")))
    listed.add_field("items", "Ljava/util/List;", 2, generic)
    found = said(
        tmp_path,
        [login(), listed, serializable("shop/Item", 1)],
        [login(), listed, serializable("shop/Item", 2)],
    )
    assert [one.severity for one in found] == ["error"]
    assert "session class shop.Item" in found[0].what
    assert "(likely: shop.Cart.items holds it)" in found[0].what


def test_what_cannot_be_read_is_told_and_does_not_hide_the_rest(tmp_path: Path) -> None:
    broken = {"WEB-INF/lib/a.jar": b"no jar", "WEB-INF/lib/b.jar": jar({"b/B.class": b"no class"})}
    found = said(tmp_path, [login(), cart(1)], [login(), cart(2)], new=broken)
    assert [one.severity for one in found] == ["error", "note"]
    assert "WEB-INF/lib/a.jar" in found[1].what
    assert "WEB-INF/lib/b.jar: 1 class files cannot be read" in found[1].what


def test_a_war_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.war").write_bytes(b"nothing")
    with pytest.raises(Refused, match=r"none\.war"):
        compare_sessions(war(tmp_path / "old.war"), tmp_path / "none.war")
    with pytest.raises(Refused, match=r"missing\.war"):
        compare_sessions(tmp_path / "missing.war", war(tmp_path / "new.war"))


def test_hostile_descriptors_and_names_are_harmless(tmp_path: Path) -> None:
    entities = {"WEB-INF/web.xml": b'<!DOCTYPE a [<!ENTITY b "c">]><web-app><distributable/></web-app>'}
    evil = serializable("evil\x1b[31m", 1)
    found = said(tmp_path, [login("evil\x1b[31m"), evil], [login("evil\x1b[31m")], new=entities)
    assert "session class evil?[31m: the class is gone" in found[0].what
    assert "\x1b" not in "".join(map(str, found))
