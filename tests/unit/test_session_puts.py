"""What is seen of the values that an application puts into its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from class_bytes import ClassBytes, serializable
from java_tools import HAS_JDK, classes_in, compile_java

from deployer.java.class_file import read_header
from deployer.java.classes import Classes
from deployer.java.session_graph import held_classes
from deployer.java.session_puts import Put, session_puts

if TYPE_CHECKING:
    from collections.abc import Mapping

SESSION = """package jakarta.servlet.http;
public interface HttpSession { void setAttribute(String n, Object v); Object getAttribute(String n); }"""
LISTENER = "package jakarta.servlet.http; public interface HttpSessionBindingListener {}"
SCOPED = """package jakarta.enterprise.context;
@java.lang.annotation.Retention(java.lang.annotation.RetentionPolicy.RUNTIME) public @interface SessionScoped {}"""
SHOP = """package p;
import jakarta.servlet.http.*;
import java.util.*;
class Cart implements java.io.Serializable {}
class Special extends Cart {}
final class Last implements java.io.Serializable {}
interface Kind {}
class One implements Kind, java.io.Serializable {}
class Two implements Kind, java.io.Serializable { Three<Four> three; }
class Three<T> implements java.io.Serializable {}
class Four implements java.io.Serializable {}
class Bound implements HttpSessionBindingListener, java.io.Serializable {}
@jakarta.enterprise.context.SessionScoped class Scoped implements java.io.Serializable {}
class Never implements java.io.Serializable {}
class Put {
  Cart field; Kind kind; static Last last; Cart[] many;
  void made(HttpSession s) { s.setAttribute("a", new Cart()); }
  void held(HttpSession s, boolean b) {
    Object c = new Cart(); if (b) { System.out.println(); } s.setAttribute("a", c);
  }
  void got(HttpSession s, int a, long b, double d) {
    long x = b * 2; Cart c = (Cart) s.getAttribute("c"); if (c == null) { c = new Cart(); x++; } s.setAttribute("c", c);
  }
  void fields(HttpSession s) { s.setAttribute("f", field); s.setAttribute("k", kind); s.setAttribute("l", last); }
  void array(HttpSession s) {
    s.setAttribute("m", many); s.setAttribute("e", many[0]); s.setAttribute("n", new Two[3]);
  }
  void choice(HttpSession s, int a) {
    s.setAttribute("x", new Three<String>()); s.setAttribute("y", a > 1 ? null : new One());
  }
  void nothing(HttpSession s, Object o, List<Cart> list) { s.setAttribute("t", "text"); s.setAttribute("i", 4); }
  void other(Put p) { p.setAttribute("never", new Never()); }
  void setAttribute(String n, Object v) {}
  void loop(HttpSession s, List<? extends Cart> carts) {
    for (int i = 0; i < carts.size(); i++) { try { Special c = (Special) carts.get(i); s.setAttribute("c" + i, c); }
      catch (RuntimeException e) { s.setAttribute("error", e); } finally { System.gc(); } }
    switch (carts.size()) { case 1: s.setAttribute("z", new Last()); break; case 900: default: }
  }
}
class Helper { static void keep(HttpSession s, long when, Object value) { if (when > 0) s.setAttribute("h", value); } }
abstract class Store { HttpSession s; abstract void save(Object o); }
class Real extends Store { void save(Object o) { Helper.keep(s, 1L, o); } }
class Caller {
  void a(HttpSession s) { Helper.keep(s, 2L, new Four()); }
  void b(Store store) { store.save(new Two()); }
}
"""


@pytest.fixture(scope="module", params=["17", "8"])
def puts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, set[tuple[str, bool]]]:
    """Types and whether they are exact, by the method that puts them."""
    sources = {
        "jakarta/servlet/http/HttpSession.java": SESSION,
        "jakarta/servlet/http/HttpSessionBindingListener.java": LISTENER,
        "jakarta/enterprise/context/SessionScoped.java": SCOPED,
        "p/Shop.java": SHOP,
    }
    directory = compile_java(sources, tmp_path_factory.mktemp("shop") / "classes", "--release", request.param)
    found: dict[str, set[tuple[str, bool]]] = {}
    for put in session_puts(classes_in(directory)):
        found.setdefault(put.where.rpartition(".")[2], set()).add((put.type.removeprefix("p/"), put.exact))
    return found


@pytest.mark.tomcat
@pytest.mark.skipif(not HAS_JDK, reason="needs a JDK")
def test_the_types_of_values_are_seen(puts: Mapping[str, set[tuple[str, bool]]]) -> None:
    assert puts["made"] == {("Cart", True)}
    assert puts["held"] == {("Cart", True)}
    assert puts["got"] == {("Cart", False)}
    assert puts["fields"] == {("Cart", False), ("Kind", False), ("Last", False)}
    assert puts["array"] == {("[Lp/Cart;", False), ("Cart", False), ("[Lp/Two;", True)}
    assert ("Three", True) in puts["choice"]
    assert puts["nothing"] == {("java/lang/String", True), ("java/lang/Integer", False)}
    assert puts["loop"] == {("Special", False), ("java/lang/RuntimeException", False), ("Last", True)}
    assert "other" not in puts


@pytest.mark.tomcat
@pytest.mark.skipif(not HAS_JDK, reason="needs a JDK")
def test_values_are_followed_to_the_callers_of_helpers(puts: Mapping[str, set[tuple[str, bool]]]) -> None:
    assert puts["a"] == {("Four", True)}
    assert puts["b"] == {("Two", True)}


@pytest.mark.tomcat
@pytest.mark.skipif(not HAS_JDK, reason="needs a JDK")
def test_classes_say_themselves_that_they_live_in_sessions(puts: Mapping[str, set[tuple[str, bool]]]) -> None:
    assert puts["HttpSessionBindingListener on it"] == {("Bound", False)}
    assert puts["SessionScoped on it"] == {("Scoped", False)}


def by_hand(*made: ClassBytes) -> Classes:
    files = {one.name: one.bytes() for one in made}
    return Classes({name: read_header(data) for name, data in files.items()}, files.__getitem__)


def test_without_a_compiler_too() -> None:
    login = ClassBytes("shop/Login")
    login.add_put("doPost", "shop/Cart")
    classes = by_hand(login, serializable("shop/Cart"))
    assert session_puts(classes) == [Put("shop/Cart", exact=True, where="set in shop.Login.doPost")]


def test_classes_that_inherit_in_a_circle_end() -> None:
    one, two = ClassBytes("A", parent="B"), ClassBytes("B", parent="A")
    one.add_put("x", "A")
    classes = by_hand(one, two)
    assert classes.serializable("A") is False
    assert list(classes.superclasses("A")) == ["B"]
    assert classes.subtypes("A") == ["B"]
    assert held_classes(classes, session_puts(classes), lambda _one, _member: True) == {}


def test_a_class_that_cannot_be_read_is_told() -> None:
    login = ClassBytes("shop/Login")
    login.add_put("doPost", "shop/Cart")
    whole = login.bytes()
    classes = Classes({"shop/Login": by_hand(login).headers["shop/Login"]}, lambda _name: whole[:-4])
    assert session_puts(classes) == []
    assert classes.unreadable == {"shop/Login"}
