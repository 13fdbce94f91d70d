"""The demo's site: its files below one directory, the proxy, and the deployer's commands."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
START_SECONDS = 20.0
STOP_SECONDS = 40.0


class DemoError(Exception):
    """The demo can't go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The usual ports where they are free, others where not."""

    public: int
    admin: int
    production: int
    temp: int
    production_control: int
    temp_control: int
    production_cluster: int
    temp_cluster: int

    @classmethod
    def choose(cls) -> Ports:
        taken: set[int] = set()
        return cls(*(_free_port(wanted, taken) for wanted in (8080, 9900, 8081, 8082, 8091, 8092, 4101, 4102)))


def _free_port(wanted: int, taken: set[int]) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            if found not in taken:
                taken.add(found)
                return found
    return _free_port(0, taken)


class Site:
    """One proxy and two Tomcats in `directory`. Use `with`: at its end all is stopped, unless `keep` was called."""

    def __init__(self, directory: Path, ports: Ports) -> None:
        self.directory = directory
        self.ports = ports
        self.public_url = f"http://127.0.0.1:{ports.public}"
        self.admin_url = f"http://127.0.0.1:{ports.admin}"
        self._proxy: subprocess.Popen[bytes] | None = None
        self._keep = False

    def __repr__(self) -> str:
        return f"<Site {self.directory} public={self.ports.public}>"

    @staticmethod
    def stop(directory: Path) -> None:
        """Stops what a demo left running in the directory."""
        if (directory / "deployer.yaml").exists():
            _stop_all(directory)

    @classmethod
    def fresh(cls, directory: Path) -> Site:
        """An empty directory; what an earlier demo left running in it is stopped first."""
        cls.stop(directory)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return cls(directory, Ports.choose())

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._keep:
            self.stop(self.directory)
            if self._proxy is not None:
                self._proxy.wait(STOP_SECONDS)

    def keep(self) -> None:
        """The site outlives the demo."""
        self._keep = True

    def configure(self, strategy: str, watch_seconds: int) -> None:
        """Writes proxy.yaml and deployer.yaml, with absolute paths, so that the commands work from anywhere."""
        here, ports = str(self.directory), self.ports
        static = f"{here}/static"
        Path(static).mkdir()
        proxy = {
            "listen": [self.public_url],
            "admin": {"listen": self.admin_url, "token_file": f"{here}/admin.token"},
            "state_dir": f"{here}/proxy",
            "access_log": {"path": f"{here}/access.log"},
            "apps": {
                "shop": {
                    "slots": {
                        "production": {"backends": [f"127.0.0.1:{ports.production}"]},
                        "temp": {"backends": [f"127.0.0.1:{ports.temp}"]},
                    },
                    "static": {"prefix": "/static/", "root": static},
                }
            },
        }
        deployer = {
            "app": "shop",
            "proxy": {"url": self.admin_url, "token_file": f"{here}/admin.token", "public_url": self.public_url},
            "tomcat": {"jvm": "-Xmx256m"},
            "state_dir": f"{here}/deployer",
            "slots": {
                "production": {
                    "http_port": ports.production,
                    "control_port": ports.production_control,
                    "cluster_port": ports.production_cluster,
                    "base": f"{here}/tomcat/production",
                },
                "temp": {
                    "http_port": ports.temp,
                    "control_port": ports.temp_control,
                    "cluster_port": ports.temp_cluster,
                    "base": f"{here}/tomcat/temp",
                },
            },
            "releases": {"dir": f"{here}/releases"},
            "static": {"from_war": ["static/**"], "to": static},
            "strategy": strategy,
            "smoke": [{"path": "/health", "contains": "ok"}, {"path": "/", "contains": "shop"}],
            "warmup": {"requests": 200, "paths": ["/", "/cart", "/whoami"]},
            "watch": {"for": f"{watch_seconds}s", "max_error_ratio": 0.02, "max_p99": "5s"},
        }
        for name, settings in (("proxy", proxy), ("deployer", deployer)):
            (self.directory / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))

    def build(self, version: int) -> Path:
        """Builds the shop's WAR. Raises DemoError with the build's own words."""
        war = self.directory / f"shop-{version}.war"
        argv = [sys.executable, str(REPOSITORY / "benchmarks/shop/build"), "--version", str(version), "--out", str(war)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False)
        if result.returncode:
            raise DemoError(result.stderr.strip() or result.stdout.strip())
        return war

    def start_proxy(self) -> None:
        """Starts `proxy run` and waits until it answers. Raises DemoError with its last lines."""
        log = self.directory / "proxy.log"
        with log.open("ab") as out:
            self._proxy = subprocess.Popen(
                [str(BIN / "proxy"), "run", "-c", str(self.directory / "proxy.yaml")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._proxy.poll() is None:
            if _status_of(self.ports.admin, "/healthz") == 200:
                return
            time.sleep(0.1)
        last = log.read_text(errors="replace").splitlines()[-10:]
        raise DemoError("the proxy does not start; its last lines:\n" + "\n".join(last))

    def release(self, war: Path, message: str, told: Callable[[dict[str, Any]], object]) -> int:
        """Runs `deployer release` and hands each event to `told`; returns the exit code."""
        argv = self._deployer("release", str(war), "--yes", "--json", "--message", message)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for event in _objects(process.stdout):
                told(event)
        return process.returncode

    def _deployer(self, *words: str) -> list[str]:
        return _deployer(self.directory, *words)


def _objects(lines: IO[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        found = json.loads(line)
        if isinstance(found, dict):
            yield found


def _deployer(directory: Path, *words: str) -> list[str]:
    command, *rest = words
    return [str(BIN / "deployer"), command, "-c", str(directory / "deployer.yaml"), *rest]


def _stop_all(directory: Path) -> None:
    """Stops the Tomcats and the proxy of a demo; what does not run is left alone."""
    for slot in ("temp", "production"):
        argv = _deployer(directory, "stop", slot, "--force", "--accept-session-loss")
        subprocess.run(argv, capture_output=True, timeout=STOP_SECONDS * 2, check=False)
    argv = [str(BIN / "proxy"), "stop", "-c", str(directory / "proxy.yaml")]
    subprocess.run(argv, capture_output=True, timeout=STOP_SECONDS * 2, check=False)


def _status_of(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
