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

from deployer.sample import Compared, is_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.clock import Clock

CONNECTIONS = 2
"""Few, so that the warm-up takes little from the slot that serves users on the same machine."""
WINDOW = 50
"""Requests whose 99th percentile is set beside that of as many before."""
STEADY = 0.8
_LARGEST_BODY = 64 << 20
_REQUEST_TIMEOUT = 10.0
_LOOK = 0.25
"""Seconds between two looks at the requests under way, so that an interrupt is noticed."""


@dataclass(slots=True)
class WarmUpResult:
    """seconds: of each request. answers: how often each path gave each status, or why there was none.

    fewest: so many are sent even when the time to answer has settled before.
    """

    fewest: int = 0
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


def settled(seconds: Sequence[float]) -> bool:
    """Whether the 99th percentile falls no more: that of the last WINDOW requests beside that of those before."""
    if len(seconds) < 2 * WINDOW:
        return False
    last, before = _p99(seconds[-WINDOW:]), _p99(seconds[-2 * WINDOW : -WINDOW])
    return last >= STEADY * before


def _p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(0.99 * (len(seconds) - 1))]


def compare(
    url: str, live_url: str, targets: Sequence[str], rate: float, timeout: float, clock: Clock
) -> list[Compared]:
    """Asks both slots for each target once, at most `rate` targets a second, and for `timeout` seconds at most."""
    end = clock.monotonic() + timeout
    found: list[Compared] = []
    here, live = _connection(url), _connection(live_url)
    jars: tuple[dict[str, str], dict[str, str]] = ({}, {})
    try:
        for target in targets:
            if clock.monotonic() >= end:
                break
            found.append(Compared(target, _one(here, target, jars[0]), _one(live, target, jars[1])))
            clock.sleep(1 / rate)
    finally:
        here.close()
        live.close()
    return found


def _connection(url: str) -> http.client.HTTPConnection:
    target = urlsplit(url)
    return http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=_REQUEST_TIMEOUT)


def warm_up(
    url: str, paths: Sequence[str], requests: int, timeout: float, clock: Clock, rate: float = 100.0
) -> WarmUpResult:
    """Sends at most `requests` GETs, spread over the paths, on two connections that each keep their cookies.

    Ends sooner when each path was asked for and the time to answer has `settled`, and after `timeout` seconds at the
    latest, with what it has by then. rate: requests a second. clock: its sleep may raise, which ends it.
    """
    target = urlsplit(url)
    wanted = [paths[number % len(paths)] for number in range(requests)]
    result, lock, stop = WarmUpResult(fewest=len(paths)), threading.Lock(), threading.Event()
    pause = CONNECTIONS / rate
    end = time.monotonic() + timeout
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        client = (target.hostname or "", target.port or 80)
        shares = [wanted[first::CONNECTIONS] for first in range(CONNECTIONS)]
        running = {pool.submit(_send, client, share, result, lock, stop, end, pause) for share in shares}
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
    pause: float,
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
                if len(result.seconds) >= result.fewest and settled(result.seconds):
                    stop.set()
            stop.wait(pause - (time.monotonic() - begun))
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
