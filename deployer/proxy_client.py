"""The client of the proxy's admin API, for one app. Synchronous; a connection for each call.

Types and paths are the proxy's (`proxy.wire`). Errors come as problem documents (RFC 9457).
"""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ValidationError

from deployer.errors import DeployerError, Refused
from proxy.wire import AppStatus, Done, Problem, Recent, SlotUpdate, SwitchReport

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.clock import Clock
    from proxy.wire import RecentRequest, ReleaseProgress, SwitchRequest

_MAX_ANSWER: Final = 64 * 1024 * 1024
_RETRY: Final = 0.25
"""Seconds between two tries to connect; a proxy that starts again sends no event."""
_STARTING: Final = 503
"""How a proxy answers that has its admin API already and its apps not yet."""
_T = TypeVar("_T", bound=BaseModel)


class ProxyDown(Refused):
    """Nobody answers at the address; the request was not sent."""


class AnswerLost(DeployerError):  # noqa: N818
    """The request was sent, and no whole answer came: it may have been carried out."""


class ProxyRefused(DeployerError):  # noqa: N818
    """The proxy answered with an error. `status` is its HTTP status."""

    def __init__(self, message: str, advice: str = "", *, status: int) -> None:
        super().__init__(message, advice)
        self.status = status


class TokenRefused(Refused):
    """The proxy does not accept our token, or the token's file can't be read."""


@dataclass(frozen=True, slots=True)
class ProxyClient:
    """url: `http://HOST:PORT` or `unix:PATH`. patience: seconds to wait for a proxy that nobody answers for."""

    url: str
    app_name: str
    token_file: Path | None
    clock: Clock
    patience: float = 0.0
    timeout: float = 5.0

    def app(self) -> AppStatus:
        """The app's slots and which one is active."""
        end = self.clock.monotonic() + self.patience
        while True:
            try:
                return self._ask("GET", f"/v1/apps/{quote(self.app_name)}", None, AppStatus, self.timeout)
            except AnswerLost as lost:
                if self.clock.monotonic() >= end:
                    raise ProxyDown(str(lost), "see the proxy's log; `proxy status` asks it too") from lost
                self.clock.sleep(_RETRY)
            except ProxyRefused as refused:
                if refused.status != _STARTING or self.clock.monotonic() >= end:
                    raise
                self.clock.sleep(_RETRY)

    def switch(self, request: SwitchRequest) -> SwitchReport:
        """Makes a slot active; returns when the other one is drained, or cut at the deadline."""
        longest = request.hold + request.drain + 15.0
        path = f"/v1/apps/{quote(self.app_name)}/switch"
        return self._ask("POST", path, request, SwitchReport, longest)

    def confirm(self) -> AppStatus:
        """Ends the trial of the last switch: it stays. ProxyRefused 409: none is open, or it ends by itself."""
        return self._ask("POST", f"/v1/apps/{quote(self.app_name)}/confirm", None, AppStatus, self.timeout)

    def recent(self) -> tuple[RecentRequest, ...]:
        """Some of the requests of late, and those that failed or were slow; the most frequent first."""
        return self._ask("GET", f"/v1/apps/{quote(self.app_name)}/recent", None, Recent, self.timeout).requests

    def close_idle(self, slot: str) -> None:
        """Closes the idle connections to a slot's backends in every worker."""
        path = f"/v1/apps/{quote(self.app_name)}/slots/{quote(slot)}/close-idle"
        self._ask("POST", path, None, Done, self.timeout)

    def set_release(self, slot: str, release: str) -> None:
        """Tells what runs in a slot."""
        path = f"/v1/apps/{quote(self.app_name)}/slots/{quote(slot)}"
        self._send("PUT", path, SlotUpdate(release=release), self.timeout)

    def report(self, progress: ReleaseProgress) -> None:
        """Tells how a release is going."""
        self._send("POST", f"/v1/apps/{quote(self.app_name)}/releases/current", progress, 1.0)

    def _ask(self, method: str, path: str, body: BaseModel | None, answer: type[_T], timeout: float) -> _T:
        text = self._send(method, path, body, timeout)
        try:
            return answer.model_validate_json(text)
        except ValidationError as error:
            raise DeployerError(
                f"the proxy at {self.url} answered {method} {path} with something else: {text[:200]!r}",
                "check that proxy.url is the admin API (admin.listen in proxy.yaml), and that both have one version",
            ) from error

    def _send(self, method: str, path: str, body: BaseModel | None, timeout: float) -> bytes:
        payload = None if body is None else body.model_dump_json(exclude_unset=True).encode()
        headers = {"Accept": "application/json", "Connection": "close"}
        if payload is not None:
            headers["Content-Type"] = "application/json"
        connection = self._connect(timeout)
        try:
            if self.token_file is not None:
                headers["Authorization"] = f"Bearer {self._token(self.token_file)}"
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            status, text = response.status, response.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise AnswerLost(f"the proxy at {self.url} did not answer {method} {path}: {reason}") from error
        finally:
            connection.close()
        if status >= 400:
            raise self._refusal(status, text)
        return text

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        end = self.clock.monotonic() + self.patience
        while True:
            connection = self._connection(timeout)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                if self.clock.monotonic() >= end:
                    raise ProxyDown(
                        f"the proxy at {self.url} does not answer ({error.strerror or error})",
                        "start it with `proxy run -c …`, or set proxy.url to its admin.listen",
                    ) from error
                self.clock.sleep(_RETRY)
            else:
                return connection

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.url.startswith("unix:"):
            return _UnixConnection(self.url.removeprefix("unix:"), timeout)
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)

    def _token(self, file: Path) -> str:
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise TokenRefused(
                f"the proxy's token can't be read from {file.absolute()} ({why})",
                "the proxy makes it at its first start (admin.token_file); set proxy.token_file to the same file",
            ) from error
        if not token.isascii() or not token.isprintable():
            raise TokenRefused(f"{file.absolute()} holds no token", "set proxy.token_file to admin.token_file")
        return token

    def _refusal(self, status: int, text: bytes) -> DeployerError:
        try:
            problem = Problem.model_validate_json(text)
            said = problem.detail or problem.title
        except ValidationError:
            said = text[:200].decode("utf-8", errors="replace").strip()
        if status in (401, 403):
            where = "proxy.token_file is not set" if self.token_file is None else f"token of {self.token_file}"
            return TokenRefused(
                f"the proxy at {self.url} refuses us ({where}): {said}",
                "set proxy.token_file to the file that admin.token_file in proxy.yaml names",
            )
        if status == 404:
            return ProxyRefused(
                f"the proxy at {self.url} does not know it: {said}",
                "app and slots must be named as in proxy.yaml",
                status=status,
            )
        return ProxyRefused(f"the proxy refused ({status}): {said}", status=status)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connects to the path."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
