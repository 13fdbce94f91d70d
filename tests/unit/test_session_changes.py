"""What is said of a class's next version is what java.io.ObjectInputStream does with the old version's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from java_tools import HAS_JDK, classes_in, compile_java, run
from serial_cases import CASES, Case

from deployer.java.session_graph import held_classes, kept_in
from deployer.java.session_puts import Put
from deployer.session_changes import class_changes, unreadable_here

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deployer.java.classes import Classes

pytestmark = [pytest.mark.tomcat, pytest.mark.skipif(not HAS_JDK, reason="needs a JDK")]

READER = """
import java.io.*; import java.lang.reflect.*; import java.net.*; import java.nio.file.*;
public class Read {
  static URLClassLoader loader(String dir) throws Exception {
    return new URLClassLoader(new URL[]{Path.of(dir).toUri().toURL()});
  }
  public static void main(String[] a) throws Exception {
    URLClassLoader old = loader(a[0]), now = loader(a[1]);
    for (int i = 2; i < a.length; i++) {
      Method make = old.loadClass("c." + a[i] + ".Maker").getDeclaredMethod("make");
      make.setAccessible(true);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      try (ObjectOutputStream out = new ObjectOutputStream(bytes)) { out.writeObject(make.invoke(null)); }
      String said;
      try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray())) {
          @Override protected Class<?> resolveClass(ObjectStreamClass d) throws IOException, ClassNotFoundException {
            return Class.forName(d.getName(), false, now);
          } }) {
        said = "read" + fields(in.readObject());
      } catch (Exception e) { said = "failed " + e.getClass().getSimpleName(); }
      System.out.println(a[i] + " " + said);
    }
  }
  static String fields(Object o) throws Exception {
    StringBuilder text = new StringBuilder();
    for (Field f : o.getClass().getDeclaredFields()) {
      if (Modifier.isStatic(f.getModifiers())) continue;
      f.setAccessible(true);
      text.append(' ').append(f.getName()).append('=').append(f.get(o));
    }
    return text.toString();
  }
}
"""


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Directories with all cases' old and new classes."""
    base = tmp_path_factory.mktemp("cases")
    old = {name: text for one in CASES for name, text in one.sources(one.old, maker=True).items()}
    new = {name: text for one in CASES for name, text in one.sources(one.new, maker=False).items()}
    return compile_java(old, base / "old"), compile_java(new, base / "new")


@pytest.fixture(scope="module")
def read(versions: tuple[Path, Path]) -> Mapping[str, str]:
    """What Java's own reading of each case's object ends with: "read a=1 …" or "failed InvalidClassException"."""
    old, new = versions
    compile_java({"Read.java": READER}, old.parent / "tool")
    names = [one.name for one in CASES]
    lines = run("java", "-XX:TieredStopAtLevel=1", "-cp", str(old.parent / "tool"), "Read", str(old), str(new), *names)
    return dict(line.split(" ", 1) for line in lines.splitlines())


@pytest.fixture(scope="module")
def both(versions: tuple[Path, Path]) -> tuple[Classes, Classes]:
    return classes_in(versions[0]), classes_in(versions[1])


def effects(one: Case, old: Classes, new: Classes) -> set[tuple[str, str]]:
    """Class and effect of all that is said of a case, when a session holds what its Maker makes."""
    put = [Put(f"c/{one.name}/Thing", exact=True, where="")]
    found = set()
    for name, held in held_classes(old, put, kept_in(old, new)).items():
        changes = class_changes(name, old, new, needed=held.needed)
        found |= {(name.rpartition("/")[2], change.effect) for change in changes}
    now = held_classes(new, put, lambda _one, _member: True)
    return found | {(name.rpartition("/")[2], "unfit") for name in now if unreadable_here(name, new)}


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_effects_are_java_s(one: Case, both: tuple[Classes, Classes], read: Mapping[str, str]) -> None:
    said = effects(one, *both)
    assert said == one.says
    kinds = {effect for _, effect in said}
    if "risk" not in kinds:
        assert read[one.name].startswith("failed") == bool(kinds & {"lost", "unfit"}), read[one.name]


def test_fields_that_are_new_hold_nothing(read: Mapping[str, str]) -> None:
    assert read["field_added"] == "read a=0 added=null more=0"
    assert read["record"] == "read a=1 b=null"
    assert read["no_longer_written"] == "read a=0"


def test_risks_are_real_and_not_certain(read: Mapping[str, str]) -> None:
    assert read["narrower"] == "failed ClassCastException"
    assert read["narrower_fits"] == "read a=4"
    assert read["reads_more"] == "failed EOFException"
