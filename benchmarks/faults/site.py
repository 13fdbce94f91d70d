"""The site that is hurt: the demo's proxy and Tomcats, and what an operator and systemd do to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from benchmarks.demo.site import BIN, DemoError, Site

if TYPE_CHECKING:
    from benchmarks.demo.site import Ports

COMMAND_SECONDS: Final = 150.0
START_SECONDS: Final = 30.0
RESTART_SECONDS: Final = 0.1
"""As RestartSec in the unit of `proxy systemd`."""
SLOTS: Final = ("production", "temp")


class FaultSite:
    """Two workers, two Tomcats with replicated sessions, and the shop in two versions. Use `with`."""

    def __init__(self, directory: Path, ports: Ports, watch: int) -> None:
        self.directory = directory
        self.ports = ports
        self._site = Site(directory, ports)
        self._watch = watch
        self._proxy: subprocess.Popen[bytes] | None = None
        self.wars: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        return f"<FaultSite {self.directory} public={self.ports.public}>"

    def __enter__(self) -> FaultSite:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._configure()
            self.wars = tuple(self._site.build(version) for version in (1, 2))
            self.start_supervisor()
            self.must("release", str(self.wars[0]), "--yes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        Site.stop(self.directory)
        if self._proxy is not None:
            # `proxy stop` has ended it, unless the commands themselves are broken.
            self._proxy.terminate()
            try:
                self._proxy.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self._proxy.kill()
                self._proxy.wait()
        for slot in SLOTS:
            self.kill_tomcat(slot)

    def _configure(self) -> None:
        self._site.configure("return", self._watch)
        self._change("proxy.yaml", {"workers": 2, "timeouts": {"upstream_idle": "1s"}})
        # Quick starts, no JSP to compile, and patience on a busy machine: the faults are what is to fail here.
        changes = {
            "tomcat": {"jvm": "-Xmx128m -XX:TieredStopAtLevel=1"},
            "health": {"path": "/health", "timeout": "90s", "successes": 2},
            "smoke": [{"path": path, "max_time": "40s"} for path in ("/health", "/whoami")],
            "sessions": {"timeout": "15s"},
            "warmup": {"requests": 60, "paths": ["/health", "/whoami"], "timeout": "40s"},
        }
        self._change("deployer.yaml", changes)

    def _change(self, name: str, changes: dict[str, Any]) -> None:
        path = self.directory / name
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes, sort_keys=False))

    # --- what people type ------------------------------------------------------------------------------------

    def command(self, *words: str) -> list[str]:
        """`deployer WORDS` for this site."""
        first, *rest = words
        return [str(BIN / "deployer"), first, "-c", str(self.directory / "deployer.yaml"), *rest]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command of the deployer, to its end."""
        return subprocess.run(
            self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS,
            check=False,
        )  # fmt: skip

    def must(self, *words: str) -> None:
        """As `run`. Raises DemoError with its last words when it fails."""
        done = self.run(*words)
        if done.returncode:
            raise DemoError(f"deployer {' '.join(words)} ended with {done.returncode}: {last_words(done)}")

    def status(self) -> dict[str, Any]:
        """`deployer status`. Raises DemoError."""
        done = self.run("status", "--json")
        try:
            found = json.loads(done.stdout)
        except ValueError as error:
            raise DemoError(f"deployer status says {last_words(done)}") from error
        return dict(found)

    # --- what is ---------------------------------------------------------------------------------------------

    def active(self) -> str:
        """The slot that new requests go to now. Raises DemoError when the proxy can't be asked."""
        connection = HTTPConnection("127.0.0.1", self.ports.admin, timeout=5)
        try:
            token = (self.directory / "admin.token").read_text().strip()
            connection.request("GET", "/v1/apps/shop", headers={"Authorization": f"Bearer {token}"})
            return str(json.loads(connection.getresponse().read())["active"])
        except (OSError, HTTPException, ValueError, KeyError) as error:
            raise DemoError(f"the proxy does not say which slot is active: {error}") from error
        finally:
            connection.close()

    def accepts(self, slot: str) -> bool:
        """Whether the slot's Tomcat takes requests: its port opens when its application and its sessions are there."""
        connection = HTTPConnection("127.0.0.1", self._port(slot), timeout=2)
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def _port(self, slot: str) -> int:
        return self.ports.production if slot == "production" else self.ports.temp

    def tomcat_pid(self, slot: str) -> int | None:
        """The process that runs the slot; None when there is none."""
        wanted = f"-Dcatalina.base={self.directory}/tomcat/{slot}\0".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if wanted in (entry / "cmdline").read_bytes():
                    return int(entry.name)
        return None

    @property
    def access_log(self) -> Path:
        return self.directory / "access.log"

    # --- faults, and systemd ---------------------------------------------------------------------------------

    def kill_tomcat(self, slot: str) -> bool:
        """SIGKILL; False when it does not run."""
        pid = self.tomcat_pid(slot)
        if pid is None:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    def kill_supervisor(self) -> None:
        """SIGKILL to the supervisor; its workers are left alone."""
        assert self._proxy is not None
        self._proxy.kill()
        self._proxy.wait(START_SECONDS)

    def supervisor_lives(self) -> bool:
        return self._proxy is not None and self._proxy.poll() is None

    def start_supervisor(self) -> None:
        """`proxy run`, until the admin API answers. Raises DemoError with its last lines."""
        log = self.directory / "proxy.log"
        with log.open("ab") as out:
            self._proxy = subprocess.Popen(
                [str(BIN / "proxy"), "run", "-c", str(self.directory / "proxy.yaml")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._proxy.poll() is None:
            with suppress(DemoError):
                self.active()
                return
            time.sleep(0.05)
        raise DemoError("the proxy does not start:\n" + log.read_text(errors="replace")[-2000:])


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The end of what a command said."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return " / ".join(lines[-3:])
