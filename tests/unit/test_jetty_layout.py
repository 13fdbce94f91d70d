"""A Jetty slot's files and command line as text, and the Jetty that is looked for."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from deployer.errors import ConfigurationError
from deployer.jetty.home import JettyHome, find_jetty
from deployer.jetty.layout import JettySpec, explain, java_command, tree
from deployer.server.java import Java

HOME = JettyHome(Path("/usr/share/jetty9"), (9, 4, 57), ("server", "http", "deploy", "http-forwarded", "stats"))
SPEC = JettySpec(name="temp", base=Path("/srv/a & b/temp"), http_port=8082, context="/shop", graceful_stop=2.5)


def test_the_settings_bind_loopback_and_end_requests_first() -> None:
    lines = tree(SPEC, HOME).files["start.d/slot.ini"][0].decode().splitlines()
    assert lines[:5] == [f"--module={name}" for name in HOME.modules]
    assert {"jetty.http.host=127.0.0.1", "jetty.http.port=8082", "jetty.server.stopTimeout=2500"} <= set(lines)
    assert "jetty.deploy.scanInterval=0" in lines


@pytest.mark.parametrize(("context", "path"), [("", "/"), ("/shop", "/shop")])
def test_the_application_is_named_by_a_well_formed_file(context: str, path: str) -> None:
    spec = JettySpec(name="temp", base=SPEC.base, http_port=8082, context=context)
    root = ElementTree.fromstring(tree(spec, HOME).files["webapps/app.xml"][0])
    values = {one.get("name"): one.text for one in root}
    assert (values["contextPath"], values["war"]) == (path, "/srv/a & b/temp/app/app.war")
    assert values["throwUnavailableOnStartupException"] == "true"


def test_the_operators_options_come_last() -> None:
    spec = JettySpec(name="temp", base=SPEC.base, http_port=8082, jvm=("-XX:+UseG1GC", "-Xmx1g"))
    command = java_command(spec, HOME, Java(Path("/jdk/bin/java"), 17))
    assert command[:5] == ["/jdk/bin/java", "-Xms32m", "-Xmx256m", "-XX:+UseG1GC", "-Xmx1g"]
    assert command[-4:] == [
        "-jar",
        "/usr/share/jetty9/start.jar",
        "jetty.home=/usr/share/jetty9",
        f"jetty.base={SPEC.base}",
    ]
    assert "-Djetty.base=/srv/a & b/temp" in command


def test_a_log_is_explained() -> None:
    log = [
        "2026-11-22 23:54:46.573:WARN:oejw.WebAppContext:main: Failed startup of context o.e.j.w.WebAppContext@57af",
        "javax.servlet.ServletException: a==tiny.App@61",
        "\tat org.eclipse.jetty.Server.start(Server.java:1)",
        "Caused by: ",
        "java.lang.IllegalStateException: no orders",
        "java.lang.IllegalStateException: no orders",
    ]
    assert explain(log).splitlines() == [
        "the application did not start",
        "    javax.servlet.ServletException: a==tiny.App@61",
        "    java.lang.IllegalStateException: no orders",
    ]
    assert explain(["2026-11-22 23:54:46.573:INFO:oejs.Server:main: Started"]) == ""


def test_a_home_is_read(tmp_path: Path) -> None:
    home = tmp_path / "jetty"
    (home / "lib" / "annotations").mkdir(parents=True)
    (home / "start.jar").touch()
    with pytest.raises(ConfigurationError, match="there is no Jetty in") as error:
        find_jetty(str(home), {})
    assert "apt-get install jetty9" in error.value.advice
    (home / "lib" / "jetty-server-9.4.57.v20241219.jar").touch()
    found = find_jetty("auto", {"JETTY_HOME": str(home)})
    assert (found.version, "annotations" in found.modules, "jsp" in found.modules) == ((9, 4, 57), True, False)
    assert find_jetty("auto", {}, [f"{tmp_path}/jet*"]) == found
    (home / "lib" / "jetty-server-9.4.57.v20241219.jar").rename(home / "lib" / "jetty-server-12.0.1.jar")
    with pytest.raises(ConfigurationError, match=r"is Jetty 12\.0\.1 .*only 9\.4 is supported"):
        find_jetty(str(home), {})
    with pytest.raises(ConfigurationError, match="no Jetty found"):
        find_jetty("auto", {}, [f"{tmp_path}/none*"])
