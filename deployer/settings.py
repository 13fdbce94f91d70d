"""The settings of `deployer.yaml`, frozen. Durations are seconds. `deployer.config_file.load` reads the file.

Relative paths are relative to the directory in which the deployer was started, as the proxy's are: both files
name the same `var/admin.token`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from deployer.command.places import PLACES, unknown_places
from proxy.wire import Duration, PositiveDuration, SlotName

Strategy = Literal["return", "swap"]
KindName = Literal["tomcat", "jetty", "command"]
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
"""An environment variable's name."""
CONTROL_PORT_OFFSET = 10
"""A slot's control port is its HTTP port plus this, unless it is set."""


def _url(value: str) -> str:
    if value.startswith("unix:") and len(value) > len("unix:"):
        return value
    if re.fullmatch(r"http://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?", value) is None:
        raise ValueError("http://HOST:PORT such as http://127.0.0.1:9900, or unix:PATH")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    if re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?", value) is None:
        raise ValueError("http://HOST:PORT such as http://127.0.0.1:8080")
    return value.rstrip("/")


def _context(value: str) -> str:
    if re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", value) is None:
        raise ValueError('"" for the root, or a path such as "/shop"')
    return value


def _request_path(value: str) -> str:
    if re.fullmatch(r"/[!-~]*", value) is None or "#" in value:
        raise ValueError("a path that begins with / and holds no blanks, such as /health")
    return value


def _jvm(value: str) -> str:
    try:
        shlex.split(value)
    except ValueError as error:
        raise ValueError(f"options as in a shell ({error})") from error
    return value


def _glob(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError("a pattern of paths inside the WAR such as static/**")
    return value


def _words(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in unknown_places(value):
        raise ValueError(f"of {{…}} only {', '.join(f'{{{place}}}' for place in PLACES)}, not {{{name}}}")
    return value


def _command(value: object) -> object:
    """A list of words is the short form. What a function has changed is no JSON any more, so lists become tuples."""
    if isinstance(value, list):
        return {"run": tuple(value)}
    if isinstance(value, dict) and isinstance(value.get("run"), list):
        return {**value, "run": tuple(value["run"])}
    return value


def _hook(value: object) -> object:
    return {"run": value} if isinstance(value, str) else value


FilePath = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
RequestPath = Annotated[str, AfterValidator(_request_path)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class ProxySettings(_Settings):
    """The proxy's admin API, and the address that users see (None: not looked at)."""

    url: Annotated[str, AfterValidator(_url)] = "http://127.0.0.1:9900"
    token_file: FilePath | None = None
    public_url: Annotated[str, AfterValidator(_public_url)] | None = None


class TomcatSettings(_Settings):
    """The Tomcat and the Java of all slots, and who starts them. `stop` (seconds) bounds a graceful stop."""

    home: FilePath = "auto"
    java_home: FilePath = "auto"
    jvm: Annotated[str, AfterValidator(_jvm)] = ""
    run: Literal["process", "systemd"] = "process"
    stop: PositiveDuration = 30.0

    @property
    def jvm_options(self) -> tuple[str, ...]:
        """`jvm`, split as a shell would."""
        return tuple(shlex.split(self.jvm))


class JettySettings(_Settings):
    """The Jetty and the Java of all slots of kind jetty. `stop` (seconds) bounds a graceful stop."""

    home: FilePath = "auto"
    java_home: FilePath = "auto"
    jvm: Annotated[str, AfterValidator(_jvm)] = ""
    stop: PositiveDuration = 30.0

    @property
    def jvm_options(self) -> tuple[str, ...]:
        """`jvm`, split as a shell would."""
        return tuple(shlex.split(self.jvm))


class CommandSettings(_Settings):
    """What starts a slot of kind command. `user` runs it when the deployer is root. `stop` (seconds) as Tomcat's."""

    run: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1), AfterValidator(_words)]
    environment: dict[Annotated[str, Field(pattern=VARIABLE_PATTERN)], str] = {}
    user: str | None = None
    stop: PositiveDuration = 30.0


Command = Annotated[CommandSettings, BeforeValidator(_command)]


class SlotSettings(_Settings):
    """One slot's ports and its base directory. A Tomcat's slot has a cluster port."""

    http_port: Port
    cluster_port: Port | None = None
    control_port: Port | None = None
    base: FilePath

    @property
    def control(self) -> int:
        """The control port, by default the HTTP port plus 10."""
        return self.http_port + CONTROL_PORT_OFFSET if self.control_port is None else self.control_port


class SessionSettings(_Settings):
    """`tolerance`: share of sessions by which two slots may differ under traffic. `timeout` for the transfer."""

    replicate: bool = True
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.02
    timeout: PositiveDuration = 30.0


class ReleaseSettings(_Settings):
    """The release store; `keep` releases stay besides those that a slot runs."""

    dir: FilePath = "var/releases"
    keep: Annotated[int, Field(ge=1, le=10_000)] = 5


class StaticSettings(_Settings):
    """Files that are taken out of the WAR for the proxy to serve."""

    from_war: Annotated[tuple[Annotated[str, AfterValidator(_glob)], ...], Field(min_length=1)]
    to: FilePath


class SwitchSettings(_Settings):
    """`hold`: longest wait of new requests. `drain`: time for the old slot's requests before they are cut."""

    hold: PositiveDuration = 5.0
    drain: Duration = 30.0


class HealthSettings(_Settings):
    """A slot is ready when `successes` probes in a row got 200, within `timeout`."""

    path: RequestPath = "/health"
    timeout: PositiveDuration = 60.0
    successes: Annotated[int, Field(ge=1, le=100)] = 3


class SmokeTest(_Settings):
    """One request to the private port and what its answer must be. `max_time` is in seconds."""

    path: RequestPath
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str | None = None
    header: dict[str, str] | None = None
    max_time: PositiveDuration = 10.0


class WarmupSettings(_Settings):
    """Requests to the private port before users come, `rate` a second. It ends after `timeout` at the latest.

    `sample`: how many addresses that users asked for of late are sent too, and compared with the live slot's answers.
    """

    requests: Annotated[int, Field(ge=0, le=100_000)] = 200
    paths: Annotated[tuple[RequestPath, ...], Field(min_length=1)] = ("/",)
    timeout: PositiveDuration = 20.0
    rate: Annotated[float, Field(gt=0, le=10_000, allow_inf_nan=False)] = 100.0
    sample: Annotated[int, Field(ge=0, le=1000)] = 50


class WatchSettings(_Settings):
    """How long a slot is watched after the switch to it, and what makes the release fail.

    `grace`: seconds that the confirmation may be late before the proxy switches back by itself.
    """

    seconds: Duration = Field(20.0, alias="for")
    max_error_ratio: Annotated[float, Field(ge=0, le=1)] = 0.02
    max_p99: PositiveDuration = 2.0
    grace: Annotated[PositiveDuration, Field(le=3600)] = 15.0


class HookSettings(_Settings):
    """A shell command. `timeout` is in seconds."""

    run: Annotated[str, Field(min_length=1)]
    timeout: PositiveDuration = 300.0


Hook = Annotated[HookSettings, BeforeValidator(_hook)]


class HooksSettings(_Settings):
    """Commands by the moment at which they run."""

    before_start: tuple[Hook, ...] = ()
    smoke: tuple[Hook, ...] = ()
    after_switch: tuple[Hook, ...] = ()
    after_release: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()


class Settings(_Settings):
    """All of deployer.yaml. The first slot is the one to which the strategy `return` returns."""

    app: SlotName
    proxy: ProxySettings = ProxySettings()
    kind: KindName = "tomcat"
    tomcat: TomcatSettings = TomcatSettings()
    jetty: JettySettings | None = None
    command: Command | None = None
    slots: Annotated[dict[SlotName, SlotSettings], Field(min_length=2, max_length=16)]
    context: Annotated[str, AfterValidator(_context)] = ""
    sessions: SessionSettings = SessionSettings()
    releases: ReleaseSettings = ReleaseSettings()
    state_dir: FilePath = "var/deployer"
    static: StaticSettings | None = None
    strategy: Strategy = "return"
    switch: SwitchSettings = SwitchSettings()
    health: HealthSettings = HealthSettings()
    smoke: tuple[SmokeTest, ...] = ()
    warmup: WarmupSettings | None = None
    watch: WatchSettings | None = WatchSettings.model_validate({})
    hooks: HooksSettings = HooksSettings()

    @property
    def home(self) -> str:
        """The first slot."""
        return next(iter(self.slots))

    @property
    def state(self) -> Path:
        """Where the journal, the lock and the secrets are; absolute."""
        return Path(self.state_dir).absolute()
