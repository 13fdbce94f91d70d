"""The users of the shop: they keep a record of what they did and check every answer against it.

    locust -f benchmarks/locustfile.py --headless -u 100 -r 20 -t 30s --host http://127.0.0.1:8080

A request without a whole and right answer is a failure, a lost or torn session too; the exit code is 1 when there was
one, or when nothing was checked at all. SIGINT and SIGTERM end the load cleanly: every user finishes what he does and
checks his cart once more. Settings, by environment:

SHOP_RESULTS   the JSON file to write at the end (benchmarks/shop/load/results.py describes and reads it)
SHOP_WAIT      a user's pause between two actions in seconds, as FROM-TO (0.2-1.0 when unset)
SHOP_VERSIONS  the versions that a page may name, with commas between them (any when unset)
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from greenlet import GreenletExit  # type: ignore[import-untyped]
from locust import User, constant, events, task
from shop.load import session as judgement
from shop.load.client import Connection, ExchangeError
from shop.load.results import Results
from shop.load.session import AnswerError, SessionLostError, SessionTornError

if TYPE_CHECKING:
    from collections.abc import Callable

    from locust.env import Environment
    from shop.load.client import Reply
    from shop.load.session import Asset, Session

T = TypeVar("T")
LOG = logging.getLogger("shop")
ITEMS = ("tea", "jam", "bread", "salt", "rope", "lamp", "ink", "paper", "soap", "nails")
SLOW_MS = 300
EVENTS, EVENT_INTERVAL_MS = 3, 150
ANSWER_SECONDS = 60.0
# The time that users get at the end to finish their action; without it Locust kills them within a request.
STOP_SECONDS = 30.0

_numbers = itertools.count(1)
_results = Results(time.time())
_ending = threading.Event()


def _pause_bounds(text: str) -> tuple[float, float]:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text)
    if found is None or float(found[1]) > float(found[2]):
        raise SystemExit(f"SHOP_WAIT is {text!r}: set it to seconds as FROM-TO, for example 0.2-1.0")
    return float(found[1]), float(found[2])


class Shopper(User):
    """One user with one keep-alive connection and one session at a time."""

    # Locust kills a user who waits between two tasks, and one who wakes just then is killed within his next request.
    # So a user pauses within the task, where Locust lets him finish.
    wait_time = constant(0)
    pause_bounds = _pause_bounds(os.environ.get("SHOP_WAIT", "0.2-1.0"))
    versions = frozenset(filter(None, os.environ.get("SHOP_VERSIONS", "").split(",")))

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        address = urlsplit(self.host or "")
        if address.scheme != "http" or address.hostname is None:
            raise SystemExit(f"--host is {self.host!r}: set it to the shop's address, as http://127.0.0.1:8080")
        self.connection = Connection(address.hostname, address.port or 80, ANSWER_SECONDS)
        self.cookies: dict[str, str] = {}
        self.session: Session | None = None

    def __repr__(self) -> str:
        return f"<Shopper {self.session} on {self.connection}>"

    def on_start(self) -> None:
        self.begin_session()

    def on_stop(self) -> None:
        """Ends with a last look at the cart, so every session is checked after all that happened to it."""
        self.end_session()
        self.connection.close()

    @task
    def act(self) -> None:
        """One action after a pause; a user who is stopped in the pause leaves the action."""
        if self.pause():
            action = random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            action(self)

    def pause(self) -> bool:
        """Waits; False when the load ends."""
        return not _ending.wait(random.uniform(*self.pause_bounds))

    def add_to_cart(self) -> None:
        if (session := self.session or self.begin_session()) is None:
            return
        if session.pending is not None:
            self.look_at_cart()
            return
        item = random.choice(ITEMS)
        session.add(item)
        self.ask("POST /cart", "/cart", session.judge_added, form=f"item={item}")

    def look_at_cart(self) -> None:
        if (session := self.session or self.begin_session()) is not None:
            self.ask("GET /cart", "/cart", session.judge_cart)

    def count_visit(self) -> None:
        if (session := self.session or self.begin_session()) is None:
            return
        session.visit()
        self.ask("POST /counter", "/counter", session.judge_visit, form="")

    def read_page(self) -> None:
        page = self.ask("GET /", "/", lambda reply: judgement.read_page(reply, self.versions))
        if page is None:
            return
        _results.add_page(page.version, time.time())
        *first, image = sorted(page.assets, key=lambda asset: asset.path.endswith(".png"))
        for asset in first:
            self.fetch(asset)
        # The image comes into view later: a page that was open during a switch still gets what it names.
        self.pause()
        self.fetch(image)

    def upload(self) -> None:
        body = os.urandom(random.choice((100, 4_000, 20_000, 100_000)))
        chunk = random.choice((0, 0, 3_000))
        name = "POST /upload chunked" if chunk else "POST /upload"
        self.ask(name, "/upload", lambda reply: judgement.judge_upload(reply, body), body=body, chunk=chunk)

    def download(self) -> None:
        seed, length = random.randrange(8), random.choice((1_000, 50_000, 200_000))
        chunked = random.randrange(2)
        self.ask(
            "GET /download",
            f"/download?bytes={length}&seed={seed}&chunked={chunked}",
            lambda reply: judgement.judge_download(reply, seed, length),
        )

    def slow_page(self) -> None:
        self.ask(
            "GET /slow",
            f"/slow?ms={SLOW_MS}",
            lambda reply: judgement.judge_slow(reply, SLOW_MS),
            asked_ms=SLOW_MS,
        )

    def follow_events(self) -> None:
        self.ask(
            "GET /events",
            f"/events?count={EVENTS}&interval={EVENT_INTERVAL_MS}",
            lambda reply: judgement.judge_events(reply, EVENTS),
            asked_ms=EVENTS * EVENT_INTERVAL_MS,
        )

    def come_back_later(self) -> None:
        self.end_session()
        self.begin_session()

    def fetch(self, asset: Asset) -> None:
        suffix = asset.path.rpartition(".")[2]
        self.ask(f"GET /static/*.{suffix}", asset.path, lambda reply: judgement.judge_asset(reply, asset))

    def begin_session(self) -> Session | None:
        """Logs in. None, and a failure counted, when that did not work."""
        user = f"user-{next(_numbers)}"
        self.session = None
        self.session = self.ask(
            "POST /login", "/login", lambda reply: judgement.read_login(reply, user), form=f"user={user}"
        )
        if self.session is not None:
            _results.sessions_opened += 1
        return self.session

    def end_session(self) -> None:
        if (session := self.session) is not None:
            self.ask("GET /cart", "/cart", session.judge_cart)
            self.forget_session()

    def forget_session(self) -> None:
        if self.session is not None:
            _results.sessions_checked += self.session.checked
            self.session = None

    def ask(
        self,
        name: str,
        path: str,
        judge: Callable[[Reply], T],
        *,
        form: str | None = None,
        body: bytes = b"",
        chunk: int = 0,
        asked_ms: float = 0,
    ) -> T | None:
        """Sends one request, has its answer judged, counts both; returns what `judge` made of it, None on a failure.

        `name` begins with the method. A session that is lost or torn is forgotten.
        """
        headers = {"Cookie": "; ".join(f"{key}={value}" for key, value in self.cookies.items())} if self.cookies else {}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = form.encode()
        started = time.perf_counter()
        elapsed = None
        size = 0
        failure: BaseException | None = None
        answer = None
        try:
            reply = self.connection.exchange(name.split(" ", 1)[0], path, headers, body, chunk)
            elapsed = time.perf_counter() - started
            size = len(reply.body)
            self.cookies.update(reply.cookies)
            answer = judge(reply)
        except (ExchangeError, AnswerError) as e:
            failure = e
        except GreenletExit:
            # Users are killed within a request only when it outlasts the time that they get to finish.
            failure = ExchangeError(f"no answer before the load ended, {STOP_SECONDS:.0f} s after its stop")
            self.forget_session()
            raise
        finally:
            if elapsed is None:
                elapsed = time.perf_counter() - started
            self.count(name, elapsed * 1000, asked_ms, size, failure)
            if isinstance(failure, (SessionLostError, SessionTornError)):
                self.forget_session()
        return answer

    def count(self, name: str, ms: float, asked_ms: float, size: int, failure: BaseException | None) -> None:
        end = time.time()
        _results.add_request(name, end, ms - asked_ms)
        if failure is not None:
            kind = failure.failure if isinstance(failure, AnswerError) else "no answer"
            _results.add_failure(f"{name}: {kind}", str(failure), end)
            _results.sessions_lost += isinstance(failure, SessionLostError)
            _results.sessions_torn += isinstance(failure, SessionTornError)
        method, _, label = name.partition(" ")
        self.environment.events.request.fire(
            request_type=method,
            name=label,
            response_time=ms,
            response_length=size,
            exception=failure,
            context={},
        )


# How often a user does what, in proportion.
ACTIONS: dict[Callable[[Shopper], None], int] = {
    Shopper.add_to_cart: 12,
    Shopper.look_at_cart: 4,
    Shopper.count_visit: 4,
    Shopper.read_page: 6,
    Shopper.upload: 2,
    Shopper.download: 2,
    Shopper.slow_page: 1,
    Shopper.follow_events: 1,
    Shopper.come_back_later: 1,
}


@events.init.add_listener  # type: ignore[untyped-decorator]
def let_users_finish(environment: Environment, **_: Any) -> None:
    environment.stop_timeout = max(environment.stop_timeout or 0.0, STOP_SECONDS)


@events.test_stopping.add_listener  # type: ignore[untyped-decorator]
def wake_users(**_: Any) -> None:
    _ending.set()


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def finish(environment: Environment, **_: Any) -> None:
    """Ends the load before Locust looks for the exit code, writes the results and sets that code."""
    runner = environment.runner
    if runner is not None:
        runner.stop()
    broken = runner is not None and bool(runner.exceptions)
    good = _results.failed == 0 and _results.sessions_checked > 0 and not broken
    environment.process_exit_code = 0 if good else 1
    LOG.info("%r", _results)
    path = os.environ.get("SHOP_RESULTS")
    if path:
        try:
            _results.write(Path(path), time.time())
        except OSError as e:
            LOG.error("the results cannot be written to %s: %s; set SHOP_RESULTS to a writable file", path, e)
            environment.process_exit_code = 1
