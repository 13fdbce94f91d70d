"""The servers that switch, and how each is told to. A switch has returned when the server's own tool has."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
from contextlib import closing
from dataclasses import replace
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks.model import OURS, Source
from benchmarks.servers import NGINX, SERVERS, BenchError, Server
from benchmarks.switching.account import Switch

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.processes import Running

PORTS: Final = {"production": 18910, "temp": 18911}
ADMIN_PORT: Final = 18912
WAIT_SECONDS: Final = 60.0
_KNOWN: Final = {server.name: server for server in SERVERS}
_MAP: Final = "slot.map"
_BY_MAP: Final = f"use_backend %[str(active),map(@ROOT@/{_MAP})]"
_BY_STATE: Final = "default_backend slots"


def _peer(of: str, name: str, title: str, port: int, template: str, tuning: str = "") -> Server:
    server = replace(_KNOWN[of], name=name, title=title, port=port, template=template, tuning=tuning)
    return replace(server, serves=(Source.PROXIED,))


SWITCHING: Final = (
    _peer(OURS, OURS, "Switchyard: POST …/switch", 18900, "switching-switchyard.yaml"),
    _peer("nginx", "nginx", "nginx: upstream file, nginx -s reload", 18901, "switching-nginx.conf"),
    _peer("haproxy", "haproxy-map", "HAProxy: set map", 18902, "switching-haproxy.cfg", _BY_MAP),
    _peer("haproxy", "haproxy-state", "HAProxy: set server state", 18903, "switching-haproxy.cfg", _BY_STATE),
)


class Switcher(Protocol):
    """Tells one server to make `new` active. Raises BenchError when it refuses."""

    def switch(self, old: str, new: str) -> Switch: ...


class Ours:
    """The admin API, over one connection that is kept."""

    def __init__(self, port: int, token: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def __repr__(self) -> str:
        return f"<Ours {self._connection.host}:{self._connection.port}>"

    def close(self) -> None:
        self._connection.close()

    def active(self) -> str:
        """The slot that new requests go to."""
        self._connection.request("GET", "/v1/apps/shop", headers=self._headers)
        with self._connection.getresponse() as response:
            answer: str = json.loads(response.read())["active"]
        return answer

    def switch(self, old: str, new: str) -> Switch:
        body = json.dumps({"to": new, "expect_active": old})
        called = monotonic_ns()
        self._connection.request("POST", "/v1/apps/shop/switch", body, self._headers)
        with self._connection.getresponse() as response:
            answer = json.loads(response.read())
        returned = monotonic_ns()
        if response.status != 200 or not answer["drained"]:
            raise BenchError(f"the switch to {new} was answered {response.status}: {answer}")
        return Switch(old, new, called, returned, answer["hold_ms"])


class NginxReload:
    """Swaps the file with the upstream's server, then `nginx -s reload`."""

    def __init__(self, running: Running, site: Path) -> None:
        self._site = site
        values = {"DIR": running.directory, "CONFIG": running.directory / running.server.template}
        self._argv = [_fill(word, values) for word in (*NGINX, "-s", "reload")]
        self._env = os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}

    def __repr__(self) -> str:
        return f"<NginxReload {self._site}>"

    def switch(self, old: str, new: str) -> Switch:
        called = monotonic_ns()
        write_slot(self._site, new)
        done = subprocess.run(
            self._argv, env=self._env, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
        )
        returned = monotonic_ns()
        if done.returncode:
            raise BenchError(f"nginx -s reload ended with {done.returncode}: {done.stderr.strip()}")
        return Switch(old, new, called, returned)


class HaproxyRuntime:
    """Commands to the runtime API's socket, each on a connection of its own, as HAProxy's own tools do."""

    def __init__(self, running: Running, site: Path, *, by_map: bool) -> None:
        self._path = str(running.directory / "admin.sock")
        self._map = site / _MAP
        self._by_map = by_map

    def __repr__(self) -> str:
        return f"<HaproxyRuntime {self._path} {'map' if self._by_map else 'state'}>"

    def switch(self, old: str, new: str) -> Switch:
        called = monotonic_ns()
        if self._by_map:
            self._tell(f"set map {self._map} active {new}")
        else:
            self._tell(f"set server slots/{new} state ready")
            self._tell(f"set server slots/{old} state maint")
        return Switch(old, new, called, monotonic_ns())

    def _tell(self, command: str) -> None:
        with closing(socket.socket(socket.AF_UNIX)) as link:
            link.settimeout(WAIT_SECONDS)
            link.connect(self._path)
            link.sendall(command.encode() + b"\n")
            answer = b""
            while piece := link.recv(4096):
                answer += piece
        if answer.strip():
            raise BenchError(f"HAProxy answered {answer.decode(errors='replace').strip()!r} to {command!r}")


def switcher(running: Running, site: Path) -> Switcher:
    """The way to switch this server."""
    name = running.server.name
    if name == OURS:
        return Ours(ADMIN_PORT)
    if name == "nginx":
        return NginxReload(running, site)
    return HaproxyRuntime(running, site, by_map=name == "haproxy-map")


def write_slot(site: Path, slot: str) -> None:
    """The files that nginx and HAProxy read the active slot from when they start; a reader sees a whole one."""
    for name, text in (("slot.conf", f"server 127.0.0.1:{PORTS[slot]};\n"), (_MAP, f"active {slot}\n")):
        fresh = site / f"{name}.new"
        fresh.write_text(text)
        fresh.replace(site / name)


def choose(names: tuple[str, ...]) -> tuple[Server, ...]:
    """The servers of these names in a fixed order, all when none is named. Raises BenchError for an unknown name."""
    unknown = set(names) - {server.name for server in SWITCHING}
    if unknown:
        raise BenchError(
            f"no server is called {', '.join(sorted(unknown))}",
            f"choose from {', '.join(server.name for server in SWITCHING)}",
        )
    return tuple(server for server in SWITCHING if not names or server.name in names)


def _fill(word: str, values: dict[str, Path]) -> str:
    for name, value in values.items():
        word = word.replace(f"@{name}@", str(value))
    return word
