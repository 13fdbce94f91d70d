"""Looks for bytes that break a rule, for as long as one likes: `python -m tests.fuzz.run requests --seconds 3600`.

Each message is made from a seed of its own. A failure prints it; `--seed N --count 1` repeats it.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.fuzz import checks, mutate

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Target:
    """`methods`: of the request that a message answers, each time one of them, if it is a response."""

    make: Callable[[random.Random], bytes]
    check: Callable[..., object]
    methods: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failure`: the seed, the message with the method that it answers, and the broken rule, or None."""

    runs: int
    accepted: int
    failure: tuple[int, tuple[bytes, ...], Exception] | None


TARGETS: Final = {
    "requests": Target(mutate.request, checks.check_request),
    "responses": Target(mutate.response, checks.check_response, (b"GET", b"HEAD", b"POST", b"OPTIONS")),
    "chunked": Target(mutate.chunked, checks.check_chunked),
}


def run(target: Target, seed: int, count: int, go_on: Callable[[], bool]) -> Outcome:
    """Checks at most `count` messages, while `go_on`, until one fails."""
    accepted = 0
    for number in range(count):
        if not go_on():
            return Outcome(number, accepted, None)
        source = random.Random(seed + number)
        data = (mutate.mutated(source, target.make(source)), *source.choices(target.methods, k=bool(target.methods)))
        try:
            result = target.check(*data)
        except Exception as error:  # whatever escapes is the finding
            return Outcome(number + 1, accepted, (seed + number, data, error))
        accepted += result is not None and not isinstance(result, Exception)
    return Outcome(count, accepted, None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="of the first message; without it a new one")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="of messages at most")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(1 << 48) if arguments.seed is None else arguments.seed
    end = time.monotonic() + arguments.seconds
    print(f"{arguments.target}: {arguments.seconds:g} s from seed {seed}", flush=True)
    outcome = run(TARGETS[arguments.target], seed, arguments.count, lambda: time.monotonic() < end)
    print(f"{outcome.runs} messages, {outcome.accepted} accepted")
    if outcome.failure is None:
        return 0
    failed, data, error = outcome.failure
    print(f"seed {failed}: {type(error).__name__}: {error}\n{data}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
