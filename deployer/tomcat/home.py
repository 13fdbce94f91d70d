"""Finds the Tomcat and the Java here by reading files; only a JVM that hides its version is started.

Sources: Tomcat's RUNNING.txt (CATALINA_HOME, JAVA_HOME), Debian's tomcat10 package, a JDK's `release` file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOMCAT_PLACES: tuple[str, ...] = (
    "/usr/share/tomcat10",
    "/usr/share/tomcat9",
    "/opt/tomcat*",
    "/opt/apache-tomcat*",
)
JAVA_PLACES: tuple[str, ...] = ("/usr/lib/jvm/default-java", "/usr/lib/jvm/*")
INSTALL_TOMCAT = (
    "install it (apt-get install tomcat10), or set tomcat.home or CATALINA_HOME to an unpacked Apache Tomcat"
)
INSTALL_JAVA = "install one (apt-get install default-jdk-headless), or set tomcat.java_home or JAVA_HOME"

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


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime. path: the `java` program. version: its feature release, such as 8, 17 or 21."""

    path: Path
    version: int

    def __str__(self) -> str:
        return f"Java {self.version} ({self.path})"


def find_tomcat(home: str, env: Mapping[str, str], places: Iterable[str] = TOMCAT_PLACES) -> TomcatHome:
    """The Tomcat at `home`; for "auto" the one that CATALINA_HOME names, else the first in `places` (globs).

    Raises ConfigurationError that says what to install or set.
    """
    if home != "auto":
        return _read_home(Path(home), "tomcat.home")
    if named := env.get("CATALINA_HOME"):
        return _read_home(Path(named), "CATALINA_HOME")
    looked = list(places)
    for found in _globbed(looked):
        if (found / "bin" / "bootstrap.jar").exists():
            return _read_home(found, "found by itself")
    raise ConfigurationError(f"no Tomcat found in {', '.join(looked)}", INSTALL_TOMCAT)


def find_java(java_home: str, env: Mapping[str, str], at_least: int = 8, places: Iterable[str] = JAVA_PLACES) -> Java:
    """The Java at `java_home`; for "auto" that of JAVA_HOME, else `java` on PATH, else one in `places`.

    A named Java older than `at_least` is an error; one that was only come upon is passed over.
    Raises ConfigurationError that says what to install or set.
    """
    named, by = (java_home, "tomcat.java_home") if java_home != "auto" else (env.get("JAVA_HOME", ""), "JAVA_HOME")
    if named:
        java = _read_java(Path(named) / "bin" / "java", by)
        if java.version < at_least:
            raise ConfigurationError(
                f"{by} is Java {java.version} ({named}), and this Tomcat needs Java {at_least} or newer",
                INSTALL_JAVA,
            )
        return java
    on_path = shutil.which("java", path=env.get("PATH", ""))
    seen = [_read_java(Path(on_path).resolve(), "PATH")] if on_path else []
    if not any(java.version >= at_least for java in seen):
        programs = [found / "bin" / "java" for found in _globbed(places)]
        seen += [_read_java(program, "found by itself") for program in programs if program.exists()]
    for java in seen:
        if java.version >= at_least:
            return java
    if seen:
        best = max(java.version for java in seen)
        raise ConfigurationError(f"the newest Java found is {best}, and this Tomcat needs {at_least}", INSTALL_JAVA)
    raise ConfigurationError("no Java found", INSTALL_JAVA)


def _globbed(places: Iterable[str]) -> Iterable[Path]:
    for place in places:
        parent = Path(place).parent
        yield from sorted(parent.glob(Path(place).name), reverse=True)


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


def _read_java(program: Path, by: str) -> Java:
    if not program.is_file():
        raise ConfigurationError(f"there is no Java at {program} ({by})", INSTALL_JAVA)
    version = _release_file_version(program.parent.parent / "release") or _asked_version(program)
    if version is None:
        raise ConfigurationError(f"{program} ({by}) does not tell its version: it may be broken", INSTALL_JAVA)
    return Java(program, version)


def _release_file_version(release: Path) -> int | None:
    try:
        text = release.read_text("utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)
    return _feature_release(match.group(1)) if match else None


def _asked_version(program: Path) -> int | None:
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "([^"]+)"', done.stderr)
    return _feature_release(match.group(1)) if match else None


def _feature_release(version: str) -> int | None:
    """Java 8 calls itself 1.8.0_402, later ones 17.0.15 (JEP 223, JEP 322)."""
    match = re.match(r"(?:1\.)?(\d+)", version)
    return int(match.group(1)) if match else None
