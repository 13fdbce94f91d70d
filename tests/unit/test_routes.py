"""Host and path -> app or file; and that no reading of a path leads elsewhere."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.core.routes import MAX_AMBIGUOUS, MAX_KNOWN, AppRoute, Route, Router, TargetError, UnknownAppError

SHOP = AppRoute("shop", ("*",), "/", "/static/")
ADMIN = AppRoute("admin", ("*",), "/admin")
WIKI = AppRoute("wiki", ("wiki.example", "w"))
ROUTER = Router([SHOP, ADMIN, WIKI])


def place(target: str, host: str = "a") -> tuple[str, str | None]:
    route = ROUTER.route(host.encode(), target.encode())
    return route.app, route.file


@pytest.mark.parametrize(
    ("target", "app", "file"),
    [
        ("/", "shop", None),
        ("/x?y=/admin", "shop", None),
        ("/x?y=/../z", "shop", None),
        ("/admin", "admin", None),
        ("/admin/", "admin", None),
        ("/admin/x", "admin", None),
        ("/admin?x", "admin", None),
        ("/administrator", "shop", None),
        ("/Admin", "shop", None),
        ("/x/admin", "shop", None),
        ("/static/a.css", "shop", "a.css"),
        ("/static/a/b.css?v=1", "shop", "a/b.css"),
        ("/static/", "shop", ""),
        ("/static", "shop", None),
        ("/static/a%20b%c3%a9.css", "shop", "a bé.css"),
        ("/%73tatic/%61.css", "shop", "a.css"),
        ("/static/.well-known", "shop", ".well-known"),
        ("/static/a;v=1.css", "shop", "a;v=1.css"),
        ("/static/x/../a.css", "shop", "a.css"),
        ("/x/../admin", "admin", None),
        ("/admin/../x", "shop", None),
        ("/cart;jsessionid=1", "shop", None),
        ("/a//b", "shop", None),
        ("/static%2f..%2fx", "shop", None),
        ("/x;/../admin", "admin", None),
        ("*", "shop", None),
    ],
)
def test_paths(target: str, app: str, file: str | None) -> None:
    assert place(target) == (app, file)
    assert place(target) == (app, file)  # remembered


@pytest.mark.parametrize(
    "target",
    [
        "/admin;x", "/admin;x/y", "//admin", "/x/..//admin", "/x//../admin", "/admin%2fx", "/%2fadmin",
        "/a%2f..%2fadmin",
        "/admin/..;/x", "/static/..;/x", "/static/..%2fx", "/static/%2e%2e%2fx", "/static/..%5cx",
        "/static/a%2f..%2fb", "/static/%2e%2e;/x", "/static%5ca", "//static/a", "/;/admin",
        "/static/a%2f%2e%2e%2fb", "/static/%5c..%5cx",
    ],
)  # fmt: skip
def test_paths_with_several_readings_are_refused(target: str) -> None:
    with pytest.raises(TargetError) as refused:
        place(target)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "target", ["/%", "/%0", "/%zz", "/a%00", "/%c3%", "/../x", "/a/../..", "/%2e%2e/x", "/static/../.."]
)
def test_paths_without_meaning_are_refused(target: str) -> None:
    with pytest.raises(TargetError):
        place(target)


def test_too_many_ambiguous_parts_are_refused() -> None:
    assert place("/a;b" * (MAX_AMBIGUOUS // 2)) == ("shop", None)
    with pytest.raises(TargetError):
        place("/a;b" * (MAX_AMBIGUOUS // 2 + 1))
    assert place("/%20" * 2000) == ("shop", None)
    assert place("/" + "%41%4a%4A%2541" * 500) == ("shop", None)


@pytest.mark.parametrize("host", ["wiki.example", "WIKI.example:80", "wiki.example.", "w:", "w.:8080"])
def test_an_exact_host_comes_before_all_hosts(host: str) -> None:
    assert place("/static/a", host) == ("wiki", None)
    assert place("/admin", host) == ("wiki", None)


@pytest.mark.parametrize("host", ["", "x.wiki.example", "[::1]:80", "wiki.example.org"])
def test_other_hosts(host: str) -> None:
    assert place("/", host) == ("shop", None)


def test_the_longest_path_wins() -> None:
    router = Router([AppRoute("a", ("*",)), AppRoute("c", ("*",), "/b/c"), AppRoute("b", ("*",), "/b")])
    assert [router.route(b"x", path).app for path in (b"/b/c/d", b"/b/cd", b"/b", b"/")] == ["c", "b", "b", "a"]


def test_no_app() -> None:
    router = Router([AppRoute("a", ("x",), "/a")])
    for host, target in ((b"y", b"/a"), (b"x", b"/"), (b"x", b"/ab"), (b"x", b"/%20"), (b"x", b"*")):
        with pytest.raises(UnknownAppError) as refused:
            router.route(host, target)
        assert refused.value.status == 404
    with pytest.raises(TargetError):
        router.route(b"x", b"/a;b")


def test_what_clients_ask_for_is_remembered_within_bounds() -> None:
    router = Router([SHOP])
    for number in range(MAX_KNOWN + 100):
        router.route(b"host-%d" % number, b"/static/%d" % number)
        router.route(b"a", b"/static/" + b"a" * 300 + b"%d" % number)
    assert len(router._known) <= MAX_KNOWN
    assert len(router._seen) <= 1024
    assert len(router._always) <= 1024


def test_the_same_file_of_two_hosts() -> None:
    router = Router([SHOP, AppRoute("wiki", ("w",), "/", "/static/")])
    for _ in range(2):
        assert router.route(b"a", b"/static/x") == Route("shop", "x")
        assert router.route(b"w", b"/static/x") == Route("wiki", "x")


def test_representation() -> None:
    assert repr(ROUTER) == "<Router ['*', 'w', 'wiki.example']>"


# --- all readings ----------------------------------------------------------------------------------------------------


def readings(path: bytes) -> set[bytes]:
    """What backends make of a path: each combination of what they may or may not do, in the orders in use."""
    found = set()
    for decode_all, parameters, backslashes, slashes in itertools.product(
        (False, True),
        ("keep", "before decoding", "after decoding"),
        (False, True),
        ("keep", "before dots", "after dots"),
    ):
        form = re.sub(rb";[^/]*", b"", path) if parameters == "before decoding" else path
        form = unquote_to_bytes(form) if decode_all else unreserved(form)
        form = form.replace(b"\\", b"/") if backslashes else form
        form = re.sub(rb";[^/]*", b"", form) if parameters == "after decoding" else form
        form = re.sub(rb"/+", b"/", form) if slashes == "before dots" else form
        form = without_dots(form)
        found.add(re.sub(rb"/+", b"/", form) if slashes == "after dots" else form)
    return found


def unreserved(path: bytes) -> bytes:
    keep = b"-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
    return re.sub(rb"%..", lambda escape: byte if (byte := unquote_to_bytes(escape[0])) in keep else escape[0], path)


def without_dots(path: bytes) -> bytes:
    kept: list[bytes] = []
    *segments, last = path.split(b"/")[1:]
    for segment in (*segments, last):
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    return b"/" + b"/".join(kept) + (b"/" if last in (b".", b"..") and kept else b"")


def kind(path: bytes) -> tuple[str, bool]:
    if path == b"/admin" or path.startswith(b"/admin/"):
        return "admin", False
    return "shop", path.startswith(b"/static/")


PARTS = (
    "/", "/", "..", ".", "static", "admin", "x", ";", "%2f", "%2e", "%5c", "%3b", "%25", "/static/", "/admin/", "/../",
    "..;", "%61", "%2F..", "%7e",
)  # fmt: skip


PATHS = st.lists(st.sampled_from(PARTS), max_size=8).map(lambda parts: ("/" + "".join(parts)).encode())


@settings(max_examples=500)
@given(PATHS)
@example(b"/static/")
@example(b"/static")
@example(b"/x/static/a")
def test_an_app_alone_has_all_paths_but_those_of_its_files(path: bytes) -> None:
    router = Router([SHOP])
    router.route(b"a", b"/")  # from now on the host is known
    try:
        routes = [router.route(b"a", path), router.route(b"a", path)]
    except TargetError:
        return
    are_files = {reading.startswith(b"/static/") for reading in readings(path)}
    assert {route.file is not None for route in routes} == are_files


@settings(max_examples=500)
@given(PATHS)
@example(b"/adm%3bx%5c..;/admin")
@example(b"/;%5c%2fadmin")
def test_what_is_routed_leads_to_the_same_place_in_every_reading(path: bytes) -> None:
    try:
        route = ROUTER.route(b"a", path)
    except TargetError:
        return
    places = {kind(reading) for reading in readings(path)}
    assert places == {(route.app, route.file is not None)}
    if route.file is not None:
        assert not {".", ".."} & set(route.file.split("/"))
