"""What a session's counter must answer to clients that hit it in parallel, whatever is behind the proxy. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Hit:
    """One request. `session` and `client` are numbers; `sent` and `ended` monotonic nanoseconds.

    `value`: what the counter answered; None when there was no right answer, and then `problem` says why.
    """

    session: int
    client: int
    sent: int
    ended: int
    value: int | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the hits differ from those of a single server; all 0 when they do not.

    failed: no answer, or not 200. lost: the session was not known any more. repeated: values that were answered more
    than once (counted once for each time too many). missing: values that nobody got. disordered: answers that were
    smaller than one that had been given before they were asked for.
    """

    hits: int = 0
    failed: int = 0
    lost: int = 0
    repeated: int = 0
    missing: int = 0
    disordered: int = 0

    @property
    def is_right(self) -> bool:
        """Whether it was strictly as with one server."""
        return not (self.failed or self.lost or self.repeated or self.missing or self.disordered)


LOST = "another session"


def judge(hits: Iterable[Hit]) -> Verdict:
    """The sum over all sessions. Every session begins with 1."""
    ordered = sorted(hits, key=lambda hit: hit.session)
    verdicts = [_judge_one(list(of_session)) for _, of_session in groupby(ordered, key=lambda hit: hit.session)]
    return Verdict(
        hits=sum(one.hits for one in verdicts),
        failed=sum(one.failed for one in verdicts),
        lost=sum(one.lost for one in verdicts),
        repeated=sum(one.repeated for one in verdicts),
        missing=sum(one.missing for one in verdicts),
        disordered=sum(one.disordered for one in verdicts),
    )


def _judge_one(hits: Sequence[Hit]) -> Verdict:
    values = Counter(hit.value for hit in hits if hit.value is not None)
    lost = sum(hit.problem == LOST for hit in hits)
    return Verdict(
        hits=len(hits),
        failed=sum(hit.value is None for hit in hits) - lost,
        lost=lost,
        repeated=values.total() - len(values),
        missing=max(values, default=0) - len(values),
        disordered=_disordered(hits),
    )


def _disordered(hits: Sequence[Hit]) -> int:
    """Who asks after another one was answered must get a larger value (linearizability of a counter)."""
    found = 0
    latest_sent = 0
    for _, ended, sent in sorted((hit.value, hit.ended, hit.sent) for hit in hits if hit.value is not None):
        found += latest_sent > ended
        latest_sent = max(latest_sent, sent)
    return found
