"""The control client against a server that answers as JMXProxyServlet does."""

from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote

import pytest

from deployer.tomcat.control import Control, ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator


class JmxProxy(BaseHTTPRequestHandler):
    """Answers by a table from the query to the text."""

    answers: ClassVar[dict[str, str]] = {}
    password = "secret"

    def do_GET(self) -> None:
        token = base64.b64encode(f"switchyard:{self.password}".encode()).decode()
        allowed = self.headers.get("Authorization") == f"Basic {token}"
        query = unquote(self.path.partition("?")[2])
        text = self.answers.get(query, f"Error - javax.management.InstanceNotFoundException: {query}")
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(text.encode() if allowed else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), JmxProxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def control(port: int, password: str = "secret", context: str = "") -> Control:
    return Control("127.0.0.1", port, password, context, http_port=8082, cluster_port=4102, timeout=2)


def test_attributes_are_read(port: int) -> None:
    manager = "get=Catalina:type=Manager,host=localhost,context=/shop"
    JmxProxy.answers = {
        f"{manager}&att=activeSessions": "OK - Attribute get 'x' - activeSessions = 42\n",
        f"{manager}&att=stateTransferred": "OK - Attribute get 'x' - stateTransferred = true\n",
        "get=Catalina:j2eeType=WebModule,name=//localhost/shop,J2EEApplication=none,J2EEServer=none&att=stateName": (
            "OK - Attribute get 'x' - stateName = STARTED\n"
        ),
        "get=Catalina:type=Service&att=stateName": "OK - Attribute get 'x' - stateName = STARTED\n",
        'get=Catalina:type=ThreadPool,name="http-nio-127.0.0.1-8082"&att=currentThreadsBusy': (
            "OK - Attribute get 'x' - currentThreadsBusy = 3\n"
        ),
        "qry=Catalina:type=Cluster,component=Member,*": (
            "OK - Number of results: 2\n\nName: Catalina:type=Cluster,component=Member,name=a\nport: 4102\n\n"
            "Name: Catalina:type=Cluster,component=Member,name=b\nport: 4101\nsecurePort: -1\nudpPort: -1\n"
        ),
    }
    asked = control(port, context="/shop")
    assert asked.active_sessions() == 42
    assert asked.state_transferred() is True
    assert asked.state_name() == asked.service_state() == "STARTED"
    assert asked.busy_threads() == 3
    assert asked.members() == (4101,)


def test_what_tomcat_does_not_have_is_none(port: int) -> None:
    JmxProxy.answers = {}
    asked = control(port)
    assert asked.active_sessions() is None
    assert asked.state_transferred() is None
    assert asked.state_name() is None
    assert asked.members() == ()


def test_a_wrong_password_and_a_stranger_are_told_apart(port: int) -> None:
    with pytest.raises(ControlError, match="password"):
        control(port, password="wrong").active_sessions()
    JmxProxy.answers = {"get=Catalina:type=Service&att=stateName": "<html>hello</html>"}
    with pytest.raises(ControlError, match="hello"):
        control(port).service_state()


def test_nobody_there_is_an_error(port: int) -> None:
    with pytest.raises(ControlError, match="does not answer"):
        control(1).active_sessions()


def test_the_password_stays_out_of_the_representation() -> None:
    assert "secret" not in repr(control(1))
