"""Warm-up: requests to a slot's private port, so that its first users meet compiled code and filled caches."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.clock import Clock

CONNECTIONS = 2
"""Few, so that the warm-up takes little from the slot that serves users on the same machine."""
_LARGEST_BODY = 64 << 20
_REQUEST_TIMEOUT = 10.0
_LOOK = 0.25
"""Seconds between two looks at the requests under way, so that an interrupt is noticed."""


@dataclass(slots=True)
class WarmUpResult:
    """seconds: of each request. answers: how often each path gave each status, or why there was none."""

    seconds: list[float] = field(default_factory=list)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        """How many were sent."""
        return sum(self.answers.values())

    @property
    def errors(self) -> int:
        """How many gave no answer, or one of 500 and above."""
        return sum(count for (_, answer), count in self.answers.items() if is_error(answer))

    def share_of_errors(self) -> float:
        """0 to 1; 0 without requests."""
        return self.errors / self.requests if self.requests else 0.0

    def median_ms(self, last: int) -> float | None:
        """The median of the last ones, in milliseconds."""
        chosen = sorted(self.seconds[-last:])
        return chosen[len(chosen) // 2] * 1000 if chosen else None


def is_error(answer: str) -> bool:
    """Whether an answer as in `answers` is an error of the server."""
    return not answer.isdigit() or int(answer) >= 500


def warm_up(url: str, paths: Sequence[str], requests: int, timeout: float, clock: Clock) -> WarmUpResult:
    """Sends `requests` GETs, spread over the paths, on two connections that each keep their cookies.

    Ends after `timeout` seconds at the latest, with what it has by then. clock: its sleep may raise, which ends it.
    """
    target = urlsplit(url)
    wanted = [paths[number % len(paths)] for number in range(requests)]
    result, lock, stop = WarmUpResult(), threading.Lock(), threading.Event()
    end = time.monotonic() + timeout
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        client = (target.hostname or "", target.port or 80)
        shares = [wanted[first::CONNECTIONS] for first in range(CONNECTIONS)]
        running = {pool.submit(_send, client, share, result, lock, stop, end) for share in shares}
        try:
            while wait(running, timeout=0).not_done:
                clock.sleep(_LOOK)
        finally:
            stop.set()
        for one in running:
            one.result()
    return result


def _send(
    client: tuple[str, int],
    paths: Sequence[str],
    result: WarmUpResult,
    lock: threading.Lock,
    stop: threading.Event,
    end: float,
) -> None:
    connection = http.client.HTTPConnection(*client, timeout=_REQUEST_TIMEOUT)
    cookies: dict[str, str] = {}
    try:
        for path in paths:
            if stop.is_set() or time.monotonic() >= end:
                return
            begun = time.monotonic()
            answer = _one(connection, path, cookies)
            with lock:
                result.seconds.append(time.monotonic() - begun)
                result.answers[path, answer] += 1
    finally:
        connection.close()


def _one(connection: http.client.HTTPConnection, path: str, cookies: dict[str, str]) -> str:
    headers = {"User-Agent": "switchyard-warmup"}
    if cookies:
        # One session for each connection: without its cookie every request would make another one.
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        for line in response.headers.get_all("Set-Cookie", ()):
            cookies.update({name: morsel.value for name, morsel in SimpleCookie(line).items()})
        if len(response.read(_LARGEST_BODY)) >= _LARGEST_BODY:
            connection.close()
        return str(response.status)
    except (OSError, http.client.HTTPException, CookieError) as error:
        connection.close()
        return str(error) or type(error).__name__
