"""The proxy's admin API for one app, as far as the deployer calls it; in a thread of the test, on loopback."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeProxy:
    """Slots by name and HTTP port. A slot's backend is up when its port accepts connections.

    requests: every call as `METHOD path`. refuse_switch: the status with which switches are refused.
    """

    def __init__(self, port: int, slots: dict[str, int], token: str = "secret") -> None:
        self.slots = slots
        self.token = token
        self.active = next(iter(slots))
        self.epoch = 0
        self.requests: list[str] = []
        self.releases: dict[str, str] = {}
        self.progress: list[dict[str, Any]] = []
        self.refuse_switch = 0
        self.new_errors = 0
        self._counts = dict.fromkeys(slots, 0)
        self._errors = dict.fromkeys(slots, 0)
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def app(self) -> dict[str, Any]:
        self._counts[self.active] += 50
        self._errors[self.active] += self.new_errors
        return {
            "name": "shop",
            "active": self.active,
            "epoch": self.epoch,
            "held": 0,
            "switching": False,
            "slots": [self._slot(name, port) for name, port in self.slots.items()],
        }

    def _slot(self, name: str, port: int) -> dict[str, Any]:
        return {
            "name": name,
            "active": name == self.active,
            "backends": [{"address": f"127.0.0.1:{port}", "health": "up" if _open(port) else "down", "since": 0.0}],
            "in_flight": 0,
            "tunnels": 0,
            "requests": self._counts[name],
            "errors_5xx": self._errors[name],
            "latency_p99_ms": 12.0,
            "release": self.releases.get(name),
        }

    def answer(self, method: str, path: str, body: dict[str, Any], token: str | None) -> tuple[int, dict[str, Any]]:
        self.requests.append(f"{method} {path}")
        if token != f"Bearer {self.token}":
            return 401, problem(401, "a bearer token is needed")
        if path == "/v1/apps/shop" and method == "GET":
            return 200, self.app()
        if path == "/v1/apps/shop/switch" and method == "POST":
            return self._switch(body)
        if path.startswith("/v1/apps/shop/slots/") and method == "PUT":
            self.releases[path.rpartition("/")[2]] = body["release"]
            return 200, {}
        if path == "/v1/apps/shop/releases/current" and method == "POST":
            self.progress.append(body)
            return 200, {}
        return 404, problem(404, f"there is no {path}")

    def _switch(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refuse_switch:
            return self.refuse_switch, problem(self.refuse_switch, "a worker did not answer; nothing changed")
        if body["expect_active"] != self.active:
            return 409, problem(409, f"{self.active} is active")
        origin, self.active = self.active, body["to"]
        self.epoch += 1
        return 200, {
            "app": "shop",
            "from": origin,
            "to": self.active,
            "epoch": self.epoch,
            "workers": 2,
            "hold_ms": 1.2,
            "held": 4,
            "in_flight": 3,
            "barrier_sessions": 1,
            "drained": True,
            "drain_ms": 35.0,
            "cut": [],
            "tunnels": 0,
        }


def problem(status: int, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": "Problem", "status": status, "detail": detail}


def _open(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False


def _handler(proxy: FakeProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, answer = proxy.answer(self.command, self.path, body, self.headers.get("Authorization"))
            payload = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = _handle  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
