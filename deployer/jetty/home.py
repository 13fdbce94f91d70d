"""Finds the Jetty here by reading its files. Source: Jetty 9.4's operations guide (jetty.home), Debian's jetty9."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JETTY_PLACES: tuple[str, ...] = ("/usr/share/jetty9", "/opt/jetty*")
INSTALL_JETTY = "install it (apt-get install jetty9), or set jetty.home or JETTY_HOME to an unpacked Jetty 9.4"
LEAST_JAVA = 8

_SERVER_JAR = re.compile(r"jetty-server-(\d+)\.(\d+)\.(\d+).*\.jar")
_NEEDED = ("server", "http", "deploy", "http-forwarded", "stats")
_OPTIONAL = {"annotations": "annotations", "jsp": "apache-jsp", "jstl": "apache-jstl", "websocket": "websocket"}


@dataclass(frozen=True, slots=True)
class JettyHome:
    """An installed Jetty. modules: those of its modules that a slot uses."""

    path: Path
    version: tuple[int, ...]
    modules: tuple[str, ...]

    def __str__(self) -> str:
        return f"Jetty {'.'.join(map(str, self.version))} in {self.path}"


def find_jetty(home: str, env: Mapping[str, str], places: Iterable[str] = JETTY_PLACES) -> JettyHome:
    """The Jetty at `home`; for "auto" the one that JETTY_HOME names, else the first in `places` (globs).

    Raises ConfigurationError that says what to install or set.
    """
    if home != "auto":
        return _read(Path(home), "jetty.home")
    if named := env.get("JETTY_HOME"):
        return _read(Path(named), "JETTY_HOME")
    looked = list(places)
    for place in looked:
        for found in sorted(Path(place).parent.glob(Path(place).name), reverse=True):
            if (found / "start.jar").exists():
                return _read(found, "found by itself")
    raise ConfigurationError(f"no Jetty found in {', '.join(looked)}", INSTALL_JETTY)


def _read(path: Path, by: str) -> JettyHome:
    path = path.absolute()
    versions = [found.groups() for jar in path.glob("lib/jetty-server-*.jar") if (found := _SERVER_JAR.match(jar.name))]
    if not versions or not (path / "start.jar").is_file():
        raise ConfigurationError(
            f"there is no Jetty in {path} ({by}): start.jar or lib/jetty-server-*.jar is missing", INSTALL_JETTY
        )
    version = tuple(map(int, versions[0]))
    if version[:2] != (9, 4):
        raise ConfigurationError(
            f"{path} is Jetty {'.'.join(map(str, version))} ({by}); only 9.4 is supported", INSTALL_JETTY
        )
    optional = (name for name, lib in _OPTIONAL.items() if (path / "lib" / lib).is_dir())
    return JettyHome(path, version, (*_NEEDED, *optional))
