"""One tree of errors. Each one knows the exit code of the command that it ends, and what to do about it.

Exit codes: 0 done; 1 the release failed and the site is as before; 2 usage or configuration;
3 refused and nothing was touched; 4 failed and the site needs a person.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["ConfigurationError", "DeployerError", "InstanceError", "NeedsPerson", "Refused", "ReleaseFailed"]


class DeployerError(Exception):
    """The root. `str()` is what happened, in plain words; `advice` is what to do about it, or empty."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r}, advice={self.advice!r})"


class ReleaseFailed(DeployerError):  # noqa: N818 (named by what the operator reads)
    """The release failed; the site is as it was before."""

    exit_code = 1


class InstanceError(DeployerError):
    """A slot's server did not start, did not get ready, or did not stop."""

    exit_code = 1


class ConfigurationError(DeployerError):
    """A bad command line or configuration; nothing was touched."""

    exit_code = 2


class Refused(DeployerError):  # noqa: N818
    """Locked, unsafe, or a check failed; nothing was touched."""

    exit_code = 3


class NeedsPerson(DeployerError):  # noqa: N818
    """The release failed and so did its undo. The message says what is running where."""

    exit_code = 4
