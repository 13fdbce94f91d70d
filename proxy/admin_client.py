"""The commands' way to the admin API: one call, one connection."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from proxy.address import Endpoint
from proxy.errors import RefusedError
from proxy.wire import Problem

if TYPE_CHECKING:
    from pydantic import BaseModel

    from proxy.settings import AdminSettings

_MAX_ANSWER: Final = 64 * 1024 * 1024


class AdminClient:
    def __init__(self, settings: AdminSettings) -> None:
        self._settings = settings

    def call(self, method: str, path: str, body: BaseModel | None = None, *, within: float = 10.0) -> bytes:
        """The answer's body. `within`: seconds. Raises RefusedError with the proxy's own words."""
        connection = self._connection(within)
        try:
            payload = None if body is None else body.model_dump_json(exclude_unset=True, by_alias=True).encode()
            connection.request(method, path, payload, self._headers())
            answer = connection.getresponse()
            raw = answer.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise RefusedError(
                f"no proxy answers at {self._settings.listen}: {_reason(error)}",
                "start it with `proxy run`, or give its configuration with -c",
            ) from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise RefusedError(_detail(answer.status, raw))
        return raw

    def _connection(self, within: float) -> http.client.HTTPConnection:
        endpoint = self._settings.endpoint
        if isinstance(endpoint, Endpoint):
            return http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=within)
        return _UnixConnection(endpoint.path, within)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        path = self._settings.token_file
        if path is not None:
            try:
                headers["Authorization"] = f"Bearer {Path(path).read_text().strip()}"
            except OSError as error:
                raise RefusedError(
                    f"the token file {path} can't be read: {error.strerror}",
                    "run this as the proxy's user, in the directory where the proxy was started",
                ) from error
        return headers

    def __repr__(self) -> str:
        return f"<AdminClient {self._settings.listen}>"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, within: float) -> None:
        super().__init__("localhost", timeout=within)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def _detail(status: int, raw: bytes) -> str:
    try:
        found = Problem.model_validate_json(raw)
    except ValidationError:
        return f"the proxy answered {status}"
    return found.detail or found.title
