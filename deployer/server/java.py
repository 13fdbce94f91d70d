"""Finds the Java here by reading files; only a JVM that hides its version is started.

Sources: JAVA_HOME, a JDK's `release` file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

JAVA_PLACES: tuple[str, ...] = ("/usr/lib/jvm/default-java", "/usr/lib/jvm/*")
INSTALL_JAVA = "install one (apt-get install default-jdk-headless), or set java_home or JAVA_HOME"

_COLLECTOR = re.compile(r"-XX:\+Use\w*GC$")


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime. path: the `java` program. version: its feature release, such as 8, 17 or 21."""

    path: Path
    version: int

    def __str__(self) -> str:
        return f"Java {self.version} ({self.path})"


def memory_options(jvm: Sequence[str]) -> list[str]:
    """A slot's own options, which the operator's, coming after them, override."""
    collector = [] if any(_COLLECTOR.match(option) for option in jvm) else ["-XX:+UseSerialGC"]
    return ["-Xms32m", "-Xmx256m", *collector, *jvm]


def find_java(
    java_home: str, env: Mapping[str, str], at_least: int = 8, places: Iterable[str] = JAVA_PLACES, key: str = "tomcat"
) -> Java:
    """The Java at `java_home`; for "auto" that of JAVA_HOME, else `java` on PATH, else one in `places`.

    key: the kind's settings in deployer.yaml.
    A named Java older than `at_least` is an error; one that was only come upon is passed over.
    Raises ConfigurationError that says what to install or set.
    """
    named, by = (java_home, f"{key}.java_home") if java_home != "auto" else (env.get("JAVA_HOME", ""), "JAVA_HOME")
    if named:
        java = _read_java(Path(named) / "bin" / "java", by)
        if java.version < at_least:
            raise ConfigurationError(
                f"{by} is Java {java.version} ({named}), and {key} needs Java {at_least} or newer",
                INSTALL_JAVA,
            )
        return java
    on_path = shutil.which("java", path=env.get("PATH", ""))
    seen = [_read_java(Path(on_path).resolve(), "PATH")] if on_path else []
    if not any(java.version >= at_least for java in seen):
        programs = [found / "bin" / "java" for found in globbed(places)]
        seen += [_read_java(program, "found by itself") for program in programs if program.exists()]
    for java in seen:
        if java.version >= at_least:
            return java
    if seen:
        best = max(java.version for java in seen)
        raise ConfigurationError(f"the newest Java found is {best}, and {key} needs {at_least}", INSTALL_JAVA)
    raise ConfigurationError("no Java found", INSTALL_JAVA)


def globbed(places: Iterable[str]) -> Iterable[Path]:
    """The paths that match, the newest version of each pattern first."""
    for place in places:
        parent = Path(place).parent
        yield from sorted(parent.glob(Path(place).name), reverse=True)


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
