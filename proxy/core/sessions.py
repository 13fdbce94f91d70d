"""Which session a request belongs to."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache


@lru_cache(maxsize=64)
def _parameter(name: str) -> re.Pattern[bytes]:
    # Tomcat's SessionConfig: the cookie's name, but where that is the default one, in lower case. A parameter may stand
    # in any segment of the path.
    names = rb"(?:jsessionid|JSESSIONID)" if name == "JSESSIONID" else re.escape(name.encode())
    return re.compile(rb";" + names + rb"=([^;/?]++)")


@lru_cache(maxsize=64)
def _cookie(name: str) -> re.Pattern[bytes]:
    # With white space around the "=", as Tomcat reads it.
    return re.compile(rb"(?:^|[;,])[ \t]*" + re.escape(name.encode()) + rb'[ \t]*=[ \t]*"?([^;," \t]+)')


def session_of(cookies: bytes, target: bytes, name: str) -> str | None:
    """A hash of the session's id, the same in every worker; None when the request names no session.

    `cookies` is the value of the Cookie field. As for Tomcat, the cookie counts before `;jsessionid=` in the target's
    path, and of several such parameters the last. Only the hash leaves the worker, as the id is a credential.
    """
    match = _cookie(name).search(cookies) if cookies else None
    if match is not None:
        return _hash(match[1])
    if b";" not in target:
        return None
    found = _parameter(name).findall(target.partition(b"?")[0])
    return _hash(found[-1]) if found else None


def _hash(session: bytes) -> str:
    return hashlib.blake2b(session, digest_size=12).hexdigest()
