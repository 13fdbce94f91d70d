"""Real Jetties as slots: start, stop, death, failures, and which WARs they take."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ports import free_ports

from deployer.clock import SystemClock
from deployer.config_file import loads
from deployer.errors import ConfigurationError, InstanceError
from deployer.jetty.kind import JettyKind, find
from deployer.release import Release
from deployer.war import check_war, tomcat_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.server.answering_slot import AnsweringSlot

pytestmark = [pytest.mark.tomcat]

CONFIGURATION = """\
app: shop
kind: jetty
jetty: {{jvm: "-XX:TieredStopAtLevel=1"}}
slots:
  production: {{http_port: {p0}, base: "{base}/production"}}
  temp: {{http_port: {p1}, base: "{base}/the temp"}}
context: /shop
sessions: {{replicate: false}}
health: {{path: /shop/health, timeout: 60s, successes: 2}}
"""

SERVLET = """
package tiny;
import javax.servlet.http.*;
import java.io.IOException;
public class App extends HttpServlet {
    @Override public void init() {
        if (Boolean.parseBoolean(getInitParameter("broken")))
            throw new IllegalStateException("no orders", new RuntimeException("database shop is down"));
    }
    @Override protected void doGet(HttpServletRequest q, HttpServletResponse r) throws IOException {
        try { if (q.getServletPath().equals("/slow")) Thread.sleep(1500); }
        catch (InterruptedException e) { throw new IOException(e); }
        r.getWriter().print("ok " + q.getRemoteAddr() + " " + q.getScheme());
    }
}
"""

WEB_XML = """<?xml version="1.0"?>
<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="4.0">
  <servlet><servlet-name>app</servlet-name><servlet-class>tiny.App</servlet-class>
    <init-param><param-name>broken</param-name><param-value>{broken}</param-value></init-param>
    <load-on-startup>1</load-on-startup></servlet>
  <servlet-mapping><servlet-name>app</servlet-name>
    <url-pattern>/health</url-pattern><url-pattern>/slow</url-pattern></servlet-mapping>
</web-app>
"""


class Ground:
    """A directory that Jetty's user may enter, its two slots, and an application."""

    def __init__(self, directory: Path) -> None:
        ports = free_ports(2)
        self.directory = directory
        self.kind: JettyKind = find(loads(CONFIGURATION.format(p0=ports[0], p1=ports[1], base=directory)))
        self._class = self._compile()

    def slot(self) -> AnsweringSlot:
        """As another deployer would see it each time."""
        return self.kind.slots(SystemClock(), make_keys=False)["temp"]

    def _compile(self) -> bytes:
        source = self.directory / "App.java"
        source.write_text(SERVLET)
        [api] = self.kind.home.path.glob("lib/servlet-api-*.jar")
        out = self.directory / "classes"
        javac = ["javac", "-nowarn", "--release", "11", "-cp", str(api), "-d", str(out), str(source)]
        subprocess.run(javac, check=True, timeout=60)
        return (out / "tiny" / "App.class").read_bytes()

    def war(self, name: str, *, broken: bool = False, jakarta: bool = False) -> Path:
        path = self.directory / name
        # Not a class that loads; but what it uses can be read from it.
        code = self._class.replace(b"javax/servlet/", b"jakarta/servlet/")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("WEB-INF/web.xml", WEB_XML.format(broken=str(broken).lower()))
            archive.writestr("WEB-INF/classes/tiny/App.class", code if jakarta else self._class)
        return path

    def deploy(self, war: Path) -> AnsweringSlot:
        slot, data = self.slot(), war.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        slot.deploy(Release(digest[:12], digest, war, len(data), 0.0, war.name))
        slot.start()
        return slot


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    # Not pytest's directory: only its owner may enter it, and Jetty runs as a user of its own.
    directory = Path(tempfile.mkdtemp(prefix="switchyard-", dir="/var/tmp"))
    directory.chmod(0o755)
    try:
        try:
            ground = Ground(directory)
        except ConfigurationError as why:
            pytest.skip(f"{why}: {why.advice}")
        yield ground
        ground.slot().stop()
    finally:
        shutil.rmtree(directory)


def get(slot: AnsweringSlot, path: str) -> str:
    request = urllib.request.Request(slot.place.url + path, headers={"X-Forwarded-For": "192.0.2.1"})
    request.add_header("X-Forwarded-Proto", "https")
    with urllib.request.urlopen(request, timeout=20) as response:
        text: str = response.read().decode()
        return text


def test_it_starts_serves_outlives_the_deployer_and_stops_gracefully(ground: Ground) -> None:
    slot = ground.deploy(ground.war("good.war"))
    stages: list[str] = []
    slot.wait_ready(stages.append)
    assert stages[-1] == "ready"
    assert get(slot, "/health") == "ok 192.0.2.1 https"
    facts = ground.slot().observe()
    assert (facts.running, facts.http_ready, facts.sessions) == (True, True, None)
    if os.geteuid() == 0 and slot.account.other:
        assert os.stat(f"/proc/{facts.pid}").st_uid == slot.account.uid
    (slot.recipe.base / "jetty.pid.json").unlink()
    assert ground.slot().observe().pid == facts.pid
    with pytest.raises(InstanceError, match="runs as pid"):
        ground.deploy(ground.war("good.war"))

    slow: list[str] = []
    asking = threading.Thread(target=lambda: slow.append(get(slot, "/slow")))
    asking.start()
    SystemClock().sleep(0.7)
    assert "stopped in" in ground.slot().stop()
    asking.join()
    assert slow == ["ok 192.0.2.1 https"]
    assert not slot.observe().running


def test_an_application_that_does_not_start_names_its_cause(ground: Ground) -> None:
    slot = ground.deploy(ground.war("broken.war", broken=True))
    with pytest.raises(InstanceError, match="its process ended while it started") as error:
        slot.wait_ready(lambda _: None)
    said = str(error.value)
    assert "the application did not start" in said
    assert "java.lang.IllegalStateException: no orders" in said
    assert "java.lang.RuntimeException: database shop is down" in said
    assert not slot.observe().running


def test_which_wars_it_takes(ground: Ground) -> None:
    javax, jakarta = ground.war("javax.war"), ground.war("jakarta.war", jakarta=True)
    assert ground.kind.check(javax) == []
    [error] = [one for one in ground.kind.check(jakarta) if one.severity == "error"]
    assert "classes use jakarta.servlet, Jetty 9 has javax.servlet" in error.what
    assert "use Tomcat 10.1 or newer" in error.advice
    other = [one for one in check_war(javax, 17, tomcat_server(10)) if one.severity == "error"]
    assert "classes use javax.servlet, Tomcat 10 has jakarta.servlet" in other[0].what
    assert "use Tomcat 9 or kind: jetty" in other[0].advice
