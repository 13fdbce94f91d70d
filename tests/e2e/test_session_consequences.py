"""What `deployer check` says of sessions is what two real Tomcats do with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import urllib.error
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny_war
from test_tomcat_instance import Ground, Health, get, launch

from deployer.clock import SystemClock
from deployer.errors import ConfigurationError
from deployer.server.java import find_java
from deployer.session_safety import compare_sessions
from deployer.tomcat import sessions
from deployer.tomcat.home import find_tomcat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.tomcat.home import TomcatHome

pytestmark = [pytest.mark.tomcat]

SERVLET = """package tiny;
import jakarta.servlet.http.*;
import java.io.*;
public class App extends HttpServlet {
  @Override protected void doGet(HttpServletRequest q, HttpServletResponse r) throws IOException {
    String what = String.valueOf(q.getParameter("what"));
    if (q.getServletPath().equals("/health")) { r.getWriter().print("ok"); return; }
    if (q.getServletPath().equals("/count")) {
      HttpSession s = q.getSession(false);
      r.getWriter().print(s == null ? "lost" : s.getAttribute("word") + " " + s.getAttribute("v"));
      return;
    }
    HttpSession s = q.getSession();
    s.setAttribute("word", "kept");
    switch (what) { %s default: }
    r.getWriter().print("put");
  }
}
"""
HEAD = 'case "%s": s.setAttribute("v", %s); break;'
OLD = {
    "Same": 'class Same implements Serializable { UID; public String toString() { return "same"; } }',
    "Number": "class Number implements Serializable { UID; }",
    "Gone": "class Gone implements Serializable { UID; }",
    "Typed": 'class Typed implements Serializable { UID; String a = "x"; }',
    "Grown": 'class Grown implements Serializable { UID; public String toString() { return "old"; } }',
    "Colour": "enum Colour { RED, BLUE }",
    "Deep": "class Deep implements Serializable { UID; Plain plain = new Plain(); } class Plain {}",
}
NEW = {
    **OLD,
    "Number": "class Number implements Serializable { static final long serialVersionUID = 2L; }",
    "Typed": "class Typed implements Serializable { UID; Integer a; }",
    "Grown": 'class Grown implements Serializable { UID; String a = "x"; public String toString() { return a; } }',
    "Colour": "enum Colour { RED }",
    "Raw": "class Raw {}",
}
del NEW["Gone"]
AFTER = {
    "Same": "kept same",
    "Number": "lost",
    "Gone": "lost",
    "Typed": "lost",
    "Grown": "kept null",
    "Colour": "lost",
    "Deep": "kept null",
}


def classes(home: TomcatHome, to: Path, kinds: dict[str, str]) -> Path:
    to.mkdir()
    makes = {
        name: "Colour.values()[Colour.values().length - 1]" if name == "Colour" else f"new {name}()" for name in kinds
    }
    cases = " ".join(HEAD % (name, make) for name, make in makes.items())
    sources = {"App": SERVLET % cases}
    for name, text in kinds.items():
        uid = "private static final long serialVersionUID = 1L;"
        sources[name] = "package tiny;\nimport java.io.*;\n" + text.replace("{ UID;", f"{{ {uid}", 1)
    for name, text in sources.items():
        (to / f"{name}.java").write_text(text)
    files = [str(to / f"{name}.java") for name in sources]
    api = home.path / "lib" / "servlet-api.jar"
    subprocess.run(
        ["javac", "-nowarn", "--release", "11", "-cp", str(api), "-d", str(to), *files], check=True, timeout=60
    )
    return to


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    try:
        home = find_tomcat("auto", os.environ)
        java = find_java("auto", os.environ, home.least_java)
    except ConfigurationError as why:
        pytest.skip(f"{why}: {why.advice}")
    directory = Path(tempfile.mkdtemp(prefix="switchyard-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        old, new = classes(home, directory / "old", OLD), classes(home, directory / "new", NEW)
        good = tiny_war.make_war(old, directory / "good.war")
        yield Ground(directory, home, java, good, tiny_war.make_war(new, directory / "changed.war"), new)
    finally:
        shutil.rmtree(directory)


def test_sessions_fare_as_the_check_says(ground: Ground) -> None:
    said = {}
    for one in compare_sessions(ground.good, ground.changed):
        for name in (*AFTER, "Raw"):
            if f"tiny.{name}:" in one.what or f"tiny.{name} " in one.what or f"tiny.{name}." in one.what:
                said.setdefault(name, one)
    live, idle = ground.pair("consequences")
    try:
        launch(live, ground.good, Health())
        cookies = {name: get(live, f"/slow?what={name}")[1] for name in AFTER}
        launch(idle, ground.changed, Health())
        sessions.wait_transferred(idle.control, idle.records, 20.0, SystemClock(), lambda _stage: None)
        after = {name: get(idle, "/count", cookie)[0] for name, cookie in cookies.items()}
        assert after == AFTER
        lost = {name for name, answer in after.items() if answer == "lost"}
        assert {name for name, one in said.items() if "will be lost at the switch" in one.what} == lost
        assert "null, 0 or false" in said["Grown"].what
        assert "reads as null" in said["Deep"].what
        assert "Same" not in said
        assert "answers 500" in said["Raw"].what
        with pytest.raises(urllib.error.HTTPError, match="500"):
            get(idle, "/slow?what=Raw")
        stays = get(idle, "/slow?what=Same")[1]
        assert get(live, "/count", stays)[0] == "kept same"
        get(idle, "/slow?what=Deep", stays)
        assert get(idle, "/count", stays)[0].startswith("kept tiny.Deep")
        assert get(live, "/count", stays)[0] == "kept same"
    finally:
        live.stop(0)
        idle.stop(0)


def test_without_distributable_a_change_stays_where_it_was_made(ground: Ground) -> None:
    silent = tiny_war.make_war(ground.classes, ground.directory / "silent.war", distributable=False)
    found = [one.what for one in compare_sessions(ground.good, silent) if "tiny.Raw " in one.what]
    assert "what such a request changes stays on one slot" in found[0]
    live, idle = ground.pair("silent")
    try:
        launch(live, silent, Health())
        launch(idle, silent, Health())
        cookie = get(live, "/slow?what=Same")[1]
        assert get(idle, "/count", cookie)[0] == "kept same"
        get(live, "/slow?what=Raw", cookie)
        assert get(live, "/count", cookie)[0].startswith("kept tiny.Raw")
        assert get(idle, "/count", cookie)[0] == "kept same"
    finally:
        live.stop(0)
        idle.stop(0)
