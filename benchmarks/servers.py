"""The servers under test as data: commands and configuration texts. Nothing is started here."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.model import OURS, Source, Work
from proxy.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATES = Path(__file__).parent / "peers"
BACKEND_PORT = 18500
SECOND_BACKEND_PORT = 18501
ADMIN_PORT = 18502
SINK_PORT = 18503
PLACEHOLDER = re.compile(r"@([A-Z0-9_]+)@")

OPEN_FILE_CACHE = (
    "open_file_cache max=1000 inactive=60s; open_file_cache_valid 30s; proxy_buffers 16 64k; proxy_buffer_size 64k;"
)


class BenchError(OperatorError):
    """The benchmark can't go on; the message says which server or tool, the advice what to do."""


def render(text: str, values: Mapping[str, str | int | Path]) -> str:
    """Fills the `@NAME@` places of a template. Raises BenchError naming a place that has no value."""

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise BenchError(f"a template names @{match[1]}@, and there is no such value")
        return str(values[match[1]])

    return PLACEHOLDER.sub(fill, text)


@dataclass(frozen=True, slots=True)
class Server:
    """One server under test. `argv`, `env` and the template hold `@NAME@` places, filled when it is started.

    `serves` are the sources it can serve; `tuning` goes into its template, and `log_options` behind the name of its
    log there; `works` are the only ones that it takes part in, empty for all; `log_to_stdout` means that its access log
    is what it prints; `version` is a command that prints its version.
    """

    name: str
    title: str
    port: int
    argv: tuple[str, ...]
    version: tuple[str, ...]
    template: str = ""
    tuning: str = ""
    log_options: str = ""
    serves: tuple[Source, ...] = (Source.PROXIED, Source.STATIC)
    env: Mapping[str, str] = field(default_factory=dict)
    max_workers: int = 64
    works: tuple[str, ...] = ()
    log_to_stdout: bool = False

    def takes(self, work: Work) -> bool:
        """Whether this server can do this work, and the work tells something about it."""
        if work.source not in self.serves or work.workers > self.max_workers:
            return False
        return not self.works or work.name in self.works


NGINX = ("nginx", "-e", "stderr", "-p", "@DIR@", "-c", "@CONFIG@")

SERVERS = (
    Server(
        name=OURS,
        title="Switchyard",
        port=18510,
        argv=(sys.executable, "-m", "proxy", "run", "-c", "@CONFIG@"),
        version=(sys.executable, "-c", "import importlib.metadata as m; print(m.version('switchyard'))"),
        template="switchyard.yaml",
    ),
    Server(
        name="nginx",
        title="nginx, as installed",
        port=18511,
        argv=NGINX,
        version=("nginx", "-v"),
        template="nginx.conf",
    ),
    Server(
        name="nginx-tuned",
        title="nginx, open_file_cache and large buffers",
        port=18512,
        argv=NGINX,
        version=("nginx", "-v"),
        template="nginx.conf",
        tuning=OPEN_FILE_CACHE,
        works=("static-10k", "proxied-1m", "static-1m", "proxied-100m", "static-100m"),
    ),
    Server(
        name="nginx-buffered",
        title="nginx tuned, with a buffered log",
        port=18509,
        argv=NGINX,
        version=("nginx", "-v"),
        template="nginx.conf",
        tuning=OPEN_FILE_CACHE,
        log_options=" buffer=64k flush=1s",
        works=("proxied-1k", "static-10k"),
    ),
    Server(
        name="haproxy",
        title="HAProxy",
        port=18513,
        argv=("haproxy", "-db", "-f", "@CONFIG@"),
        version=("haproxy", "-v"),
        template="haproxy.cfg",
        serves=(Source.PROXIED,),
        log_to_stdout=True,
    ),
    Server(
        name="caddy",
        title="Caddy",
        port=18514,
        argv=("caddy", "run", "--adapter", "caddyfile", "--config", "@CONFIG@"),
        version=("caddy", "version"),
        template="Caddyfile",
        env={"GOMAXPROCS": "@WORKERS@", "HOME": "@DIR@", "XDG_CONFIG_HOME": "@DIR@", "XDG_DATA_HOME": "@DIR@"},
    ),
    Server(
        name="aiohttp",
        title="a plain aiohttp proxy",
        port=18515,
        argv=(
            *(sys.executable, "-m", "benchmarks.peers.aiohttp_proxy", "--port", "@PORT@", "--log", "@LOG@"),
            *("--backend", "http://127.0.0.1:@BACKEND_PORT@", "--static-root", "@STATIC_ROOT@"),
        ),
        version=(sys.executable, "-c", "import aiohttp; print(aiohttp.__version__)"),
        max_workers=1,
    ),
)

BACKEND = Server(
    name="backend",
    title="the backend",
    port=BACKEND_PORT,
    argv=NGINX,
    version=("nginx", "-v"),
    template="backend.conf",
)


def choose(names: tuple[str, ...]) -> tuple[Server, ...]:
    """The servers of these names, all when none is named. Raises BenchError for an unknown name."""
    known = {server.name: server for server in SERVERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"no server is called {', '.join(unknown)}", f"choose from {', '.join(known)}")
    return tuple(server for server in SERVERS if not names or server.name in names)
