"""A Jetty slot's files and its java command, as text. Pure.

Sources: Jetty 9.4's operations guide (start.d, the modules deploy, stats and http-forwarded); what is said of starts
and stops was tried with Debian's jetty9.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.server.files import Tree
from deployer.server.java import memory_options
from deployer.server.throwables import causes, without_repeats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployer.jetty.home import JettyHome
    from deployer.server.java import Java

JETTY_USER = "jetty"
"""Who runs Jetty when the deployer is root (Debian's package makes this user)."""

RELEASE_FILE = "app.war"
EMPTIED = (("app", "*"), ("work", "*"))

# idleTimeout is longer than the proxy's idle time, so that the proxy always closes first.
# stopTimeout with the module stats: requests in flight end before the JVM does; new connections are refused.
# The connector opens after the application has started.
_SETTINGS = """\
{modules}
jetty.http.host={host}
jetty.http.port={port}
jetty.http.idleTimeout=75000
jetty.httpConfig.requestHeaderSize=32768
jetty.httpConfig.sendServerVersion=false
jetty.deploy.scanInterval=0
jetty.server.stopAtShutdown=true
jetty.server.stopTimeout={stop}
"""

# throwUnavailableOnStartupException: an application that does not start ends the JVM, where the default serves 503.
_CONTEXT = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE Configure PUBLIC "-//Jetty//Configure//EN" "http://www.eclipse.org/jetty/configure_9_3.dtd">
<Configure class="org.eclipse.jetty.webapp.WebAppContext">
  <Set name="contextPath">{context}</Set>
  <Set name="war">{war}</Set>
  <Set name="extractWAR">true</Set>
  <Set name="throwUnavailableOnStartupException">true</Set>
</Configure>
"""

_PLAIN = (
    ("java.net.BindException", "a port is taken by another process"),
    ("java.lang.OutOfMemoryError", "the JVM ran out of memory: raise -Xmx in jetty.jvm"),
    ("java.lang.UnsupportedClassVersionError", "a class needs a newer Java than the slot has"),
    ("Failed startup of context", "the application did not start"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JettySpec:
    """What one slot's Jetty shall be. base: jetty.base, absolute. graceful_stop: seconds for requests in flight."""

    name: str
    base: Path
    http_port: int
    context: str = ""
    jvm: tuple[str, ...] = ()
    graceful_stop: float = 20.0
    host: str = "127.0.0.1"

    @property
    def log_file(self) -> Path:
        """Gets stdout and stderr."""
        return self.base / "logs" / "jetty.log"


def tree(spec: JettySpec, home: JettyHome) -> Tree:
    """The base's directories and generated files."""
    settings = _SETTINGS.format(
        modules="\n".join(f"--module={name}" for name in home.modules),
        host=spec.host,
        port=spec.http_port,
        stop=round(spec.graceful_stop * 1000),
    )
    context = _CONTEXT.format(
        context=html.escape(spec.context or "/"), war=html.escape(str(spec.base / "app" / RELEASE_FILE))
    )
    files = {"start.d/slot.ini": (settings.encode(), 0o640), "webapps/app.xml": (context.encode(), 0o640)}
    return Tree(read=("start.d", "webapps", "app"), written=("logs", "work"), files=files)


def java_command(spec: JettySpec, home: JettyHome, java: Java) -> list[str]:
    """The command that starts the slot in the foreground."""
    return [
        str(java.path),
        *memory_options(spec.jvm),
        "-Djava.awt.headless=true",
        base_argument(spec.base),
        f"-Djava.io.tmpdir={spec.base}/work",
        "-jar",
        f"{home.path}/start.jar",
        f"jetty.home={home.path}",
        f"jetty.base={spec.base}",
    ]


def base_argument(base: Path) -> str:
    """The argument by which a slot's process is known among all others."""
    return f"-Djetty.base={base}"


def explain(lines: Sequence[str]) -> str:
    """Why it did not start, in plain words with the log's own causes; "" when the log does not tell."""
    found = without_repeats(causes(lines))
    plain = next((words for sign, words in _PLAIN if any(sign in line for line in lines)), "")
    if not found and not plain:
        return ""
    return "\n".join([plain or "Jetty logged an exception", *(f"    {cause}" for cause in found)])
