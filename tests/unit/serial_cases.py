"""Pairs of a class and its next version, with what should be said of objects that the first one wrote."""

from __future__ import annotations

from dataclasses import dataclass

HEAD = "package c.%s;\nimport java.io.*;\nimport java.util.*;\n"
UID = "private static final long serialVersionUID = 1L;"
TWO = "private static final long serialVersionUID = 2L"


@dataclass(frozen=True)
class Case:
    """old, new: what the file of Thing has below its imports. says: class and effect. make: what makes the object."""

    name: str
    old: str
    new: str
    says: frozenset[tuple[str, str]]
    make: str = "new Thing()"

    def sources(self, body: str, *, maker: bool) -> dict[str, str]:
        files = {f"c/{self.name}/Thing.java": HEAD % self.name + body}
        if maker:
            text = f"class Maker {{ static Object make() throws Exception {{ return {self.make}; }} }}"
            files[f"c/{self.name}/Maker.java"] = HEAD % self.name + text
        return files


def case(name: str, old: str, new: str, *says: str, make: str = "new Thing()") -> Case:
    """says: "lost", or "Item lost" for another class than Thing."""
    pairs = (tuple(one.split()) if " " in one else ("Thing", one) for one in says)
    return Case(name, old.replace("UID;", UID), new.replace("UID;", UID), frozenset(pairs), make)  # type: ignore[arg-type]


def thing(body: str, more: str = "", extends: str = "implements Serializable", kind: str = "class") -> str:
    """The usual class of a case."""
    return f"{kind} Thing {extends} {{ {body} }}\n{more}"


ITEM = "class Item implements Serializable { private static final long serialVersionUID = %dL; int n = 7; }"
BASE = "class Base implements Serializable { private static final long serialVersionUID = %dL; int b = 3; }"
PLAIN_BASE = "class Base { int b = 3; Base(%s) {} }"
FORM = """Object writeReplace() { return new Form(); }
static class Form implements Serializable { private static final long serialVersionUID = %dL;
  Object readResolve() { return new Thing(); } }"""
EXTERNAL = """public Thing() {} public void writeExternal(ObjectOutput o) throws IOException { o.writeInt(1); }
public void readExternal(ObjectInput i) throws IOException { i.readInt(); }"""

CASES = [
    case("same", thing("UID; int a;"), thing("UID; int a;")),
    case("uid", thing("UID;"), thing(f"{TWO};"), "lost"),
    case(
        "short_uid", thing("static final int serialVersionUID = 7;"), thing("static final long serialVersionUID = 7;")
    ),
    case("method", thing("int a;"), thing("int a; public int a() { return a; }"), "lost"),
    case("private_method", thing("int a;"), thing("int a; private int a() { return a; }")),
    case("named_later", thing("int a;"), thing("UID; int a;"), "lost"),
    case("no_longer_named", thing("UID; int a;"), thing("int a;"), "lost"),
    case("field_added", thing("UID; int a;"), thing('UID; int a; String added = "x"; int more = 4;'), "reset"),
    case("field_gone", thing('UID; int a; String b = "x";'), thing("UID; int a;"), "dropped"),
    case("no_longer_written", thing("UID; int a = 5;"), thing("UID; transient int a = 6;"), "dropped"),
    case("primitive", thing("UID; int a = 5;"), thing("UID; long a = 6;"), "lost"),
    case("boxed", thing("UID; int a = 5;"), thing("UID; Integer a = 6;"), "lost"),
    case("reference", thing('UID; String a = "x";'), thing("UID; Integer a;"), "lost"),
    case("wider", thing("UID; ArrayList<String> a = new ArrayList<>();"), thing("UID; List<String> a;")),
    case("object", thing('UID; String a = "x";'), thing("UID; Object a;")),
    case("narrower", thing('UID; Object a = "x";'), thing("UID; Integer a;"), "risk"),
    case("narrower_fits", thing("UID; Object a = 4;"), thing("UID; Integer a;"), "risk"),
    case("array", thing("UID; int[] a = {1};"), thing("UID; long[] a;"), "lost"),
    case("gone", thing("UID; Item i = new Item();", ITEM % 1), thing("UID; Object i;"), "Item lost"),
    case(
        "gone_with_its_field",
        thing("UID; Item i = new Item();", ITEM % 1),
        thing("UID;"),
        "dropped",
    ),
    case(
        "gone_with_its_list",
        thing("UID; List<Item> i = new ArrayList<>(List.of(new Item()));", ITEM % 1),
        thing("UID;"),
        "dropped",
    ),
    case(
        "changed_and_dropped",
        thing("UID; Item i = new Item();", ITEM % 1),
        thing("UID;", ITEM % 2),
        "dropped",
        "Item lost",
    ),
    case(
        "in_a_list",
        thing(
            'UID; Map<String, List<Item>> i = new HashMap<>(Map.of("x", new ArrayList<>(List.of(new Item()))));',
            ITEM % 1,
        ),
        thing("UID; Map<String, List<Item>> i;", ITEM % 2),
        "Item lost",
    ),
    case(
        "in_an_array",
        thing("UID; Item[][] i = {{new Item()}};", ITEM % 1),
        thing("UID; Item[][] i;", ITEM % 2),
        "Item lost",
    ),
    case(
        "behind_an_interface",
        thing(
            "UID; Kind k = new Item();", "interface Kind {} " + ITEM.replace("Serializable", "Kind, Serializable") % 1
        ),
        thing("UID; Kind k;", "interface Kind {} " + ITEM.replace("Serializable", "Kind, Serializable") % 2),
        "Item lost",
    ),
    case("unserializable", thing("UID; int a;"), thing("int a;", extends=""), "lost"),
    case("constant_gone", "enum Thing { A, B }", "enum Thing { A }", "lost", make="Thing.B"),
    case("constant_added", "enum Thing { A, B }", "enum Thing { C, A, B }", "back", make="Thing.B"),
    case("constant_bodies", "enum Thing { A { int x; }, B }", "enum Thing { A, B }", make="Thing.A"),
    case("to_enum", thing("UID; int a;"), "enum Thing { A }", "lost"),
    case("from_enum", "enum Thing { A }", thing("UID; int a;"), "lost", make="Thing.A"),
    case(
        "record",
        "record Thing(int a) implements Serializable {}",
        "record Thing(int a, String b) implements Serializable {}",
        "reset",
        make="new Thing(1)",
    ),
    case(
        "record_primitive",
        "record Thing(int a) implements Serializable {}",
        "record Thing(long a) implements Serializable {}",
        "lost",
        make="new Thing(1)",
    ),
    case(
        "record_uid",
        "record Thing(int a) implements Serializable { static final long serialVersionUID = 1L; }",
        "record Thing(int a) implements Serializable { static final long serialVersionUID = 2L; }",
        make="new Thing(1)",
    ),
    case("to_record", thing("UID; int a;"), "record Thing(int a) implements Serializable {}"),
    case("from_record", "record Thing(int a) implements Serializable {}", thing("int a;"), "lost", make="new Thing(1)"),
    case(
        "from_record_fits",
        "record Thing(int a) implements Serializable {}",
        thing("static final long serialVersionUID = 0L; int a;"),
        make="new Thing(1)",
    ),
    case(
        "to_external",
        thing("UID; int a;"),
        thing(f"UID; {EXTERNAL}", extends="implements Externalizable", kind="public class"),
        "lost",
    ),
    case(
        "from_external",
        thing(f"UID; {EXTERNAL}", extends="implements Externalizable", kind="public class"),
        thing("UID; int a;"),
        "lost",
    ),
    case("parent_uid", thing("UID;", BASE % 1, "extends Base"), thing("UID;", BASE % 2, "extends Base"), "Base lost"),
    case("parent_gone", thing("UID;", BASE % 1, "extends Base"), thing("UID;")),
    case("parent_left", thing("UID;", BASE % 1, "extends Base"), thing("UID;", BASE % 2), "Base lost"),
    case(
        "parent_unserializable",
        thing("UID;", "abstract " + BASE % 1, "extends Base implements Serializable"),
        thing("UID;", "abstract class Base { int b = 3; }", "extends Base implements Serializable"),
        "Base dropped",
    ),
    case("parent_added", thing("UID;"), thing("UID;", BASE % 1, "extends Base")),
    case(
        "parent_constructor",
        thing("UID; Thing() { super(); }", PLAIN_BASE % "", "extends Base implements Serializable"),
        thing("UID; Thing() { super(1); }", PLAIN_BASE % "int n", "extends Base implements Serializable"),
        "unfit",
    ),
    case("replaced", thing("UID; int a;" + FORM % 1), thing("UID; long a;".replace("UID", TWO) + FORM % 1)),
    case("replacement", thing("UID;" + FORM % 1), thing("UID;" + FORM % 2), "Thing$Form lost"),
    case(
        "reads_more",
        thing("UID; int a;"),
        thing(
            "UID; int a; private void readObject(ObjectInputStream i) throws Exception"
            "{ i.defaultReadObject(); i.readInt(); }"
        ),
        "risk",
    ),
    case(
        "worked_out",
        thing('static final long serialVersionUID = Long.parseLong("3"); int a;'),
        thing('static final long serialVersionUID = Long.parseLong("3"); int a, b;'),
        "risk",
        "reset",
    ),
]
