"""The requests that a release makes to a slot: smoke tests and warm-up, and one to the public address."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.errors import ReleaseFailed
from deployer.smoke import run_smoke
from deployer.warmup import is_error, warm_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.clock import Clock
    from deployer.site import Say
    from deployer.smoke import SmokeTest

_READ_TIMEOUT = 30.0
_PUBLIC_TIMEOUT = 10.0
_LAST = 50


@dataclass(frozen=True, slots=True)
class HttpChecks:
    """public_url: None when it is not looked at. warmup_seconds: the longest time that the warm-up takes."""

    tests: Sequence[SmokeTest]
    warmup_requests: int
    warmup_paths: Sequence[str]
    warmup_seconds: float
    max_error_ratio: float
    public_url: str | None
    health_path: str
    clock: Clock

    def smoke(self, url: str) -> str:
        """See site.Checks."""
        results = run_smoke(url, self.tests, _READ_TIMEOUT, sleep=self.clock.sleep)
        failed = [str(result) for result in results if not result.passed]
        if failed:
            lines = "".join(f"\n  {line}" for text in failed for line in text.splitlines())
            raise ReleaseFailed(f"{len(failed)} of {len(results)} smoke tests failed on {url}:{lines}")
        return f"{len(results)} of {len(results)} smoke tests passed"

    def warm_up(self, url: str, say: Say) -> str:
        """See site.Checks."""
        done = warm_up(url, self.warmup_paths, self.warmup_requests, self.warmup_seconds, self.clock)
        share = done.share_of_errors()
        if share > self.max_error_ratio:
            worst = [
                f"\n  {path}: {answer}, {count} times"
                for (path, answer), count in done.answers.most_common()
                if is_error(answer)
            ]
            raise ReleaseFailed(
                f"{done.errors} of {done.requests} warm-up requests to {url} failed ({share:.0%}, allowed "
                f"{self.max_error_ratio:.0%}):{''.join(worst[:10])}"
            )
        median = done.median_ms(_LAST)
        said = f"{done.requests} requests, {done.errors} errors"
        return said if median is None else f"{said}, at its end {median:.0f} ms in the median"

    def public(self) -> str:
        """See site.Checks."""
        if self.public_url is None:
            return ""
        status = self._ask_public(self.public_url)
        if not status.isdigit() or int(status) >= 500:
            raise ReleaseFailed(
                f"{self.public_url}{self.health_path} answers: {status}", "set proxy.public_url to where users come in"
            )
        return f"{self.public_url} answers {status}"

    def _ask_public(self, url: str) -> str:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_PUBLIC_TIMEOUT)
        try:
            connection.request("GET", self.health_path, headers={"Connection": "close"})
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
