"""An instance's files and its java command, as text. Pure: nothing here reads or writes a file.

Sources: Tomcat's configuration reference (Server, Service, HTTP Connector, Context, Cluster) for 9.0, 10.1
and 11.0; values that differ from Tomcat's defaults were measured, and templates.py gives the reason.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer.errors import ConfigurationError
from deployer.server.java import memory_options
from deployer.tomcat import templates

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.server.java import Java
    from deployer.tomcat.home import TomcatHome

TOMCAT_USER = "tomcat"
"""Who runs Tomcat when the deployer is root (Debian's package makes this user)."""

CONTROL_USER = "switchyard"
"""The name that the control service's BASIC authentication expects."""

_CONTEXT = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class Peer:
    """Another instance of the session cluster, on this machine."""

    cluster_port: int
    unique_id: int


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file's whole content and its mode."""

    text: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """What one slot's Tomcat shall be.

    name: the slot's. base: CATALINA_BASE, absolute. log_file: gets stdout and stderr.
    context: the context path, "" for ROOT, else "/a" or "/a/b".
    unique_id: 1 to 255, different in each slot. peers: the other slots.
    encryption_key: 32, 48 or 64 hex digits, the same in all slots.
    user: who runs it; None is whoever runs the deployer.
    graceful_stop: seconds that Tomcat gives requests in flight after a stop was asked for.

    Raises ConfigurationError for values that Tomcat could not live with.
    """

    name: str
    base: Path
    http_port: int
    control_port: int
    cluster_port: int
    unique_id: int
    log_file: Path
    tomcat_major: int
    encryption_key: str = field(repr=False)
    control_password: str = field(repr=False)
    peers: tuple[Peer, ...] = ()
    context: str = ""
    replicate: bool = True
    jvm: tuple[str, ...] = ()
    user: str | None = None
    graceful_stop: float = 20.0
    address: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if not _CONTEXT.fullmatch(self.context):
            raise ConfigurationError(
                f"context {self.context!r} is not a context path",
                'set context to "" for the root, or to a path as "/shop"',
            )
        if not self.base.is_absolute() or not self.log_file.is_absolute():
            raise ConfigurationError(
                f"slot {self.name}: base and log file must be absolute paths", "give absolute paths"
            )
        ports = self.ports
        for port in ports:
            if not 1 <= port <= 65535:
                raise ConfigurationError(f"slot {self.name}: {port} is not a port", "choose one from 1024 to 65535")
        if len(set(ports)) != len(ports):
            raise ConfigurationError(
                f"slot {self.name}: its ports {', '.join(map(str, ports))} must differ from each other",
                f"change slots.{self.name}.http_port or slots.{self.name}.cluster_port",
            )
        members = [self.unique_id, *(peer.unique_id for peer in self.peers)]
        if len(set(members)) != len(members) or not all(1 <= member <= 255 for member in members):
            raise ConfigurationError(f"slot {self.name}: cluster members' ids {members} must differ, from 1 to 255", "")
        if self.replicate and not re.fullmatch(
            r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{48}|[0-9a-fA-F]{64})", self.encryption_key
        ):
            raise ConfigurationError(
                f"slot {self.name}: the cluster's encryption key is not 32, 48 or 64 hex digits", ""
            )

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports it listens on: HTTP, control, and the cluster's when sessions are replicated."""
        both = (self.http_port, self.control_port)
        return (*both, self.cluster_port) if self.replicate else both

    @property
    def webapp(self) -> str:
        """The context path as a file name (Tomcat's Context reference, Naming): "" is ROOT, "/a/b" is a#b."""
        return self.context[1:].replace("/", "#") or "ROOT"

    @property
    def origin(self) -> str:
        """Where it answers HTTP: scheme, host and port. The context path comes after it."""
        return f"http://{self.address}:{self.http_port}"


def files(spec: InstanceSpec) -> dict[str, FileSpec]:
    """Every generated file by its path under CATALINA_BASE; conf/web.xml is copied from the Tomcat home."""
    control_web = templates.CONTROL_WEB_9 if spec.tomcat_major < 10 else templates.CONTROL_WEB_10
    return {
        "conf/server.xml": FileSpec(_server_xml(spec), 0o640),
        "conf/context.xml": FileSpec(
            templates.CONTEXT.format(manager=templates.DELTA_MANAGER if spec.replicate else ""), 0o640
        ),
        "conf/logging.properties": FileSpec(templates.LOGGING, 0o640),
        "conf/control-users.xml": FileSpec(
            templates.CONTROL_USERS.format(user=_attribute(CONTROL_USER), password=_attribute(spec.control_password)),
            0o640,
        ),
        "control/WEB-INF/web.xml": FileSpec(control_web, 0o640),
    }


DIRECTORIES_READ: tuple[str, ...] = (
    "conf",
    "conf/Catalina",
    "conf/Catalina/localhost",
    "control",
    "control/WEB-INF",
    "control-apps",
)
"""Directories that Tomcat reads and must not write."""

DIRECTORIES_WRITTEN: tuple[str, ...] = ("webapps", "logs", "work", "temp")
"""Directories that Tomcat writes."""


def java_command(spec: InstanceSpec, home: TomcatHome, java: Java) -> list[str]:
    """The command that starts the instance in the foreground, as bin/catalina.sh of that Tomcat would."""
    command = [str(java.path), *memory_options(spec.jvm)]
    command += [
        f"-Djava.util.logging.config.file={spec.base}/conf/logging.properties",
        "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager",
        "-Djava.awt.headless=true",
    ]
    if home.major < 11:
        command += [
            "-Djava.protocol.handler.pkgs=org.apache.catalina.webresources",
            "-Dsun.io.useCanonCaches=false",
        ]
    if java.version >= 9:
        packages = ("java.lang", "java.lang.reflect", "java.io", "java.util", "java.util.concurrent")
        command += [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in packages]
        command.append("--add-opens=java.rmi/sun.rmi.transport=ALL-UNNAMED")
    if home.major >= 11 and java.version >= 17:
        command.append("--enable-native-access=ALL-UNNAMED")
    return [
        *command,
        "-cp",
        f"{home.path}/bin/bootstrap.jar:{home.path}/bin/tomcat-juli.jar",
        base_argument(spec.base),
        f"-Dcatalina.home={home.path}",
        f"-Djava.io.tmpdir={spec.base}/temp",
        "org.apache.catalina.startup.Bootstrap",
        "start",
    ]


def base_argument(base: Path) -> str:
    """The argument by which an instance's process is known among all others."""
    return f"-Dcatalina.base={base}"


def _server_xml(spec: InstanceSpec) -> str:
    return templates.SERVER.format(
        address=_attribute(spec.address),
        http_port=_attribute(str(spec.http_port)),
        control_port=_attribute(str(spec.control_port)),
        graceful=_attribute(str(round(spec.graceful_stop * 1000))),
        cluster=_cluster_xml(spec) if spec.replicate else "",
    )


def _cluster_xml(spec: InstanceSpec) -> str:
    members = "".join(
        templates.MEMBER.format(
            address=_attribute(spec.address),
            port=_attribute(str(peer.cluster_port)),
            unique_id=_unique_id(peer.unique_id),
        )
        for peer in spec.peers
    )
    return templates.CLUSTER.format(
        address=_attribute(spec.address),
        port=_attribute(str(spec.cluster_port)),
        key=_attribute(spec.encryption_key),
        unique_id=_unique_id(spec.unique_id),
        members=members,
    )


def _unique_id(number: int) -> str:
    """Tribes' uniqueId: 16 bytes in decimal (Cluster Interceptor reference). Java's bytes are signed."""
    last = number if number < 128 else number - 256
    return _attribute("{" + "0," * 15 + str(last) + "}")


def _attribute(value: str) -> str:
    """A quoted XML attribute value. xml.sax.saxutils has one too, and loads urllib and ssl with it."""
    return f'"{html.escape(value)}"'
