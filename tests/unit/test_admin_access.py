"""Who may call the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.control.admin_access import comes_from_a_page, load_token, token_matches
from proxy.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_token_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "token"
    token = load_token(str(path))
    assert len(token) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_token(str(path)) == token


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"\xff\xfe", b"a\nb", b"x" * 5000])
def test_a_file_without_a_token_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="token"):
        load_token(str(path))
    assert path.read_bytes() == content


def test_a_place_where_no_token_can_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError):
        load_token(str(tmp_path))
    with pytest.raises(ConfigurationError):
        load_token(str(tmp_path / "file" / "token"))


def test_only_the_token_matches() -> None:
    assert token_matches("Bearer secret", "secret")
    assert token_matches("bearer secret", "secret")
    for wrong in (None, "", "secret", "Bearer", "Bearer ", "Bearer Secret", "Basic secret", "Bearer secret x"):
        assert not token_matches(wrong, "secret"), wrong


@pytest.mark.parametrize(
    ("host", "origin", "site", "page"),
    [
        ("127.0.0.1:9900", None, None, False),
        ("localhost:9900", None, None, False),
        ("[::1]:9900", None, None, False),
        (None, None, None, False),
        ("127.0.0.1:9900", "http://127.0.0.1:9900", None, False),
        ("evil.example:9900", None, None, True),
        ("127.0.0.1.evil.example", None, None, True),
        ("127.0.0.1:9900", "http://evil.example", None, True),
        ("127.0.0.1:9900", "null", None, True),
        ("127.0.0.1:9900", "http://127.0.0.1:9901", None, True),
        ("127.0.0.1:9900", None, "none", False),
        ("127.0.0.1:9900", "http://127.0.0.1:9900", "same-origin", False),
        ("127.0.0.1:9900", None, "same-site", True),
        ("127.0.0.1:9900", None, "cross-site", True),
        ("127.0.0.1:9900", None, "what may come later", True),
        ("evil.example:9900", None, "same-origin", True),
        (None, None, "cross-site", True),
    ],
)
def test_pages_are_told_from_programs(host: str | None, origin: str | None, site: str | None, page: bool) -> None:
    assert comes_from_a_page(host, origin, site) is page


@pytest.mark.parametrize("host", ["[bad", "bad]", "[::1", "[::1]]", "[127.0.0.1]", "127.0.0.1\u2100x", "@", ":", "[]"])
def test_a_host_that_can_not_be_read_is_refused(host: str) -> None:
    assert comes_from_a_page(host, None, None)
