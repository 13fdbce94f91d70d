"""The judging of `scripts/bench conformance`: what it calls a miss, and what not."""

from __future__ import annotations

import json

import pytest

from benchmarks.conformance.frames import PING, TEXT, close, conversations, frame
from benchmarks.conformance.judge import answers, judge_response, judge_second, judge_smuggling
from benchmarks.conformance.model import SHOWN_BYTES, Attempt, Miss, Score, Seen, shown
from benchmarks.conformance.peers import choose
from benchmarks.conformance.read_requests import READERS
from benchmarks.conformance.read_responses import CLIENTS, CUT, WAITS, WHOLE
from benchmarks.conformance.report import KEPT, Report, summary, to_json, to_markdown
from benchmarks.conformance.responses import Response, responses
from benchmarks.conformance.run import both_methods, thin
from benchmarks.conformance.smuggling import attempts
from benchmarks.conformance.traversal import SECRET, SERVED, judge, targets
from benchmarks.conformance.websocket import differs
from benchmarks.conformance.wire import PLACE, plain_answer
from benchmarks.machine import Machine
from benchmarks.servers import BenchError

HEAD = b"POST /a HTTP/1.1\r\nHost: a.test\r\n"
NEXT = b"GET /b HTTP/1.1\r\nHost: a.test\r\n\r\n"
ANSWER = plain_answer(b"GET / HTTP/1.1\r\n\r\n")
TRICK = Attempt("family", "name", b"")
CONTROL = Attempt("valid", "name", b"", answers=1)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\nabc", (b"abc",)),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", (b"abcde",)),
        (HEAD + b"Content-Length: 0\r\n\r\n" + NEXT, (b"", b"")),
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT, (NEXT,)),
        (NEXT + NEXT, (b"", b"")),
    ],
)
def test_every_reader_reads_plain_requests(reader: str, data: bytes, bodies: tuple[bytes, ...]) -> None:
    reading = READERS[reader](data)
    assert tuple(request.body for request in reading.requests) == bodies
    assert {request.host for request in reading.requests} == {b"a.test"}
    assert (reading.left, reading.refused) == (False, "")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"Content-Length: 5\r\n\r\nabc",
        HEAD + b"Content-Length: 99999999999999999\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        HEAD,
    ],
)
def test_every_reader_waits_for_the_rest(reader: str, data: bytes) -> None:
    reading = READERS[reader](data)
    assert (reading.requests, reading.left, reading.refused) == ((), True, "")


def test_readers_differ_where_servers_do() -> None:
    data = HEAD + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(NEXT)) + NEXT
    readings = {name: read(data) for name, read in READERS.items()}
    assert readings["aiohttp"].refused
    assert len(readings["lenient: bare LF, last field, any chunked"].requests) == 2
    assert len(readings["lenient: bare LF, length first"].requests) == 1


def test_no_attempt_breaks_a_reader() -> None:
    for attempt in attempts()[::7]:
        data = attempt.data[:2000]
        for name, read in READERS.items():
            assert len(read(data).requests) <= 5, (name, attempt)


def test_agreement_passes() -> None:
    forwarded = [HEAD + b"Content-Length: 3\r\n\r\nabc"]
    assert judge_smuggling(TRICK, forwarded, ANSWER) == ""
    assert judge_smuggling(CONTROL, forwarded, ANSWER) == ""


def test_a_refusal_with_nothing_forwarded_passes_unless_it_was_valid() -> None:
    refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    assert judge_smuggling(TRICK, [], refusal) == ""
    assert judge_smuggling(TRICK, [], b"") == ""
    assert "of 1 requests 0 reached" in judge_smuggling(CONTROL, [], refusal)


def test_a_hidden_request_is_a_miss() -> None:
    data = HEAD + b"Content-Length: 0\r\n\r\n" + NEXT
    assert judge_smuggling(TRICK, [data], ANSWER) == "2 requests reached the backend, and 1 were answered"
    assert judge_smuggling(TRICK, [data], ANSWER * 2) == ""
    assert judge_smuggling(TRICK, [NEXT, NEXT], ANSWER).startswith("2 requests")


def test_what_the_parsers_read_differently_is_a_miss() -> None:
    both = HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    folded = HEAD + b"Content-Length: 3\r\n X: y\r\n\r\nabc"
    bare = b"POST /a HTTP/1.1\r\nHost: a.test\nContent-Length: 3\r\n\r\nabc"
    for data in (both + NEXT, bare):
        assert " sees " in judge_smuggling(TRICK, [data], ANSWER * 2)
    assert judge_smuggling(TRICK, [folded], ANSWER) == ""


def test_two_hosts_for_one_request_are_a_miss() -> None:
    data = b"GET http://b.test/a HTTP/1.1\r\nHost: a.test\r\n\r\n"
    assert "'b.test'" in judge_smuggling(TRICK, [data], ANSWER)


def test_an_abandoned_request_passes_only_when_all_wait_for_more() -> None:
    begun = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    assert judge_smuggling(TRICK, [begun], b"HTTP/1.1 400 Bad Request\r\n\r\n") == ""
    assert "begin of one more" in judge_smuggling(TRICK, [begun + b"0\r\n\n"], ANSWER)


def test_answers_are_the_backends_own() -> None:
    assert answers(ANSWER + ANSWER.replace(b"X-Recorded", b"x-recorded")) == 2
    assert answers(b"recorded by the backend") == 1
    assert answers(b"HTTP/1.1 400 Bad Request\r\n\r\n") == 0


def test_attempts_are_many_named_once_and_always_the_same() -> None:
    made = attempts()
    assert made == attempts()
    assert len(made) > 2000
    assert len({(one.family, one.name) for one in made}) == len(made)
    assert all(PLACE in one.data for one in made)
    assert len([one for one in made if one.control]) > 30


def test_a_quick_run_keeps_the_controls() -> None:
    made = attempts()
    kept = thin(made, 10)
    assert [one for one in kept if one.control] == [one for one in made if one.control]
    assert len(kept) < len(made) / 5


def test_a_reader_says_what_a_request_is_for() -> None:
    (seen,) = READERS["h11"](b"GET http://b.test:80/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n").requests
    assert seen == Seen(b"GET", b"http://b.test:80/x?y", b"b.test:80", b"")
    assert str(seen) == "GET 'http://b.test:80/x?y' for 'b.test:80' with 0 B"


def test_unknown_peers_are_named() -> None:
    with pytest.raises(BenchError, match="no server is called apache") as caught:
        choose(("nginx", "apache"))
    assert "haproxy" in caught.value.advice


OK = b"HTTP/1.1 200 OK\r\n"
GOOD = OK + b"Content-Length: 5\r\n\r\nhello"
ODD = Response("family", "name", b"")
VALID = Response("valid", "name", GOOD, valid=(200, b"hello"))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("data", "method", "ended", "end", "body", "surplus"),
    [
        (GOOD, "GET", False, WHOLE, b"hello", 0),
        (GOOD + b"more", "GET", False, WHOLE, b"hello", 4),
        (GOOD[:-1], "GET", False, WAITS, b"hell", 0),
        (GOOD[:-5], "HEAD", False, WHOLE, b"", 0),
        (GOOD, "HEAD", False, WHOLE, b"", 5),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "GET", False, WHOLE, b"hello", 0),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "GET", True, CUT, b"hello", 0),
        (OK + b"Connection: close\r\n\r\nhello", "GET", True, WHOLE, b"hello", 0),
        (OK + b"Connection: close\r\n\r\nhello", "GET", False, WAITS, b"hello", 0),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" + GOOD, "GET", False, WHOLE, b"hello", 0),
        (b"HTTP/1.1 204 No Content\r\n\r\nx", "GET", False, WHOLE, b"", 1),
    ],
)
def test_every_client_reads_plain_responses(
    client: str, data: bytes, method: str, ended: bool, end: str, body: bytes, surplus: int
) -> None:
    answer = CLIENTS[client](data, method, ended)
    assert (answer.end, answer.surplus) == (end, surplus)
    assert end == CUT or answer.body in (body, b"")


def test_a_response_that_all_clients_read_alike_passes() -> None:
    assert judge_response(VALID, "GET", GOOD, ended=False) == ""
    assert judge_response(ODD, "GET", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", ended=True) == ""
    assert judge_response(ODD, "GET", b"", ended=True) == ""
    assert judge_response(ODD, "GET", GOOD[:-2], ended=True) == ""


@pytest.mark.parametrize(
    ("received", "ended", "why"),
    [
        (b"", False, "still waits"),
        (GOOD[:-2], False, "still waits"),
        (GOOD + b"x", False, "1 bytes behind the response"),
        (OK + b"X: \x00\r\nContent-Length: 5\r\n\r\nhello", False, "h11 reads refused"),
        (OK + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nhello", True, " reads "),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", True, "h11 reads cut"),
    ],
)
def test_a_response_that_clients_read_differently_is_a_miss(received: bytes, ended: bool, why: str) -> None:
    assert why in judge_response(ODD, "GET", received, ended=ended)


def test_a_valid_response_must_arrive() -> None:
    refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    assert judge_response(VALID, "GET", refusal, ended=False).startswith("valid, but")
    assert judge_response(VALID, "GET", b"", ended=True).startswith("valid, but")


def test_the_second_request_gets_its_own_answer_or_an_error() -> None:
    own = OK + b"Content-Length: 11\r\n\r\nsecond 0007"
    assert judge_second(7, own, ended=True) == ""
    assert judge_second(7, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", ended=True) == ""
    assert judge_second(7, b"", ended=True) == ""
    assert "0007" in judge_second(8, own, ended=True)
    assert "evil" in judge_second(7, GOOD.replace(b"hello", b"evil!"), ended=True)
    assert "waits" in judge_second(7, b"", ended=False)


def test_responses_are_many_named_once_and_break_no_client() -> None:
    made = both_methods()
    assert len({(one.family, one.name) for one in made}) == len(made) == 2 * len(responses())
    for one in made[::7]:
        for client in CLIENTS.values():
            client(one.data[:1000], "HEAD" if one.name.endswith("HEAD") else "GET", True)


def test_valid_responses_pass_when_nothing_is_between() -> None:
    for one in both_methods():
        if one.valid is not None:
            method = "HEAD" if one.name.endswith("HEAD") else "GET"
            assert judge_response(one, method, one.data, ended=one.closes) == "", one.name


ESCAPE = Attempt("one up", "name", b"")
FILE = Attempt("valid", "name", b"", answers=1)
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "ended", "why"),
    [
        (NOT_FOUND, True, ""),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, ""),
        (b"", True, ""),
        (b"", False, "no answer"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", True, "answered 500"),
        (OK + b"\r\n" + SECRET, True, "a file outside the root was served"),
        (OK + b"\r\nroot:x:0:0:root:/root:/bin/sh\n", True, "a file outside the root was served"),
    ],
)
def test_a_target_passes_unless_a_secret_a_fault_or_nothing_comes(received: bytes, ended: bool, why: str) -> None:
    assert judge(ESCAPE, received, ended=ended) == why


def test_a_file_that_is_there_must_be_served() -> None:
    assert judge(FILE, OK + b"\r\n" + SERVED, ended=True) == ""
    assert judge(FILE, OK + b"\r\nother", ended=True) == "valid, but answered 200"
    assert judge(FILE, NOT_FOUND, ended=True) == "valid, but answered 404"
    assert judge(FILE, b"", ended=True) == "no answer"


def test_targets_are_many_and_differ() -> None:
    made = targets()
    assert made == targets()
    assert len(made) == len({one.data for one in made}) == len({(one.family, one.name) for one in made})
    assert len(made) > 6000


def test_frames_are_as_in_the_rfcs_examples() -> None:
    assert frame(TEXT, b"Hello", masked=False) == bytes.fromhex("810548656c6c6f")
    assert frame(PING, b"Hello", masked=False) == bytes.fromhex("890548656c6c6f")
    assert frame(2, b"*" * 256, masked=False)[:4] == bytes.fromhex("827e0100")
    assert frame(2, b"*" * 65_536, masked=False)[:10] == bytes.fromhex("827f0000000000010000")
    hidden = frame(TEXT, b"Hello")
    assert bytes(byte ^ hidden[2 + at % 4] for at, byte in enumerate(hidden[6:])) == b"Hello"
    assert close(1000, b"x")[:2] == b"\x88\x83"


def test_conversations_are_many_and_named_once() -> None:
    made = conversations()
    assert len(made) > 300
    assert len({(one.family, one.name) for one in made}) == len(made)
    chopped = [one for one in made if one.name.endswith("by 7, chopped")]
    assert chopped
    assert all(len(piece) <= 7 for one in chopped for piece in one.pieces)


@pytest.mark.parametrize(
    ("through", "why"),
    [
        ((b"abc", True), ""),
        ((b"abd", True), "from byte 2 of 3"),
        ((b"ab", True), "from byte 2 of 3"),
        ((b"abcd", True), "from byte 3 of 3"),
        ((b"abc", False), "the connection stayed open"),
    ],
)
def test_a_conversation_passes_when_it_is_the_same_through_the_server(through: tuple[bytes, bool], why: str) -> None:
    told = differs((b"abc", True), through)
    assert told.startswith(why)
    assert bool(told) == bool(why)


def report(*misses: Miss) -> Report:
    score = Score("nginx", "smuggling", 200, 200 - len(misses), 3, 1.0, misses)
    where = Machine("cpu", 2, 4.0, "6", "3.11", 0.0)
    return Report("now", "abc", where, {"nginx": "nginx"}, {"nginx": "1.22"}, {"smuggling": "told"}, 1, (score,))


def test_the_report_lists_misses_by_name_with_bytes_and_bounded() -> None:
    misses = tuple(Miss("family", f"n{n}", "why `not`", shown(b"GET / \x00"), ("b'got'",)) for n in range(150))
    text = to_markdown(report(*misses, Miss("rare", "r", "why", "b''", ())))
    assert "| smuggling | 49 of 200 |" in text
    assert "- family, `n0`: `why 'not'`" in text
    assert r"sent `b'GET / \x00'`" in text
    assert "- rare, `r`" in text
    assert "and 139 more" in text
    assert len(json.loads(to_json(report(*misses)))["scores"][0]["misses"]) == KEPT


def test_a_report_without_misses_has_the_table_alone() -> None:
    assert "missed" not in to_markdown(report())
    assert "200 of 200" in summary(report())


def test_long_bytes_are_cut_and_counted() -> None:
    assert shown(b"x" * (SHOWN_BYTES + 5)).endswith(" and 5 bytes more")
