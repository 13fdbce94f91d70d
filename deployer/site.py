"""What a step works with: the slots' servers, the proxy, the store, the checks, the clock. All are passed in.

The protocols say what each must do; `deployer.assembly` builds the real ones from the settings, tests build others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from deployer.errors import DeployerError
from deployer.release import Observed
from deployer.ways import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from deployer.clock import Clock
    from deployer.release import InstanceFacts, Release
    from deployer.tomcat.sessions import SessionFacts
    from deployer.ways import Place
    from proxy.wire import AppStatus, RecentRequest, ReleaseProgress, SwitchReport, SwitchRequest

    Say = Callable[[str], None]


class SlotServer(Protocol):
    """One slot's server, of any kind. Its methods raise InstanceError."""

    @property
    def place(self) -> Place:
        """Where it is, and what starts it."""

    @property
    def warning(self) -> str:
        """What the operator should know of how it runs, or ""."""

    @property
    def cluster(self) -> SessionFacts | None:
        """What tells of its sessions; None when sessions of its kind are not shared between slots."""

    def observe(self) -> InstanceFacts:
        """What it does now; never fails because it is down."""

    def faults(self) -> Sequence[DeployerError]:
        """What would keep it from being started again, such as a missing unit. Also while it runs."""

    def obstacles(self) -> Sequence[DeployerError]:
        """Its faults, and ports that another process has. Only while it is stopped."""

    def deploy(self, release: Release) -> None:
        """Puts a release into the stopped slot. Cut off, it leaves a slot that knows no release."""

    def start(self) -> None:
        """Starts the server; it outlives the deployer. Does not wait until it is ready."""

    def wait_ready(self, say: Say) -> None:
        """Returns when the application serves; InstanceError with the log's own cause when it will not."""

    def wait_sessions(self, other: SlotServer, say: Say, *, fresh: bool) -> str:
        """Returns when all sessions of `other` are here too, with the numbers in words.

        fresh: this server was just started and has to get them first. Raises SessionsMissing, which names what
        would be lost.
        """

    def stop(self) -> str:
        """Stops it and says how it ended; also fine when it does not run."""

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of its log."""


class SessionsMissing(DeployerError):  # noqa: N818
    """Sessions of the live slot are not on the other one."""


class ProxyApi(Protocol):
    """The app in the proxy. Methods raise ProxyDown, ProxyRefused (see proxy_client)."""

    def app(self) -> AppStatus:
        """The app's slots and which one is active."""

    def switch(self, request: SwitchRequest) -> SwitchReport:
        """Makes a slot active; returns when the other one is drained."""

    def confirm(self) -> AppStatus:
        """Ends the trial of the last switch: it stays."""

    def recent(self) -> Sequence[RecentRequest]:
        """Some of the requests of late, without their headers and bodies; the most frequent first."""

    def close_idle(self, slot: str) -> None:
        """Closes the idle connections to a slot, so that its server can stop without waiting for them."""

    def set_release(self, slot: str, release: str) -> None:
        """Tells what runs in a slot."""

    def report(self, progress: ReleaseProgress) -> None:
        """Tells how a release is going."""


class ReleaseStore(Protocol):
    """The WARs that were released."""

    def add(self, war_path: Path) -> Release:
        """Stores a WAR; the same content is stored once."""

    def get(self, id_or_prefix: str) -> Release:
        """Raises DeployerError when there is none, or more than one."""

    def list(self) -> Sequence[Release]:
        """All releases."""

    def prune(self, keep: int, in_use: Iterable[str]) -> Sequence[Release]:
        """Removes the oldest ones beyond `keep` that are not in use; those that it removed."""


class StaticFiles(Protocol):
    """The directory of static files that the proxy serves."""

    def publish(self, release: Release) -> str:
        """Adds a release's files, beside those that are there; what it did, in words."""


class Checks(Protocol):
    """Requests to a slot's private port and to the public address."""

    def smoke(self, url: str) -> str:
        """Runs the smoke tests; raises ReleaseFailed that names each one that failed."""

    def warm_up(self, url: str, sample: Sequence[str], live_url: str | None, say: Say) -> str:
        """Sends the warm-up requests, and those of the sample; what it saw, and on more lines what differed.

        sample: targets that users asked for of late. live_url: of the slot whose answers they must be like; None when
        there is none. Raises ReleaseFailed when too many fail, or one of the sample that does not on the live slot.
        """

    def public(self) -> str:
        """Asks the public address once; raises ReleaseFailed when it does not answer as it should."""


class Hooks(Protocol):
    """The operator's commands."""

    def run(self, moment: str, environment: Mapping[str, str], say: Say) -> str:
        """Runs the moment's commands; raises ReleaseFailed with the output's end when one fails."""


@dataclass(frozen=True)
class Site:
    """Everything that a release touches."""

    app: str
    slots: Mapping[str, SlotServer]
    proxy: ProxyApi
    store: ReleaseStore
    static: StaticFiles
    checks: Checks
    hooks: Hooks
    clock: Clock
    timings: Timings = field(default_factory=Timings)

    def observe(self) -> Observed:
        """Looks at the proxy and at every slot. Raises ProxyDown and the like when the proxy can't be asked."""
        return observe(self.proxy, self.slots)


def observe(proxy: ProxyApi, slots: Mapping[str, SlotServer]) -> Observed:
    """What is, now. Raises ProxyDown and the like when the proxy can't be asked."""
    app = proxy.app()
    return Observed(
        active=app.active,
        switching=app.switching,
        slots={name: server.observe() for name, server in slots.items()},
        in_flight={slot.name: slot.in_flight for slot in app.slots},
        trial=app.trial,
    )
