"""What a user knows about his own session, and the judgement of every answer against it. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Reply

BLOCK = 65536
ASSET = re.compile(rb'(?:href|src)="([^"]*/static/[a-z]+\.([0-9a-f]{16})\.(?:css|js|png))"')
VERSION = re.compile(rb'<meta name="shop-version" content="([^"]+)">')
ASSETS_OF_A_PAGE = 3


class AnswerError(Exception):
    """The answer is not what it must be; the message says what was expected and what came."""

    failure = "wrong answer"


class SessionLostError(AnswerError):
    """The server does not know the session any more."""

    failure = "session lost"


class SessionTornError(AnswerError):
    """The server knows the session, and what is in it is not what was put there."""

    failure = "session torn"


@dataclass(frozen=True)
class Asset:
    """A file that a page names, and how the SHA-256 of its content must begin."""

    path: str
    digest: str
    version: str


@dataclass(frozen=True)
class Page:
    version: str
    assets: tuple[Asset, ...]


@dataclass
class Session:
    """A user's own record of his session, which every answer is compared with; `checked` says that one was.

    A request that failed may still have been done. So a change is pending until an answer shows it, or shows the
    state before it; more than one cart change is never pending.
    """

    user: str
    counter: int = 0
    items: dict[str, int] = field(default_factory=dict)
    pending: str | None = None
    visits: int = 0
    visits_sent: int = 0
    checked: bool = False

    def add(self, item: str) -> None:
        """To be called before the request. Raises ValueError while another item is pending."""
        if self.pending is not None:
            raise ValueError(f"{self.pending} is pending")
        self.pending = item

    def visit(self) -> None:
        """To be called before the request."""
        self.visits_sent += 1

    def judge_added(self, reply: Reply) -> None:
        """The whole cart, with the pending item. Raises SessionLostError, SessionTornError or AnswerError."""
        self._judge_cart(reply, [self._with_pending()])

    def judge_cart(self, reply: Reply) -> None:
        """The whole cart, with or without the pending item. Raises as `judge_added`."""
        self._judge_cart(reply, [self._with_pending(), (self.counter, self.items)])

    def judge_visit(self, reply: Reply) -> None:
        """A number that no visit got before and that is no higher than there were visits. Raises as `judge_added`."""
        self._judge_same_session(reply)
        counter = _json(reply).get("counter")
        if not isinstance(counter, int) or counter not in range(self.visits + 1, self.visits_sent + 1):
            raise SessionTornError(f"expected count {self.visits + 1} to {self.visits_sent}, got {counter}")
        self.visits = self.visits_sent = counter

    def _with_pending(self) -> tuple[int, dict[str, int]]:
        if self.pending is None:
            return self.counter, self.items
        return self.counter + 1, {**self.items, self.pending: self.items.get(self.pending, 0) + 1}

    def _judge_cart(self, reply: Reply, right: list[tuple[int, dict[str, int]]]) -> None:
        self._judge_same_session(reply)
        cart = _json(reply)
        for counter, items in right:
            whole = {"user": self.user, "counter": counter, "items": items}
            if all(cart.get(key) == value for key, value in whole.items()):
                self.counter, self.items, self.pending = counter, items, None
                return
        raise SessionTornError(f"expected {self.user}'s cart {right[0]}, got {cart}")

    def _judge_same_session(self, reply: Reply) -> None:
        self.checked = True
        if reply.status == 401 or "JSESSIONID" in reply.cookies:
            raise SessionLostError(
                f"version {reply.headers.get('x-shop-version')} answered {reply.status} and "
                f"{'began another session' if reply.cookies else 'knows no session'}, at count {self.counter}"
            )
        judge_status(reply)


def judge_status(reply: Reply) -> None:
    if reply.status != 200:
        raise AnswerError(f"status {reply.status}: {_excerpt(reply.body)}")


def read_login(reply: Reply, user: str) -> Session:
    """The session that a login began."""
    judge_status(reply)
    if "JSESSIONID" not in reply.cookies:
        raise AnswerError("the login set no JSESSIONID cookie")
    cart = _json(reply)
    if (cart.get("user"), cart.get("counter"), cart.get("items")) != (user, 0, {}):
        raise AnswerError(f"a new cart must be empty and {user}'s, and is {cart}")
    return Session(user)


def read_page(reply: Reply, versions: frozenset[str]) -> Page:
    """The page's version, which must be one of `versions` (any when empty), and its assets."""
    judge_status(reply)
    named = VERSION.search(reply.body)
    if named is None:
        raise AnswerError(f"the page names no version: {_excerpt(reply.body)}")
    version = named[1].decode()
    if reply.headers.get("x-shop-version") != version:
        raise AnswerError(f"the page names version {version}, its header {reply.headers.get('x-shop-version')}")
    if versions and version not in versions:
        raise AnswerError(f"the page names version {version}, not one of {', '.join(sorted(versions))}")
    if not reply.body.rstrip().endswith(b"</html>"):
        raise AnswerError("the page has no end")
    assets = tuple(Asset(path.decode(), digest.decode(), version) for path, digest in ASSET.findall(reply.body))
    if len(assets) != ASSETS_OF_A_PAGE:
        raise AnswerError(f"the page names {len(assets)} assets, and it has {ASSETS_OF_A_PAGE}")
    return Page(version, assets)


def judge_asset(reply: Reply, asset: Asset) -> None:
    """Exactly the file that the page named: its name carries the digest of its content."""
    if reply.status != 200:
        raise AnswerError(f"status {reply.status} for {asset.path}, which version {asset.version} names")
    digest = hashlib.sha256(reply.body).hexdigest()
    if not digest.startswith(asset.digest):
        raise AnswerError(f"{asset.path} has {len(reply.body)} bytes with SHA-256 {digest[:16]}…")


def judge_upload(reply: Reply, body: bytes) -> None:
    judge_status(reply)
    answer = _json(reply)
    expected = (len(body), hashlib.sha256(body).hexdigest())
    if (answer.get("bytes"), answer.get("sha256")) != expected:
        raise AnswerError(f"sent {expected[0]} bytes with SHA-256 {expected[1]}, the server got {answer}")


def judge_slow(reply: Reply, ms: int) -> None:
    judge_status(reply)
    if _json(reply).get("ms") != ms:
        raise AnswerError(f"asked for {ms} ms, got {_excerpt(reply.body)}")


def judge_events(reply: Reply, count: int) -> None:
    """All events, in order, and the end."""
    judge_status(reply)
    text = reply.body.decode("utf-8", "replace")
    numbers = re.findall(r"^id: (\d+)$", text, re.MULTILINE)
    if numbers != [str(n) for n in range(1, count + 1)] or not text.endswith(f"event: end\ndata: {count}\n\n"):
        raise AnswerError(f"expected {count} events and the end, got the ids {numbers}")


def judge_download(reply: Reply, seed: int, length: int) -> None:
    judge_status(reply)
    if reply.body != download_content(seed, length):
        raise AnswerError(f"{len(reply.body)} of {length} bytes came, or other bytes than those of seed {seed}")


@lru_cache(maxsize=16)
def _pattern(seed: int) -> bytes:
    size = BLOCK - 8
    return b"".join(hashlib.sha256(f"{seed}:{i}".encode()).digest() for i in range(size // 32 + 1))[:size]


def download_content(seed: int, length: int) -> bytes:
    """The bytes of GET /download (DownloadServlet.java describes them)."""
    pattern = _pattern(seed)
    blocks = [k.to_bytes(8, "big") + pattern for k in range(-(-length // BLOCK))]
    return b"".join(blocks)[:length]


def _json(reply: Reply) -> dict[str, Any]:
    try:
        document = json.loads(reply.body)
    except ValueError as e:
        raise AnswerError(f"the answer is not JSON: {_excerpt(reply.body)}") from e
    if not isinstance(document, dict):
        raise AnswerError(f"the answer is not a JSON object: {_excerpt(reply.body)}")
    return document


def _excerpt(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return repr(text) if text else "an empty body"
