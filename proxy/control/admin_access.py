"""Who may call the admin API: the token, its file, and what keeps a browser's pages from a loopback address."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from proxy.address import Endpoint
from proxy.errors import ConfigurationError

_TOKEN_BYTES: Final = 32
_MAX_TOKEN: Final = 4096
_OWN_SITES: Final = frozenset({"none", "same-origin"})


def load_token(path: str) -> str:
    """The token in the file; a file that is missing is made, readable by its owner alone.

    Raises ConfigurationError when it can't be read or made, or holds no token.
    """
    try:
        return _checked(Path(path).read_text("utf-8"), path)
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"admin.token_file: {path}: {error}", "make it readable, or remove it") from error
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
    except OSError as error:
        raise ConfigurationError(
            f"admin.token_file: {path}: can't be made: {error.strerror}", "make its directory writable"
        ) from error
    return token


def _checked(text: str, path: str) -> str:
    token = text.strip()
    if not token or len(token) > _MAX_TOKEN or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"admin.token_file: {path} holds no token: one word is needed", "remove it; the proxy then makes a new one"
        )
    return token


def token_matches(authorization: str | None, token: str) -> bool:
    """Whether the field is `Bearer TOKEN` (RFC 6750 section 2.1). Takes the same time for every wrong token."""
    scheme, _, given = (authorization or "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    return right and scheme.lower() == "bearer"


def comes_from_a_page(host: str | None, origin: str | None, fetch_site: str | None) -> bool:
    """Whether a browser's page of another site may have sent the request. The arguments are fields of its head.

    Without a token only the address protects the API, and a browser on this machine can reach that. A page of another
    origin sends Origin with what may change something; with a plain GET it does not, but the browser says in
    Sec-Fetch-Site (W3C Fetch Metadata) where it comes from: `none` is the user's own, `same-origin` the dashboard's.
    A page that has rebound its own name to a loopback address is of the same origin, and sends that name as Host.
    """
    if host and not _is_loopback(host):
        return True
    if fetch_site is not None and fetch_site not in _OWN_SITES:
        return True
    return origin is not None and origin != f"http://{host}"


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return Endpoint(name, 0).is_loopback
