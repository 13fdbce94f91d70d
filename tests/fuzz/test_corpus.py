"""Every entry of the corpus: refused, or accepted in exactly one meaning, and the same in any pieces."""

from __future__ import annotations

import pytest

from proxy.http1.body import BodyError, ChunkedBody
from proxy.http1.head import HeadError, ResponseError
from proxy.http1.rewrite import Peer, forwarded_fields, interim_head, request_head, response_head, switching_head
from tests.fuzz import checks, ours
from tests.fuzz.corpus.cases import CASES, H11, LLHTTP, ChunkedCase, RequestCase, ResponseCase
from tests.fuzz.corpus.chunked_cases import CHUNKED
from tests.fuzz.corpus.request_cases import REQUESTS
from tests.fuzz.corpus.response_cases import RESPONSES

PEER = Peer(b"192.0.2.7", b"http", b"8080")
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def lax(data: bytes, kind: str, method: bytes = b"GET") -> tuple[str, ...]:
    return tuple(parser for parser in (H11, LLHTTP) if not checks.refused_by(parser, data, kind, method))


def test_every_case_has_an_entry_and_every_entry_another_name() -> None:
    tables: tuple[tuple[RequestCase | ResponseCase | ChunkedCase, ...], ...] = (REQUESTS, RESPONSES, CHUNKED)
    assert {entry.case for table in tables for entry in table} == set(CASES)
    for table in tables:
        names = [str(entry) for entry in table]
        assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("case", REQUESTS, ids=str)
def test_request(case: RequestCase) -> None:
    outcome = checks.check_request(case.data)
    if case.status is None:
        assert outcome is None
    elif case.status:
        assert isinstance(outcome, (HeadError, BodyError))
        assert outcome.status == case.status
        assert lax(case.data, "request") == case.lax
    else:
        assert isinstance(outcome, ours.Request)
        head = outcome.head
        assert (head.target, head.authority) == (case.target, case.authority)
        assert (outcome.body, outcome.rest) == (case.body, case.rest)
        sent = request_head(head, forwarded_fields(head.fields, head.authority, PEER), checks.REQUEST_ID) + outcome.sent
        for line in case.sent:
            assert b"\r\n%b\r\n" % line in sent
        for text in case.withheld:
            assert text not in sent


@pytest.mark.parametrize("case", RESPONSES, ids=str)
def test_response(case: ResponseCase) -> None:
    outcome = checks.check_response(case.data, case.method)
    if case.refused:
        assert isinstance(outcome, (ResponseError, BodyError))
        assert lax(case.data, "response", case.method) == case.lax
    elif case.cut:
        assert outcome is None
    else:
        assert isinstance(outcome, ours.Response)
        assert (outcome.body, outcome.rest) == (case.body, case.rest)
        sent = b"\r\n" + sent_to_client(outcome)
        for line in case.sent:
            assert b"\r\n%b\r\n" % line in sent
        for text in case.withheld:
            assert text not in sent


def sent_to_client(response: ours.Response) -> bytes:
    head = response.head
    if head.status == 101:
        return switching_head(head, checks.REQUEST_ID)
    chunked = response.has_body and head.length < 0
    final = response_head(head, chunked=chunked, connection=b"", request_id=checks.REQUEST_ID, date=checks.DATE)
    return b"".join(map(interim_head, response.interims)) + final


@pytest.mark.parametrize("case", CHUNKED, ids=str)
def test_chunked(case: ChunkedCase) -> None:
    outcome = checks.check_chunked(case.data)
    if case.refused:
        assert isinstance(outcome, BodyError)
        assert lax(CHUNKED_HEAD + case.data, "request") == case.lax
    else:
        assert isinstance(outcome, ChunkedBody)
        body, payload = ChunkedBody(), ChunkedBody(decode=True)
        sent, rest = body.feed(case.data)
        decoded, _ = payload.feed(case.data)
        assert (body.done, decoded, rest) == (case.done, case.payload, case.rest)
        assert sent == (case.data.removesuffix(case.rest) if case.forwarded is None else case.forwarded)
