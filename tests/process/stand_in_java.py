"""Stands in for `java` running Tomcat: the same command line, files, ports and signals, started in a tenth of a second.

What the WAR's `behaviour` entry says, it does: `fails` (the application does not start), `hangs` (its start never
ends), `broken` (/health is 500),
`errors` (all else is 500), `slow` (seconds that all else takes).
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
import xml.etree.ElementTree as ET
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from types import FrameType


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def main() -> None:
    base = Path(next(one for one in sys.argv if one.startswith("-Dcatalina.base=")).partition("=")[2])
    services = ET.parse(base / "conf" / "server.xml").getroot().findall("Service")
    ports = {service.get("name"): int(service.find("Connector").get("port")) for service in services}  # type: ignore
    with zipfile.ZipFile(base / "webapps" / "ROOT.war") as war:
        behaviour = json.loads(war.read("behaviour"))
    print(f"stand-in for Tomcat in {base}: {behaviour}", flush=True)
    signal.signal(signal.SIGTERM, stop)
    state = "STOPPED" if behaviour.get("fails") else "STARTING" if behaviour.get("hangs") else "STARTED"
    control = Server(("127.0.0.1", ports["control"]), control_handler(state))
    threading.Thread(target=control.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    if state == "STARTING":
        signal.pause()
    if state == "STOPPED":
        print("22-Nov-2026 20:45:00.123 SEVERE [main] org.apache.catalina.core.StandardContext.listenerStart")
        print("\tjava.lang.IllegalStateException: there is no database", flush=True)
        signal.pause()
    Server(("127.0.0.1", ports["Catalina"]), app_handler(behaviour)).serve_forever(poll_interval=0.02)


def stop(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


def control_handler(state: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            if "qry" in query:
                return answer(self, 200, "OK - Number of results: 1\n\nName: x:component=Member\nport: 1\n")
            name, attribute = query["get"][0], query["att"][0]
            values = {"activeSessions": "3", "stateTransferred": "true"}
            if attribute == "stateName":
                service = "STARTING" if state == "STARTING" else "STARTED"
                values["stateName"] = service if "type=Service" in name else state
            return answer(self, 200, f"OK - Attribute get '{name}' - {attribute} = {values[attribute]}\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def app_handler(behaviour: dict[str, Any]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            health = self.path == "/health"
            broken = behaviour.get("broken") if health else behaviour.get("errors")
            if broken and not health:
                print("java.lang.IllegalStateException: there is no stock", flush=True)
            time.sleep(0 if health else behaviour.get("slow", 0))
            answer(self, 500 if broken else 200, f"ok {behaviour['version']}")

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def answer(handler: BaseHTTPRequestHandler, status: int, text: str) -> None:
    body = text.encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


if __name__ == "__main__":
    main()
