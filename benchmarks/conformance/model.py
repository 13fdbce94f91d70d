"""What is put through a server, and what came of it. Data only."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN_BYTES = 600


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a client sends on one connection. `family` is the kind of trick, `name` is unique in its group.

    `data` holds `@ID@` where the attempt's own number stands, by which the backend's bytes are found again.
    A control is valid: it passes only when the backend answered `answers` requests.
    """

    family: str
    name: str
    data: bytes
    answers: int = 0

    @property
    def control(self) -> bool:
        return self.answers > 0


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as a parser sees it; `host` is the host that it is for.

    The method is in upper case, because aiohttp makes it so: where a request ends does not depend on it.
    """

    method: bytes
    target: bytes
    host: bytes
    body: bytes

    def __str__(self) -> str:
        text = f"{self.method.decode('latin-1')} {self.target.decode('latin-1')!r} for {self.host.decode('latin-1')!r}"
        return f"{text} with {len(self.body)} B"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser makes of a connection's bytes: whole requests, then nothing, the begin of one, or a refusal."""

    requests: tuple[Seen, ...]
    left: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Miss:
    """An attempt that a server did not pass. `sent` and `got` are the bytes, as Python literals, bounded."""

    family: str
    name: str
    why: str
    sent: str
    got: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Of one server in one group; `passed` and `total` count the valid controls too."""

    server: str
    group: str
    total: int
    passed: int
    controls: int
    seconds: float
    misses: tuple[Miss, ...]


def shown(data: bytes) -> str:
    """The bytes as a Python literal, and how many more there are."""
    more = len(data) - SHOWN_BYTES
    return repr(data[:SHOWN_BYTES]) + (f" and {more:,} bytes more" if more > 0 else "")
