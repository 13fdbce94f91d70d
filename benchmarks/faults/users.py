"""Users of the shop, in threads: each checks every answer against its own record of its session."""

from __future__ import annotations

import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, Final

from benchmarks.faults.account import AGENT, Failure, Kind
from benchmarks.shop.load import session as judgement
from benchmarks.shop.load.client import Connection, ExchangeError
from benchmarks.shop.load.session import AnswerError, SessionLostError, SessionTornError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.shop.load.client import Reply
    from benchmarks.shop.load.session import Session

ANSWER_SECONDS: Final = 30.0
PAUSE: Final = (0.1, 0.4)
SLOW_MS: Final = 250
ITEMS: Final = ("tea", "jam", "bread", "salt", "rope")
MAX_FAILURES: Final = 100_000


class Users:
    """`count` users on one proxy. Use `with`: at its end each has finished what it does."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.requests = 0
        self.opened = 0
        self._failures: list[Failure] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._one, args=(n,), name=f"user-{n}") for n in range(count)]

    def __repr__(self) -> str:
        return f"<Users {len(self._threads)} requests={self.requests} failures={len(self._failures)}>"

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def failures(self, since: float, until: float) -> list[Failure]:
        """Those that ended in a span of Unix time."""
        with self._lock:
            return [failure for failure in self._failures if since <= failure.ended < until]

    def rounds(self) -> int:
        """Requests answered rightly so far; grows while users are served."""
        with self._lock:
            return self.requests - len(self._failures)

    def _one(self, number: int) -> None:
        user = _User(self, Connection("127.0.0.1", self.port, ANSWER_SECONDS), f"user-{number}")
        while not self._stop.wait(random.uniform(*PAUSE)):
            user.act()
        user.connection.close()

    def next_number(self) -> int:
        with self._lock:
            return next(self._numbers)

    def count(self, failure: Failure | None) -> None:
        with self._lock:
            self.requests += 1
            if failure is not None and len(self._failures) < MAX_FAILURES:
                self._failures.append(failure)


class _User:
    """One keep-alive connection and one session at a time."""

    def __init__(self, users: Users, connection: Connection, name: str) -> None:
        self.connection = connection
        self._users = users
        self._name = name
        self._session: Session | None = None
        self._cookies: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<_User {self._name} {self._session}>"

    def act(self) -> None:
        """One request."""
        session = self._session
        if session is None:
            self._log_in()
            return
        what = random.random()
        if what < 0.1:
            self._ask("GET", f"/slow?ms={SLOW_MS}", lambda reply: judgement.judge_slow(reply, SLOW_MS))
        elif what < 0.2:
            self._ask("GET", "/whoami", judgement.judge_status)
        elif what < 0.5:
            session.visit()
            self._ask("POST", "/counter", session.judge_visit, "")
        elif what < 0.7 or session.pending is not None:
            self._ask("GET", "/cart", session.judge_cart)
        else:
            item = random.choice(ITEMS)
            session.add(item)
            self._ask("POST", "/cart", session.judge_added, f"item={item}")

    def _log_in(self) -> None:
        begun: list[Session] = []
        self._cookies = {}
        self._ask("POST", "/login", lambda reply: begun.append(judgement.read_login(reply, self._name)),
                  f"user={self._name}")  # fmt: skip
        if begun:
            self._session = begun[0]
            self._users.opened += 1

    def _ask(self, method: str, path: str, judge: Callable[[Reply], None], form: str | None = None) -> None:
        number = self._users.next_number()
        headers = {"User-Agent": f"{AGENT}{number}"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{key}={value}" for key, value in self._cookies.items())
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        begun = time.time()
        error: ExchangeError | AnswerError | None = None
        try:
            reply = self.connection.exchange(method, path, headers, (form or "").encode(), 0)
            self._cookies.update(reply.cookies)
            judge(reply)
        except (ExchangeError, AnswerError) as why:
            error = why
        failure = None
        if error is not None:
            failure = Failure(number, f"{method} {path}", begun, time.time(), _kind(error), str(error))
            if failure.kind != "failed":
                self._session = None
        self._users.count(failure)


def _kind(error: Exception) -> Kind:
    if isinstance(error, SessionLostError):
        return "lost"
    return "torn" if isinstance(error, SessionTornError) else "failed"
