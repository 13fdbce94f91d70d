"""Whether a server passed an attempt. Pure: bytes in, a sentence out, empty when it passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.conformance.read_requests import READERS
from benchmarks.conformance.read_responses import CLIENTS, WAITS, WHOLE
from benchmarks.conformance.wire import RECORDED, RECORDED_BODY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.conformance.model import Attempt, Reading, Seen
    from benchmarks.conformance.read_responses import Answer
    from benchmarks.conformance.responses import Response


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


def judge_response(response: Response, method: str, received: bytes, *, ended: bool) -> str:
    """Why what a client got for this response is a miss, empty when it is none.

    All clients read the same and nothing is left, or all of them see that it went wrong. `ended`: the connection has.
    """
    if not received and ended and response.valid is None:
        return ""
    read = {name: client(received, method, ended) for name, client in CLIENTS.items()}
    first_name, first = next(iter(read.items()))
    for name, answer in read.items():
        if answer.end == WAITS:
            return f"{name} still waits: {answer}"
        if answer.failed != first.failed or (not answer.failed and _what(answer) != _what(first)):
            return f"{first_name} reads {first}; {name} reads {answer}"
    if first.end == WHOLE and first.surplus:
        return f"{first.surplus} bytes behind the response"
    if response.valid is not None and (first.failed or (first.status, first.body) != response.valid):
        return f"valid, but the client reads {first}"
    return ""


def _what(answer: Answer) -> tuple[int, bytes, int]:
    return answer.status, answer.body, answer.surplus


def judge_second(number: int, received: bytes, *, ended: bool) -> str:
    """Why what a client got for a plain second request is a miss: it is neither its own answer nor an error."""
    if not received and ended:
        return ""
    answer = CLIENTS["h11"](received, "GET", ended)
    own = answer.end == WHOLE and not answer.surplus and answer.status == 200 and answer.body == b"second %04d" % number
    if own or (answer.end == WHOLE and 500 <= answer.status < 600):
        return ""
    return f"the next request's client reads {answer}"
