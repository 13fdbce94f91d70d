"""One tree of errors. Each that can end a request knows its HTTP status; each that can end a command its exit code."""

from __future__ import annotations

from typing import ClassVar


class ProxyError(Exception):
    """Root of the tree. `str()` is one plain sentence for the operator or the log."""


class RequestError(ProxyError):
    """The request can't be served. `status` is the answer; `part` names what failed, on the error page."""

    status: int = 500
    part: str = "the proxy"


class OperatorError(ProxyError):
    """A command can't be done. `advice` says what to do about it; `exit_code` is the process's."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class ConfigurationError(OperatorError):
    """The configuration is wrong; the message lists every finding."""

    exit_code = 2


class StateError(OperatorError):
    """The durable state can't be read or written."""

    exit_code = 4


class LinkError(ProxyError):
    """The link between supervisor and worker carried something that it must not, or one end does not read."""


class RefusedError(OperatorError):
    """Not done, and nothing was touched: something is taken, locked, down or unsafe."""

    exit_code = 3


class BrokenOffError(OperatorError):
    """Begun, and nobody has said how it ended: a person has to look."""

    exit_code = 4


class AdminError(ProxyError):
    """A call of the admin API can't be done, and nothing was changed. `status` is the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
