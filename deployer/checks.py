"""The requests that a release makes to a slot: smoke tests and warm-up, and one to the public address."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.errors import ReleaseFailed
from deployer.sample import Compared, differences, is_error
from deployer.smoke import run_smoke
from deployer.warmup import compare, warm_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.clock import Clock
    from deployer.site import Say
    from deployer.smoke import SmokeTest

_READ_TIMEOUT = 30.0
_PUBLIC_TIMEOUT = 10.0
_LAST = 50
_MOST_BROKEN = 10


@dataclass(frozen=True, slots=True)
class HttpChecks:
    """public_url: None when it is not looked at. warmup_seconds: the longest time that the warm-up takes.

    warmup_rate: requests a second.
    """

    tests: Sequence[SmokeTest]
    warmup_requests: int
    warmup_paths: Sequence[str]
    warmup_seconds: float
    max_error_ratio: float
    public_url: str | None
    health_path: str
    clock: Clock
    warmup_rate: float = 100.0

    def smoke(self, url: str) -> str:
        """See site.Checks."""
        results = run_smoke(url, self.tests, _READ_TIMEOUT, sleep=self.clock.sleep)
        failed = [str(result) for result in results if not result.passed]
        if failed:
            lines = "".join(f"\n  {line}" for text in failed for line in text.splitlines())
            raise ReleaseFailed(f"{len(failed)} of {len(results)} smoke tests failed on {url}:{lines}")
        return f"{len(results)} of {len(results)} smoke tests passed"

    def warm_up(self, url: str, sample: Sequence[str], live_url: str | None, say: Say) -> str:
        """See site.Checks."""
        compared = self._compare(url, sample, live_url)
        useless = {one.target for one in compared if is_error(one.here)}
        paths = tuple(dict.fromkeys([*self.warmup_paths, *(one for one in sample if one not in useless)]))
        done = warm_up(url, paths, self.warmup_requests, self.warmup_seconds, self.clock, self.warmup_rate)
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
        said = said if median is None else f"{said}, at its end {median:.0f} ms in the median"
        return "\n".join([f"{said}; {_verdict(sample, compared)}", *(f"  {one}" for one in differences(compared))])

    def _compare(self, url: str, sample: Sequence[str], live_url: str | None) -> Sequence[Compared]:
        """Nothing without a live slot. Raises ReleaseFailed when the new slot alone fails."""
        if live_url is None or not sample:
            return []
        compared = compare(url, live_url, sample, self.warmup_rate, self.warmup_seconds, self.clock)
        broken = [str(one) for one in compared if one.broken]
        if broken:
            lines = "".join(f"\n  {line}" for line in broken[:_MOST_BROKEN])
            raise ReleaseFailed(
                f"{len(broken)} of {len(compared)} addresses that users asked for of late fail on {url}:{lines}"
            )
        return compared

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


def _verdict(sample: Sequence[str], compared: Sequence[Compared]) -> str:
    if not compared:
        return f"{len(sample)} addresses that users asked for of late, compared with no slot" if sample else "no sample"
    different = sum(one.differs for one in compared)
    if not different:
        return f"{len(compared)} addresses that users asked for of late answer as on the live slot"
    return f"WARNING: {different} of {len(compared)} addresses that users asked for of late answer otherwise:"
