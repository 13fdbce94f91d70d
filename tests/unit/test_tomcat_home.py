"""Which Tomcat and which Java are taken, and what is said when there is none."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from deployer.errors import ConfigurationError
from deployer.server.java import find_java
from deployer.tomcat.home import find_tomcat

if TYPE_CHECKING:
    from pathlib import Path


def make_tomcat(path: Path, number: str, web_xml: str = "conf/web.xml") -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "lib").mkdir()
    (path / "bin" / "bootstrap.jar").touch()
    (path / web_xml).parent.mkdir()
    (path / web_xml).write_text("<web-app/>")
    with zipfile.ZipFile(path / "lib" / "catalina.jar", "w") as jar:
        text = f"server.info=Apache Tomcat/{number}\nserver.number={number}.0\n"
        jar.writestr("org/apache/catalina/util/ServerInfo.properties", text)
    return path


def make_java(path: Path, version: str) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    (path / "bin" / "java").chmod(0o755)
    (path / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return path


def test_a_given_home_counts_more_than_the_environment(tmp_path: Path) -> None:
    given, other = make_tomcat(tmp_path / "a", "11.0.5"), make_tomcat(tmp_path / "b", "9.0.90")
    home = find_tomcat(str(given), {"CATALINA_HOME": str(other)})
    assert (home.path, home.version, home.major, home.least_java) == (given, (11, 0, 5), 11, 17)
    assert find_tomcat("auto", {"CATALINA_HOME": str(other)}).least_java == 8


def test_debians_layout_is_known(tmp_path: Path) -> None:
    path = make_tomcat(tmp_path / "tomcat10", "10.1.60", "etc/web.xml")
    home = find_tomcat("auto", {}, [str(tmp_path / "none"), str(tmp_path / "tomcat*")])
    assert home.web_xml == path / "etc" / "web.xml"
    assert home.least_java == 11
    assert [jar.name for jar in home.lib_jars] == ["catalina.jar"]


def test_no_tomcat_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no Tomcat found") as error:
        find_tomcat("auto", {}, [str(tmp_path / "tomcat*")])
    assert "apt-get install tomcat10" in error.value.advice
    assert "CATALINA_HOME" in error.value.advice


def test_a_wrong_home_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CATALINA_HOME"):
        find_tomcat("auto", {"CATALINA_HOME": str(tmp_path)})


@pytest.mark.parametrize("number", ["8.5.99", "10.0.27"])
def test_a_tomcat_that_is_not_supported_is_refused(tmp_path: Path, number: str) -> None:
    with pytest.raises(ConfigurationError, match=number):
        find_tomcat(str(make_tomcat(tmp_path / "t", number)), {})


def test_a_damaged_catalina_jar_is_an_error(tmp_path: Path) -> None:
    path = make_tomcat(tmp_path / "t", "10.1.0")
    (path / "lib" / "catalina.jar").write_bytes(b"no zip")
    with pytest.raises(ConfigurationError, match="cannot read Tomcat's version"):
        find_tomcat(str(path), {})


def test_java_home_counts_more_than_path(tmp_path: Path) -> None:
    named, on_path = make_java(tmp_path / "named", "21.0.2"), make_java(tmp_path / "path", "17.0.15")
    env = {"JAVA_HOME": str(named), "PATH": str(on_path / "bin")}
    assert find_java("auto", env).version == 21
    assert find_java("auto", {"PATH": env["PATH"]}).version == 17
    assert find_java(str(on_path), env).version == 17


def test_an_old_java_that_was_come_upon_is_passed_over(tmp_path: Path) -> None:
    old = make_java(tmp_path / "old", "1.8.0_402")
    make_java(tmp_path / "jvm" / "new", "17.0.1")
    env = {"PATH": str(old / "bin")}
    assert find_java("auto", env, 11, [str(tmp_path / "jvm" / "*")]).version == 17
    with pytest.raises(ConfigurationError, match="newest Java found is 8"):
        find_java("auto", env, 11, [])


def test_an_old_java_that_was_named_is_an_error(tmp_path: Path) -> None:
    old = make_java(tmp_path / "old", "1.8.0_402")
    with pytest.raises(ConfigurationError, match="JAVA_HOME is Java 8"):
        find_java("auto", {"JAVA_HOME": str(old)}, 11)


def test_a_jvm_without_a_release_file_is_asked(tmp_path: Path) -> None:
    java = make_java(tmp_path / "j", "1")
    (java / "release").unlink()
    (java / "bin" / "java").write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019' >&2\n")
    assert find_java(str(java), {}).version == 11


def test_a_broken_jvm_is_an_error(tmp_path: Path) -> None:
    java = make_java(tmp_path / "j", "1")
    (java / "release").unlink()
    with pytest.raises(ConfigurationError, match="does not tell its version"):
        find_java(str(java), {})


def test_no_java_says_what_to_install() -> None:
    with pytest.raises(ConfigurationError, match="no Java found") as error:
        find_java("auto", {"PATH": ""}, 11, [])
    assert "JAVA_HOME" in error.value.advice
