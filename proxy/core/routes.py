"""Host and path -> app, or its files.

Forwarding keeps the target as it came. A rule, however, must see what the backend will see, and backends differ:
some decode `%2f`, merge slashes or cut `;parameters`, others do not. So a path is read in each of these ways, and one
that two readings would send to different places is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from proxy.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNUSUAL: Final = re.compile(rb"[%;\\]|/[./]")
_AMBIGUOUS: Final = re.compile(rb"[;\\]|/[./]|%(?:2[EeFf]|3[Bb]|5[Cc])")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})|%00")
_UNRESERVED: Final = re.compile(rb"%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")
_PARAMETERS: Final = re.compile(rb";[^/]*+")
_SLASHES: Final = re.compile(rb"//++")
_NO_PATH: Final = " "  # with which no target begins
_DOT_SEGMENT: Final = re.compile(rb"(?:^|/)\.\.?(?:/|$)")
MAX_AMBIGUOUS: Final = 200
"""Slashes, and what may be one, in a path that must be read in several ways: a bound on the work."""


MAX_KNOWN: Final = 4096
MAX_KNOWN_TARGET: Final = 256
"""Bounds of the memory of routes to files: entries, and bytes of a target."""


class TargetError(RequestError):
    """The path has no single meaning, or none."""

    status = 400
    part = "the request's path"


class UnknownAppError(RequestError):
    """No app has this host and path."""

    status = 404
    part = "the address"


@dataclass(frozen=True, slots=True)
class AppRoute:
    """An app's place: `path` is "/" or a prefix without the slash at its end; `static_prefix` has one."""

    app: str
    hosts: tuple[str, ...]
    path: str = "/"
    static_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """`file` is the path below the static prefix, decoded and without dot segments; None for the backends."""

    app: str
    file: str | None = None


class Router:
    """All apps' places. `route` is asked for each request, so the plain case is a dict look-up and a comparison."""

    def __init__(self, routes: Iterable[AppRoute]) -> None:
        self._by_host: dict[str, list[AppRoute]] = {}
        for route in routes:
            for host in route.hosts:
                self._by_host.setdefault(host, []).append(route)
        for routes_of_host in self._by_host.values():
            routes_of_host.sort(key=lambda route: len(route.path), reverse=True)
        self._seen: dict[bytes, list[AppRoute]] = {}
        # Authority -> where all plain targets go, but for those with this prefix (files), and its length.
        self._always: dict[bytes, tuple[Route, bytes, int]] = {}
        self._known: dict[bytes, tuple[bytes, Route]] = {}  # files asked for lately: sites have few, asked for often
        self._plain = {app.app: Route(app.app) for apps in self._by_host.values() for app in apps}

    def __repr__(self) -> str:
        return f"<Router {sorted(self._by_host)}>"

    def route(self, authority: bytes, target: bytes) -> Route:
        """Raises UnknownAppError or TargetError."""
        always = self._always.get(authority)
        if always is not None:
            route, but, size = always
            if target[:size] != but and _UNUSUAL.search(target) is None:
                return route
        known = self._known.get(target)
        if known is not None and known[0] == authority:
            return known[1]
        candidates = self._seen.get(authority)
        if candidates is None:
            candidates = self._candidates(authority)
        path = target.partition(b"?")[0]
        if _UNUSUAL.search(path) is not None:
            return self._match_unusual(candidates, path)
        route = self._match(candidates, path)
        if route.file is not None and len(target) <= MAX_KNOWN_TARGET:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[target] = (authority, route)
        return route

    def _candidates(self, authority: bytes) -> list[AppRoute]:
        name = re.sub(r":[0-9]*$", "", authority.decode("latin-1")).lower().removesuffix(".")
        candidates = sorted(
            self._by_host.get(name, []) + self._by_host.get("*", []),
            key=lambda route: (name in route.hosts, len(route.path)),
            reverse=True,
        )
        if len(self._seen) >= 1024:  # hosts are the client's word: a bound, not a cache policy
            self._seen.clear()
            self._always.clear()
        self._seen[authority] = candidates
        if candidates and candidates[0].path == "/":
            but = (candidates[0].static_prefix or _NO_PATH).encode()
            self._always[authority] = (self._plain[candidates[0].app], but, len(but))
        return candidates

    def _match(self, candidates: list[AppRoute], path: bytes) -> Route:
        text = path.decode("latin-1")
        for app in candidates:
            prefix = app.static_prefix
            if prefix is not None and text.startswith(prefix):
                return Route(app.app, text[len(prefix) :])
            if app.path == "/" or text == app.path or text.startswith(app.path + "/"):
                return self._plain[app.app]
        raise UnknownAppError("no application is served at this address")

    def _match_unusual(self, candidates: list[AppRoute], path: bytes) -> Route:
        if _BAD_ESCAPE.search(path):
            raise TargetError("the path has an escape that is not valid")
        if _AMBIGUOUS.search(path) is None:
            readings = {_decode_unreserved(path), unquote_to_bytes(path)}
        elif path.count(b"/") + len(_AMBIGUOUS.findall(path)) > MAX_AMBIGUOUS:
            raise TargetError("the path has too many segments")
        else:
            readings = _readings(path)
        if len({self._place(candidates, reading) for reading in readings}) > 1:
            raise TargetError("the path can be understood in more than one way")
        route = self._match(candidates, _without_dots(_decode_unreserved(path)))
        if route.file is None:
            return route
        file = unquote_to_bytes(route.file.encode("latin-1"))
        if _DOT_SEGMENT.search(file):
            raise TargetError("the path can be understood in more than one way")
        return Route(route.app, file.decode("utf-8", "replace"))

    def _place(self, candidates: list[AppRoute], path: bytes) -> tuple[str, bool] | None:
        try:
            route = self._match(candidates, path)
        except UnknownAppError:
            return None
        return route.app, route.file is not None


def _readings(path: bytes) -> set[bytes]:
    """The path as the backends in use may understand it: each step below is taken by some and not by others."""
    forms = {path, _cut_parameters(path)}
    forms = {decode(form) for form in forms for decode in (_decode_unreserved, unquote_to_bytes)}
    for step in (_turn_backslashes, _cut_parameters, _merge_slashes):
        forms |= set(map(step, forms))
    forms = {_without_dots(form) for form in forms}
    return forms | set(map(_merge_slashes, forms))


def _cut_parameters(path: bytes) -> bytes:
    return _PARAMETERS.sub(b"", path)


def _turn_backslashes(path: bytes) -> bytes:
    return path.replace(b"\\", b"/")


def _merge_slashes(path: bytes) -> bytes:
    return _SLASHES.sub(b"/", path)


def _decode_unreserved(path: bytes) -> bytes:
    """RFC 3986 section 6.2.2.2: what every reader decodes alike.

    Each `%` of the path has its two digits, so what is put in place of one escape is part of no other. A path may be
    nothing but escapes, yet of few kinds.
    """
    for escape in set(_UNRESERVED.findall(path)):
        path = path.replace(escape, bytes((int(escape[1:], 16),)))
    return path


def _without_dots(path: bytes) -> bytes:
    """RFC 3986 section 5.2.4; raises TargetError for a path that climbs above the root."""
    if b"/." not in path:
        return path
    out: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if not out:
                raise TargetError("the path leads above the root")
            out.pop()
        elif segment != b".":
            out.append(segment)
    if segments[-1] in (b".", b".."):
        out.append(b"")
    return b"/" + b"/".join(out)
