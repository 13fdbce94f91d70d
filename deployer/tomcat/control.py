"""Facts from a running Tomcat: JMX over HTTP, from JMXProxyServlet on the instance's control port.

Source: Tomcat's Manager How-To, "Using the JMX Proxy Servlet" (get, qry); about 4 ms a call.
"""

from __future__ import annotations

import http.client
import re
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from deployer.errors import InstanceError
from deployer.tomcat.layout import CONTROL_USER

if TYPE_CHECKING:
    from deployer.tomcat.layout import InstanceSpec

LARGEST_ANSWER = 1 << 20
"""Bytes read of one answer; an attribute or the members' list is far below it."""

_ATTRIBUTE = re.compile(r"^OK - Attribute get '.*' - \S+ = (.*)$", re.DOTALL)
_MEMBER_PORT = re.compile(r"^port: (\d+)", re.MULTILINE)


class ControlError(InstanceError):
    """The control service did not answer, or refused."""


@dataclass(frozen=True, slots=True)
class Control:
    """Asks one instance's control service. Each connect and each read takes at most `timeout` seconds.

    Every method raises ControlError when the service is not reachable or does not accept the password.
    Methods give None for what Tomcat does not have now, such as a manager of an application that failed.
    """

    address: str
    port: int
    password: str = field(repr=False)
    context: str
    http_port: int
    cluster_port: int
    timeout: float = 2.0

    @classmethod
    def of(cls, spec: InstanceSpec, timeout: float = 2.0) -> Control:
        """The control of the instance that `spec` describes."""
        return cls(
            address=spec.address,
            port=spec.control_port,
            password=spec.control_password,
            context=spec.context,
            http_port=spec.http_port,
            cluster_port=spec.cluster_port,
            timeout=timeout,
        )

    def state_name(self) -> str | None:
        """The application's lifecycle state (Tomcat's LifecycleState): STARTED when it serves."""
        module = f"//localhost{self.context or '/'}"
        return self._get(f"Catalina:j2eeType=WebModule,name={module},J2EEApplication=none,J2EEServer=none", "stateName")

    def service_state(self) -> str | None:
        """The HTTP service's lifecycle state: STARTED when every application had its chance to start."""
        return self._get("Catalina:type=Service", "stateName")

    def active_sessions(self) -> int | None:
        """How many sessions the application has now, its own and its peers'."""
        return _number(self._get(self._manager, "activeSessions"))

    def state_transferred(self) -> bool | None:
        """Whether the sessions of the peers have arrived; None without replication."""
        answer = self._get(self._manager, "stateTransferred")
        return None if answer is None else answer == "true"

    def members(self) -> tuple[int, ...]:
        """The cluster ports of the peers that are members now, in order."""
        answer = self._ask("qry=" + quote("Catalina:type=Cluster,component=Member,*"))
        ports = {int(port) for port in _MEMBER_PORT.findall(answer)}
        return tuple(sorted(ports - {self.cluster_port}))

    def busy_threads(self) -> int | None:
        """How many requests the HTTP connector works on."""
        name = f'"http-nio-{self.address}-{self.http_port}"'
        return _number(self._get(f"Catalina:type=ThreadPool,name={name}", "currentThreadsBusy"))

    @property
    def _manager(self) -> str:
        return f"Catalina:type=Manager,host=localhost,context={self.context or '/'}"

    def _get(self, bean: str, attribute: str) -> str | None:
        answer = self._ask(f"get={quote(bean)}&att={attribute}")
        match = _ATTRIBUTE.match(answer.strip())
        if match:
            return match.group(1)
        if answer.startswith("Error - "):
            return None
        raise ControlError(f"the control service on port {self.port} answered {answer[:200]!r}")

    def _ask(self, query: str) -> str:
        token = b64encode(f"{CONTROL_USER}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection(self.address, self.port, timeout=self.timeout)
        try:
            headers = {"Authorization": f"Basic {token}", "Connection": "close"}
            connection.request("GET", f"/jmx/?{query}", headers=headers)
            response = connection.getresponse()
            body = response.read(LARGEST_ANSWER).decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as why:
            reason = str(why) or type(why).__name__
            raise ControlError(f"Tomcat's control service on port {self.port} does not answer: {reason}") from why
        finally:
            connection.close()
        if response.status == 401:
            raise ControlError(
                f"the control service on port {self.port} does not accept our password",
                "the port may belong to another Tomcat, or its password file was changed: restart the slot",
            )
        if response.status != 200:
            raise ControlError(f"the control service on port {self.port} answered status {response.status}")
        return body


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None
