"""Class files: what is read of them, the computed serialVersionUID, and bytes that are none."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from class_bytes import ClassBytes, serializable, u2
from hypothesis import given, settings
from hypothesis import strategies as st
from java_tools import HAS_JDK, classes_in, compile_java, run

from deployer.java import class_file as cf
from deployer.java.bytecode import calls
from deployer.java.class_file import ClassFileError, read_class, read_header, shown, shown_type
from deployer.java.classes import Classes
from deployer.java.serial_form import declared_uid, parameter_types, serial_form
from deployer.java.session_puts import session_puts

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = """
package u;
import java.io.*;
import java.util.*;
class Empty implements Serializable {}
class Plain implements Serializable { int a; String b; long[] c; Map<String, int[][]> d; transient Object e; }
class Access implements Serializable {
  public int a; protected volatile int b; int c; private final int d = 1; private transient int e;
  static int f; private static int g; public static final String H = "h"; protected transient int i;
}
class Methods implements Serializable {
  Methods() {} public Methods(int a) {} private Methods(long a) {} protected Methods(String... a) {}
  public void a() {} private void b() {} protected static synchronized int c(Plain[] p) { return 0; }
  final <T extends Comparable<T>> T d(T t) { return t; } native void e(); strictfp double f() { return 0; }
  void a(int x) {} void a(String x) {}
}
class Initialised implements Serializable { static final List<String> A = new ArrayList<>(); }
class Constant implements Serializable { static final int A = 4; }
class Asserting implements Serializable { void a(int b) { assert b > 0; } }
class Ordered implements Serializable, Comparable<Ordered>, Cloneable, Iterable<String> {
  public int compareTo(Ordered o) { return 0; }
  public Iterator<String> iterator() { return null; }
}
abstract class Base implements Serializable { abstract void a(); }
final class Derived extends Base { void a() { Runnable r = () -> System.out.println(this); r.run(); } }
class Listed extends ArrayList<String> {}
class Failure extends Exception {}
interface Marker extends Serializable {}
interface Acting extends Serializable { void act(); default int more() { return 1; } private void hidden() {} }
class Marked implements Marker {}
enum Colour { RED, BLUE { int x() { return 2; } }; int x() { return 1; } }
record Point(int x, int y) implements Serializable {}
record Named(int x) implements Serializable { static final long serialVersionUID = 9L; }
class Declared implements Serializable { private static final long serialVersionUID = -5L; }
class Narrow implements Serializable { static final short serialVersionUID = 12; }
class NotFinal implements Serializable { static long serialVersionUID = 12; }
class Outside implements Externalizable {
  public Outside() {} public void writeExternal(ObjectOutput o) {} public void readExternal(ObjectInput i) {}
}
class Outer implements Serializable {
  private int secret;
  class Inner implements Serializable { int a = secret; }
  static class Nested implements Serializable { private Nested() {} }
  private static final class Hidden implements Serializable { int a; }
  protected class Guarded implements Serializable { class Deeper implements Serializable {} }
  Object local(int n) { class Local implements Serializable { int a = n; } return new Local(); }
  Object anonymous() { return new Serializable() { int a; }; }
  Comparator<String> lambda() { return (Comparator<String> & Serializable) (a, b) -> a.length() - b.length(); }
  Object hidden() { return new Hidden(); }
}
class Größe implements Serializable { int länge; void 長さ(Größe größe) {} }
class Generic<T extends Number & Comparable<T>> implements Serializable {
  T a; List<? super T> b; T c(T d) { return d; }
}
@interface Note { String value() default ""; }
@Deprecated @Note("x") class Noted implements Serializable { @Note int a; }
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_java({"u/Shapes.java": SHAPES}, tmp_path_factory.mktemp("shapes") / "classes")


@pytest.mark.tomcat
@pytest.mark.skipif(not HAS_JDK, reason="needs a JDK")
@pytest.mark.parametrize("release", [None, "8"])
def test_the_serial_version_uid_is_what_serialver_says(shapes: Path, tmp_path: Path, release: str | None) -> None:
    directory = shapes
    if release:
        # Before Java 11 a nested class reaches private members of its outer one through synthetic methods.
        old = "\n".join(line for line in SHAPES.splitlines() if "record" not in line)
        old = old.replace("private void hidden() {}", "")
        directory = compile_java({"u/Shapes.java": old}, tmp_path / "old", "--release", release)
    classes = classes_in(directory)
    names = [name for name in classes.headers if classes.serializable(name)]
    assert len(names) > 30
    said = run("serialver", "-classpath", str(directory), *(name.replace("/", ".") for name in names))
    told = {}
    for line in said.splitlines():
        name, _, value = line.partition(":")
        told[name.replace(".", "/")] = int(value.rpartition("=")[2].strip(" L;"))
    computed = {}
    for name in names:
        one = classes.find(name)
        assert one is not None
        computed[name] = serial_form(one, externalizable=classes.externalizable(name)).uid
    assert computed == told


@pytest.mark.tomcat
@pytest.mark.skipif(not HAS_JDK, reason="needs a JDK")
def test_what_javac_s_class_files_say(shapes: Path) -> None:
    classes = classes_in(shapes)
    noted, generic, hidden = (classes.find(f"u/{name}") for name in ("Noted", "Generic", "Outer$Hidden"))
    assert noted is not None
    assert generic is not None
    assert hidden is not None
    assert noted.annotations == ("Ljava/lang/Deprecated;",)
    assert [field.signature for field in generic.fields] == ["TT;", "Ljava/util/List<-TT;>;"]
    assert hidden.header.modifiers & (cf.PRIVATE | cf.STATIC | cf.FINAL) == cf.PRIVATE | cf.STATIC | cf.FINAL
    assert classes.subtypes("u/Base") == ["u/Derived"]
    assert list(classes.superclasses("u/Derived")) == ["u/Base"]
    assert all(classes.serializable(f"u/{name}") for name in ("Listed", "Failure", "Marked"))
    assert classes.serializable("u/Note") is None


def test_a_class_made_by_hand() -> None:
    made = serializable("shop/Cart", -3, "shop/Kind")
    made.add_field(
        "items", "Ljava/util/List;", 2, made.attribute("Signature", u2(made.text("Ljava/util/List<LItem;>;")))
    )
    one = read_class(made.bytes())
    assert (one.name, one.header.super_name) == ("shop/Cart", "java/lang/Object")
    assert one.header.interfaces == ("java/io/Serializable", "shop/Kind")
    assert declared_uid(one) == (-3,)
    assert one.fields[1].signature == "Ljava/util/List<LItem;>;"
    assert serial_form(one, externalizable=False).fields == {"items": "Ljava/util/List;"}
    assert read_header(made.bytes()) == one.header


def test_names_are_shown_as_people_write_them_and_cannot_command_a_terminal() -> None:
    assert shown("shop/Cart$Item") == "shop.Cart$Item"
    assert shown("a\x1b[2J\n\ud83d\ude00") == "a?[2J?😀"
    assert shown("\ud800") in ("?", "\ufffd")
    assert len(shown("x" * 5000)) == 201
    assert [shown_type(one) for one in ("I", "[[J", "[Ljava/lang/String;")] == ["int", "long[][]", "java.lang.String[]"]
    assert parameter_types("(I[[JLa/B;[La/C;D)V") == ("I", "[[J", "La/B;", "[La/C;", "D")
    assert parameter_types("(Lno-end") == ()


def test_what_is_no_class_file_is_an_error_that_says_why() -> None:
    good = serializable("shop/Cart").bytes()
    wrong_index = bytearray(good)
    at = good.index(u2(0x21), len(good) - 60)
    wrong_index[at + 2 : at + 4] = u2(9999)
    cases = {
        b"": "does not begin",
        b"PK\x03\x04" + bytes(100): "does not begin",
        good[:20]: "cut off",
        good[:-1]: "cut off",
        good[:8] + u2(5) + b"\x63" * 90: "unknown kind",
        bytes(wrong_index): "no constant 9999",
        bytes(cf.LARGEST_CLASS + 1): "are the most",
    }
    for data, words in cases.items():
        with pytest.raises(ClassFileError, match=words):
            read_class(data)


def test_lengths_that_lie_are_found() -> None:
    made = ClassBytes("A")
    made.attributes.append(u2(made.text("Deprecated")) + struct.pack(">I", 0xFFFFFFFF))
    with pytest.raises(ClassFileError, match="longer than the class"):
        read_class(made.bytes())
    made = ClassBytes("A")
    made.attributes.append(made.attribute("RuntimeVisibleAnnotations", u2(1, made.text("LB;"), 9) + b"\0\1["))
    with pytest.raises(ClassFileError, match="cut off"):
        read_class(made.bytes())


def test_an_annotation_as_deep_as_its_bytes_is_skipped() -> None:
    made = ClassBytes("A")
    note = u2(made.text("LB;"))
    deep = (u2(made.text("v")) + b"@" + note + u2(1)) * 20_000 + u2(made.text("v")) + b"[" + u2(0)
    made.attributes.append(made.attribute("RuntimeVisibleAnnotations", u2(1) + note + u2(1) + deep))
    assert read_class(made.bytes()).annotations == ("LB;",)


def rich_class() -> bytes:
    """A class that uses most of what the reader knows."""
    made = serializable("shop/Login", None, "jakarta/servlet/http/HttpSessionBindingListener")
    made.add_uid(1 << 40)
    made.add_field("items", "[Lshop/Item;", 2, made.attribute("Signature", u2(made.text("TT;"))))
    made.add_put("doPost", "shop/Cart")
    variables = b"\x07" + u2(made.class_of("shop/Login")) + b"\x04\x08" + u2(0)
    frames = u2(5) + b"\x02" + b"\x41\x07" + u2(made.class_of("A")) + b"\xfb" + u2(0)
    frames += b"\xfc" + u2(0) + b"\x03" + b"\xff" + u2(0, 3) + variables + u2(1) + b"\x05"
    switch = b"\xbb" + u2(made.class_of("A")) + b"\x57\x1a\xaa\x00\x00" + struct.pack(">iiiii", 20, 0, 1, 20, 20)
    made.add_method("mixed", "(IJLjava/lang/String;)I", switch + b"\xc4\x19\x00\x04\x57\x5a\x03\xac" * 3, frames=frames)
    made.attributes.append(made.attribute("InnerClasses", u2(1, made.class_of("shop/Login"), 0, 0, 9)))
    values = (
        u2(3, made.text("a")) + b"I" + u2(1) + u2(made.text("b")) + b"e" + u2(1, 1) + u2(made.text("c")) + b"[" + u2(0)
    )
    made.attributes.append(made.attribute("RuntimeVisibleAnnotations", u2(1, made.text("LB;")) + values))
    return made.bytes()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(rich_class()) - 1), st.integers(0, 255)), max_size=6), st.integers(0, 40))
def test_damage_is_a_class_file_error_or_does_not_matter(damage: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(rich_class())
    for at, value in damage:
        data[at] = value
    damaged = bytes(data[: len(data) - cut])
    try:
        one = read_class(damaged)
        serial_form(one, externalizable=False)
        for method in one.methods:
            list(calls(one, method, lambda _name: True))
    except ClassFileError:
        return
    classes = Classes({one.name: one.header}, lambda _name: damaged)
    assert isinstance(session_puts(classes), list)


def test_the_undamaged_class_is_read_whole() -> None:
    one = read_class(rich_class())
    seen = [call for method in one.methods for call in calls(one, method, lambda _name: True)]
    assert [(call.name, call.arguments[-1].type) for call in seen if call.arguments] == [("setAttribute", "shop/Cart")]
    assert one.annotations == ("LB;",)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_end_in_an_answer(data: bytes) -> None:
    for start in (b"", b"\xca\xfe\xba\xbe\x00\x00\x00\x37"):
        with pytest.raises(ClassFileError):
            read_class(start + data)
