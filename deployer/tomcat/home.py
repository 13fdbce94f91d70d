"""Finds the Tomcat here by reading its files. Sources: Tomcat's RUNNING.txt (CATALINA_HOME), Debian's tomcat10."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import ConfigurationError
from deployer.server.java import globbed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOMCAT_PLACES: tuple[str, ...] = (
    "/usr/share/tomcat10",
    "/usr/share/tomcat9",
    "/opt/tomcat*",
    "/opt/apache-tomcat*",
)
INSTALL_TOMCAT = (
    "install it (apt-get install tomcat10), or set tomcat.home or CATALINA_HOME to an unpacked Apache Tomcat"
)

_SERVER_INFO = "org/apache/catalina/util/ServerInfo.properties"
_OLDEST = (9, 0)


@dataclass(frozen=True, slots=True)
class TomcatHome:
    """An installed Tomcat. `web_xml` is its default web.xml: in conf/ upstream, in etc/ on Debian."""

    path: Path
    version: tuple[int, ...]
    lib_jars: tuple[Path, ...]
    web_xml: Path

    @property
    def major(self) -> int:
        """9, 10 or 11."""
        return self.version[0]

    @property
    def least_java(self) -> int:
        """The oldest Java that runs it (tomcat.apache.org, Which Version?): 9.0 needs 8, 10.1 11, 11.0 17."""
        if self.version < (10, 1):
            return 8
        return 11 if self.major == 10 else 17

    def __str__(self) -> str:
        return f"Tomcat {'.'.join(map(str, self.version))} in {self.path}"


def find_tomcat(home: str, env: Mapping[str, str], places: Iterable[str] = TOMCAT_PLACES) -> TomcatHome:
    """The Tomcat at `home`; for "auto" the one that CATALINA_HOME names, else the first in `places` (globs).

    Raises ConfigurationError that says what to install or set.
    """
    if home != "auto":
        return _read_home(Path(home), "tomcat.home")
    if named := env.get("CATALINA_HOME"):
        return _read_home(Path(named), "CATALINA_HOME")
    looked = list(places)
    for found in globbed(looked):
        if (found / "bin" / "bootstrap.jar").exists():
            return _read_home(found, "found by itself")
    raise ConfigurationError(f"no Tomcat found in {', '.join(looked)}", INSTALL_TOMCAT)


def _read_home(path: Path, by: str) -> TomcatHome:
    path = path.absolute()
    jar = path / "lib" / "catalina.jar"
    if not jar.is_file() or not (path / "bin" / "bootstrap.jar").is_file():
        raise ConfigurationError(
            f"there is no Tomcat in {path} ({by}): bin/bootstrap.jar or lib/catalina.jar is missing",
            INSTALL_TOMCAT,
        )
    version = _server_number(jar)
    if version < _OLDEST or version[:2] == (10, 0):
        raise ConfigurationError(
            f"{path} is Tomcat {'.'.join(map(str, version))} ({by}); 9.0, 10.1 and 11.0 are supported",
            INSTALL_TOMCAT,
        )
    for web_xml in (path / "conf" / "web.xml", path / "etc" / "web.xml"):
        if web_xml.is_file():
            return TomcatHome(path, version, tuple(sorted((path / "lib").glob("*.jar"))), web_xml)
    raise ConfigurationError(f"{path} has no conf/web.xml and no etc/web.xml", INSTALL_TOMCAT)


def _server_number(jar: Path) -> tuple[int, ...]:
    try:
        with zipfile.ZipFile(jar) as archive:
            text = archive.read(_SERVER_INFO).decode("latin-1")
    except (OSError, KeyError, zipfile.BadZipFile) as why:
        raise ConfigurationError(f"cannot read Tomcat's version from {jar}: {why}", INSTALL_TOMCAT) from why
    match = re.search(r"^server\.number\s*=\s*(\d+)\.(\d+)\.(\d+)", text, re.MULTILINE)
    if match is None:
        raise ConfigurationError(f"{jar} does not name its version ({_SERVER_INFO})", INSTALL_TOMCAT)
    return tuple(int(part) for part in match.groups())
