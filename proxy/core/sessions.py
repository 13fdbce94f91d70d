"""Which session a request belongs to."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache


@lru_cache(maxsize=64)
def _cookie(name: str) -> re.Pattern[bytes]:
    # With white space around the "=", as Tomcat reads it.
    return re.compile(rb"(?:^|[;,])[ \t]*" + re.escape(name.encode()) + rb'[ \t]*=[ \t]*"?([^;," \t]+)')


def session_of(cookies: bytes, name: str) -> str | None:
    """A hash of the session cookie's value, the same in every worker; None without the cookie.

    `cookies` is the value of the Cookie field. Only the hash leaves the worker, as the value is a credential.
    """
    match = _cookie(name).search(cookies)
    return hashlib.blake2b(match[1], digest_size=12).hexdigest() if match else None
