"""Which session a request belongs to."""

from __future__ import annotations

import hashlib

import pytest

from proxy.core.sessions import session_of


def key(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=12).hexdigest()


@pytest.mark.parametrize(
    "cookies",
    [
        b"JSESSIONID=ab12",
        b"a=b; JSESSIONID=ab12; c=d",
        b"a=b;JSESSIONID=ab12",
        b"a=b,JSESSIONID=ab12",
        b' \tJSESSIONID="ab12"',
        b"JSESSIONID =\tab12 ",
        b"JSESSIONID=; JSESSIONID=ab12",
        b"XJSESSIONID=x; JSESSIONID=ab12; JSESSIONID=other",
    ],
)
def test_the_cookie_is_found_as_tomcat_finds_it(cookies: bytes) -> None:
    assert session_of(cookies, "JSESSIONID") == key(b"ab12")


@pytest.mark.parametrize(
    "cookies",
    [
        b"",
        b"JSESSIONID",
        b"JSESSIONID=",
        b"JSESSIONID=;",
        b"xJSESSIONID=a",
        b"JSESSIONIDS=a",
        b"a=JSESSIONID=b",
        b"a b=c",
    ],
)
def test_no_session(cookies: bytes) -> None:
    assert session_of(cookies, "JSESSIONID") is None


def test_the_name_is_no_pattern() -> None:
    assert session_of(b"axb=1", "a.b") is None
    assert session_of(b"a.b=1", "a.b") == key(b"1")


def test_the_value_does_not_leave() -> None:
    found = session_of(b"JSESSIONID=secret", "JSESSIONID")
    assert found is not None
    assert "secret" not in found
    assert found != session_of(b"JSESSIONID=secret2", "JSESSIONID")
