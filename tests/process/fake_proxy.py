"""The proxy's admin API for one app, as far as the deployer calls it; in a thread of the test, on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeProxy:
    """Slots by name and HTTP port. A slot's backend is up when its port accepts connections.

    requests: every call as `METHOD path`. refuse_switch: the status with which switches are refused.
    new_errors: of the 50 answers that the active slot has given at each look. It judges a trial when it is asked.
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
        self.trial: dict[str, Any] | None = None
        self.last_trial: dict[str, Any] | None = None
        self.recent: list[dict[str, Any]] = []
        self._begun = (0, 0)
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
        self._judge()
        return self._app()

    def _judge(self) -> None:
        trial = self.trial
        if trial is None:
            return
        requests = self._counts[trial["to"]] - self._begun[0]
        errors = self._errors[trial["to"]] - self._begun[1]
        if requests >= trial["guard"]["min_requests"] and errors > trial["guard"]["max_error_ratio"] * requests:
            self._end_trial("reverted", f"{errors} of {requests} answers were 5xx")
        elif time.time() >= trial["confirm_by"]:
            self._end_trial("reverted", "nobody confirmed it within a while")

    def _end_trial(self, outcome: str, reason: str) -> None:
        if self.trial is None:
            return
        self.last_trial = {**self.trial, "outcome": outcome, "reason": reason, "time": time.time()}
        if outcome == "reverted":
            self.active = self.trial["from"]
            self.epoch += 1
        self.trial = None

    def _app(self) -> dict[str, Any]:
        return {
            "name": "shop",
            "active": self.active,
            "epoch": self.epoch,
            "held": 0,
            "switching": False,
            "slots": [self._slot(name, port) for name, port in self.slots.items()],
            "trial": self.trial,
            "last_trial": self.last_trial,
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
        if path == "/v1/apps/shop/confirm" and method == "POST":
            self._judge()
            if self.trial is None:
                return 409, problem(409, "no switch is on trial")
            self._end_trial("confirmed", "it was confirmed")
            return 200, self._app()
        if path == "/v1/apps/shop/recent" and method == "GET":
            return 200, {"requests": self.recent}
        if path.endswith("/close-idle") and method == "POST":
            return 200, {"message": "closed"}
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
        self._end_trial("replaced", f"a switch to {body['to']} was asked for")
        origin, self.active = self.active, body["to"]
        self.epoch += 1
        self._begin_trial(origin, body)
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

    def _begin_trial(self, origin: str, body: dict[str, Any]) -> None:
        if body.get("confirm_within") is None:
            return
        self._begun = (self._counts[self.active], self._errors[self.active])
        self.trial = {
            "from": origin,
            "to": self.active,
            "epoch": self.epoch,
            "started": time.time(),
            "confirm_by": time.time() + body["confirm_within"],
            "guard": body["guard"],
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
