"""A site of the deployer in a temporary directory: a configuration, a stand-in Tomcat home and Java, WARs, commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CONFIGURATION = """\
app: shop
proxy: {{url: "{proxy}", token_file: token}}
tomcat: {{home: "{home}", java_home: "{java}", stop: 5s}}
slots:
  production: {{http_port: {p0}, cluster_port: {p1}, control_port: {p2}, base: var/production}}
  temp: {{http_port: {p3}, cluster_port: {p4}, control_port: {p5}, base: var/temp}}
sessions: {{timeout: 2s}}
static: {{from_war: ["static/**"], to: var/static}}
switch: {{hold: 2s, drain: 2s}}
health: {{path: /health, timeout: 10s, successes: 1}}
smoke: [{{path: /health, contains: ok}}]
watch: {{for: 300ms}}
{more}
"""


@dataclass
class Deployed:
    """The directory in which the commands run. ports: production's, then temp's: HTTP, cluster, control."""

    directory: Path
    proxy_url: str
    ports: list[int]
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def configure(self, more: str = "", **changes: str) -> None:
        (self.directory / "token").write_text("secret\n")
        values = {"proxy": self.proxy_url, "home": str(self._home()), "java": str(self._java()), **changes}
        ports = {f"p{number}": port for number, port in enumerate(self.ports)}
        (self.directory / "deployer.yaml").write_text(CONFIGURATION.format(**values, **ports, more=more))

    def _home(self) -> Path:
        home = self.directory / "tomcat-home"
        for name in ("bin", "lib", "conf"):
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / "conf" / "web.xml").write_text("<web-app/>")
        with zipfile.ZipFile(home / "lib" / "catalina.jar", "w") as jar:
            jar.writestr("org/apache/catalina/util/ServerInfo.properties", "server.number=10.1.60.0\n")
        zipfile.ZipFile(home / "bin" / "bootstrap.jar", "w").close()
        return home

    def _java(self) -> Path:
        java = self.directory / "java-home"
        (java / "bin").mkdir(parents=True, exist_ok=True)
        (java / "release").write_text('JAVA_VERSION="17.0.1"\n')
        program = java / "bin" / "java"
        # The deployer finds a Tomcat that nobody noted by its program's name; Python finds its library by its own.
        program.write_text(
            f"#!/bin/bash\nPYTHONHOME={sys.base_prefix} exec -a java {os.path.realpath(sys.executable)} "
            f'{HERE / "stand_in_java.py"} "$@"\n'
        )
        program.chmod(0o755)
        return java

    def war(self, version: int, **behaviour: object) -> Path:
        """A WAR whose stand-in behaves so."""
        path = self.directory / f"shop-{version}.war"
        with zipfile.ZipFile(path, "w") as war:
            war.writestr(zipfile.ZipInfo("WEB-INF/web.xml"), '<web-app version="6.0"><distributable/></web-app>')
            war.writestr(zipfile.ZipInfo("behaviour"), json.dumps({"version": version, **behaviour}))
            war.writestr(zipfile.ZipInfo(f"static/app.{version}.css"), f"/* {version} */")
        return path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "deployer", *arguments]

    def run(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env={**self.environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command that runs beside the test; it is dead afterwards."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env={**self.environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return document

    def contents(self) -> set[str]:
        """Every file, but for the stand-ins'."""
        files = (str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file())
        return {name for name in files if not name.startswith(("tomcat-home", "java-home"))}

    def stop_all(self) -> None:
        """Ends the stand-ins that still run, also those that a killed deployer had no time to note."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_text()
            except OSError:
                continue
            if f"-Dcatalina.base={self.directory}/" in command:
                with suppress(ProcessLookupError):
                    os.kill(int(entry.name), signal.SIGKILL)


def events(output: str) -> list[dict[str, Any]]:
    """The JSON lines of a command."""
    return [json.loads(line) for line in output.splitlines()]
