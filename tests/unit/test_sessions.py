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
    assert session_of(cookies, b"/", "JSESSIONID") == key(b"ab12")


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
    assert session_of(cookies, b"/", "JSESSIONID") is None


@pytest.mark.parametrize(
    "target",
    [
        b"/;jsessionid=ab12",
        b"/cart;jsessionid=ab12",
        b"/cart;v=1;jsessionid=ab12;w=2/item?x=y",
        b"/cart;jsessionid=ab12/item",
        b"/a;jsessionid=other/b;jsessionid=ab12",
        b"/;JSESSIONID=ab12",
    ],
)
def test_the_path_is_read_as_tomcat_reads_it(target: bytes) -> None:
    assert session_of(b"", target, "JSESSIONID") == key(b"ab12")
    assert session_of(b"a=b", target, "JSESSIONID") == key(b"ab12")
    assert session_of(b"JSESSIONID=cookie", target, "JSESSIONID") == key(b"cookie")


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"*",
        b"/a;b",
        b"/;jsessionid=",
        b"/;jsessionid=?x",
        b"/jsessionid=ab12",
        b"/;xjsessionid=a",
        b"/;jsessionids=a",
        b"/?a=b;jsessionid=ab12",
        b"/;v=1?jsessionid=ab12",
    ],
)
def test_no_session_in_the_path(target: bytes) -> None:
    assert session_of(b"", target, "JSESSIONID") is None


def test_another_cookie_s_name_is_the_parameter_s_name() -> None:
    assert session_of(b"", b"/;sid=1", "sid") == key(b"1")
    assert session_of(b"", b"/;jsessionid=1", "sid") is None
    assert session_of(b"", b"/;axb=1", "a.b") is None


def test_the_name_is_no_pattern() -> None:
    assert session_of(b"axb=1", b"/", "a.b") is None
    assert session_of(b"a.b=1", b"/", "a.b") == key(b"1")


def test_the_value_does_not_leave() -> None:
    found = session_of(b"JSESSIONID=secret", b"/;jsessionid=secret", "JSESSIONID")
    assert found is not None
    assert "secret" not in found
    assert found != session_of(b"JSESSIONID=secret2", b"/", "JSESSIONID")
