"""Smoke tests: requests to a slot's private port and what their answers must be, before users see the slot."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LARGEST_BODY = 8 << 20
"""Bytes of a body that are read and searched."""

SHOWN_BODY = 200
_PAUSE = 0.5


class SmokeTest(Protocol):
    """One request and its expected answer.

    path: with the context path and the query. status: no redirect is followed, so 302 can be expected.
    contains: text that the body must hold. header: names and the text that each value must hold.
    max_time: seconds that the whole answer may take.
    """

    @property
    def path(self) -> str:
        """See the class."""

    @property
    def status(self) -> int:
        """See the class."""

    @property
    def contains(self) -> str | None:
        """See the class."""

    @property
    def header(self) -> Mapping[str, str] | None:
        """See the class."""

    @property
    def max_time(self) -> float:
        """See the class."""


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """What came of one test. problem: "" when it passed. seconds: of the last attempt. body: its first bytes."""

    path: str
    problem: str
    status: int | None
    seconds: float
    attempts: int
    body: str = ""

    @property
    def passed(self) -> bool:
        """Whether the answer was as expected."""
        return not self.problem

    def __str__(self) -> str:
        if self.passed:
            return f"{self.path}: {self.status} in {self.seconds * 1000:.0f} ms"
        shown = f"\n  body: {self.body}" if self.body else ""
        return f"{self.path}: {self.problem}{shown}"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def run_smoke(
    base_url: str,
    tests: Iterable[SmokeTest],
    timeout: float,
    attempts: int = 1,
    sleep: Callable[[float], None] = time.sleep,
) -> list[SmokeResult]:
    """Runs every test against `base_url` (http://host:port), each up to `attempts` times until it passes.

    timeout: seconds for connecting and for each read. Raises nothing: a failure is a result that explains itself.
    """
    target = urlsplit(base_url)
    host, port = target.hostname or "127.0.0.1", target.port or 80
    results = []
    for test in tests:
        result = _attempt(host, port, test, timeout, 1)
        for attempt in range(2, attempts + 1):
            if result.passed:
                break
            sleep(_PAUSE)
            result = _attempt(host, port, test, timeout, attempt)
        results.append(result)
    return results


def _attempt(host: str, port: int, test: SmokeTest, timeout: float, attempt: int) -> SmokeResult:
    limit = min(timeout, test.max_time)
    began = time.monotonic()
    try:
        answer = _get(host, port, test.path, limit, began)
    except TimeoutError:
        return SmokeResult(test.path, f"no whole answer within {limit:g} s", None, time.monotonic() - began, attempt)
    except (OSError, http.client.HTTPException) as why:
        reason = str(why) or type(why).__name__
        return SmokeResult(test.path, f"no answer: {reason}", None, time.monotonic() - began, attempt)
    return SmokeResult(
        path=test.path,
        problem=_problem(test, answer),
        status=answer.status,
        seconds=answer.seconds,
        attempts=attempt,
        body=_shown(answer.body),
    )


def _get(host: str, port: int, path: str, limit: float, began: float) -> _Answer:
    connection = http.client.HTTPConnection(host, port, timeout=limit)
    try:
        connection.request("GET", path, headers={"Connection": "close", "User-Agent": "switchyard-smoke"})
        response = connection.getresponse()
        body = bytearray()
        while len(body) < LARGEST_BODY and (chunk := response.read1(65536)):
            body += chunk
            # A socket's timeout starts anew with each byte; a trickle must not outlast the limit.
            if time.monotonic() - began > limit:
                raise TimeoutError
        # read1, unlike read, takes the end of the connection for the end of the body.
        if response.length and len(body) < LARGEST_BODY:
            raise http.client.IncompleteRead(bytes(body), response.length)
        headers = {name.lower(): value for name, value in response.getheaders()}
        return _Answer(response.status, headers, bytes(body), time.monotonic() - began)
    finally:
        connection.close()


def _problem(test: SmokeTest, answer: _Answer) -> str:
    if answer.status != test.status:
        location = answer.headers.get("location")
        to = f" (to {location})" if location else ""
        return f"status {answer.status}{to} instead of {test.status}"
    for name, wanted in (test.header or {}).items():
        found = answer.headers.get(name.lower())
        if found is None:
            return f"there is no header {name}"
        if wanted not in found:
            return f"header {name} is {found!r}, which does not contain {wanted!r}"
    if test.contains is not None and test.contains.encode() not in answer.body:
        return f"the body does not contain {test.contains!r}"
    if answer.seconds > test.max_time:
        return f"it took {answer.seconds:.1f} s, more than {test.max_time:g} s"
    return ""


def _shown(body: bytes) -> str:
    text = body[:SHOWN_BODY].decode("utf-8", errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
