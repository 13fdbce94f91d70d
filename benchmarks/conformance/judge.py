"""Whether a server passed an attempt. Pure: bytes in, a sentence out, empty when it passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.conformance.read_requests import READERS
from benchmarks.conformance.wire import RECORDED, RECORDED_BODY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.conformance.model import Attempt, Reading, Seen


def answers(received: bytes) -> int:
    """How many of the backend's answers the client got."""
    return max(received.lower().count(RECORDED.lower()), received.count(RECORDED_BODY))


def judge_smuggling(attempt: Attempt, forwarded: Sequence[bytes], received: bytes) -> str:
    """Why this is a miss: parsers differ about what was forwarded, or more requests than answers; else empty.

    `forwarded` are the bytes of each backend connection, `received` what the client got.
    """
    got, most = answers(received), 0
    for data in forwarded:
        readings = {name: read(data) for name, read in READERS.items()}
        difference = compare(readings)
        if difference:
            return difference
        most += max(len(reading.requests) for reading in readings.values())
    if most > got:
        return f"{most} requests reached the backend, and {got} were answered"
    if attempt.control and not got == most == attempt.answers:
        return f"valid, but of {attempt.answers} requests {most} reached the backend and {got} were answered"
    return ""


def compare(readings: Mapping[str, Reading]) -> str:
    """How the parsers that accept the bytes differ, empty when they don't.

    One that refuses has acted on the requests before; they must be how the longest reading begins.
    """
    accepting = {name: reading for name, reading in readings.items() if not reading.refused}
    first_name, first = next(iter((accepting or readings).items()))
    for name, reading in accepting.items():
        if reading.requests != first.requests or reading.left != first.left:
            return f"{first_name} sees {_tell(first)}; {name} sees {_tell(reading)}"
    longest_name, longest = max(readings.items(), key=lambda item: len(item[1].requests))
    for name, reading in readings.items():
        if reading.requests != longest.requests[: len(reading.requests)]:
            return f"{longest_name} sees {_tell(longest)}; {name} sees {_tell(reading)}"
    return ""


def _tell(reading: Reading) -> str:
    seen: tuple[Seen, ...] = reading.requests
    parts = [", then ".join(map(str, seen)) or "no request"]
    if reading.left:
        parts.append("the begin of one more")
    if reading.refused:
        parts.append(f"a refusal ({reading.refused})")
    return ", then ".join(parts)
