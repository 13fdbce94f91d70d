"""Answers for static files: RFC 9110 sections 8, 9.3, 12.5.3, 13 and 14."""

from __future__ import annotations

import hashlib

import pytest

from proxy.core.conditions import MAX_CODINGS, read_file_fields
from proxy.core.dates import http_date
from proxy.core.files import FileAnswer, FileEntry, FileIndex, FileSlices, answer
from proxy.core.media_types import media_type
from proxy.http1.head import RequestHead, parse_request

MODIFIED = 1_700_000_000
BODY = bytes(range(100)) * 10
BEFORE, AT, AFTER = (http_date(MODIFIED + seconds).decode() for seconds in (-1, 0, 1))


def entry(name: str, body: bytes = BODY, *, in_memory: bool = True, settled: bool = True) -> FileEntry:
    return FileEntry(
        name=name,
        disk_path="/root/" + name,
        size=len(body),
        mtime_ns=MODIFIED * 10**9,
        modified=MODIFIED,
        settled=settled,
        etag=b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode(),
        body=body if in_memory else None,
    )


def request(method: str = "GET", *fields: str) -> RequestHead:
    lines = [f"{method} /static/a HTTP/1.1", "Host: a", *fields]
    head = parse_request("\r\n".join([*lines, "", ""]).encode("latin-1"))
    assert head is not None
    return head


def get(index: FileIndex, path: str, *fields: str, method: str = "GET") -> FileAnswer:
    return answer((index,), path, request(method, *fields))


def lines(given: FileAnswer) -> dict[str, str]:
    """The head's fields; fails when it is not made of whole lines or names a field twice."""
    assert given.head.endswith(b"\r\n")
    assert b"\r\n\r\n" not in given.head
    status, *rest = given.head.decode("latin-1").removesuffix("\r\n").split("\r\n")
    assert status.startswith(f"HTTP/1.1 {given.status} ")
    found = dict(line.split(": ", 1) for line in rest)
    assert len(found) == len(rest)
    return found


def check_length(given: FileAnswer) -> None:
    """Content-Length, `length` and the body agree."""
    assert lines(given)["Content-Length"] == str(given.length)
    if given.source is None:
        assert given.length == len(given.body)
    else:
        assert given.body == b""
        assert given.length == sum(len(part) if isinstance(part, bytes) else part[1] for part in given.source.parts)


PLAIN = entry("a.txt")
INDEX = FileIndex([PLAIN])
ETAG = PLAIN.etag.decode()


def test_the_head_of_a_whole_file() -> None:
    given = get(INDEX, "a.txt")
    assert given.head == (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 1000\r\n"
        b"ETag: " + PLAIN.etag + b"\r\n"
        b"Cache-Control: no-cache\r\n"
        b"Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        b"Accept-Ranges: bytes\r\n"
        b"X-Content-Type-Options: nosniff\r\n"
    )
    assert (given.body, given.source, given.length) == (BODY, None, 1000)


def test_the_same_answer_object_is_given_again() -> None:
    assert get(INDEX, "a.txt") is get(INDEX, "a.txt", "Accept-Encoding: gzip, br", "Cookie: x=1")


def test_a_large_file_is_read_from_disk() -> None:
    given = get(FileIndex([entry("a.txt", in_memory=False)]), "a.txt")
    assert given.source == FileSlices("/root/a.txt", 1000, MODIFIED * 10**9, ((0, 1000),))
    assert given.head == get(INDEX, "a.txt").head
    check_length(given)


def test_an_empty_file() -> None:
    for in_memory in (True, False):
        given = get(FileIndex([entry("a.txt", b"", in_memory=in_memory)]), "a.txt")
        assert (given.status, given.body, given.source, given.length) == (200, b"", None, 0)
        check_length(given)


@pytest.mark.parametrize("in_memory", [True, False])
def test_head_is_get_without_its_body(in_memory: bool) -> None:
    index = FileIndex([entry("a.txt", in_memory=in_memory)])
    given = get(index, "a.txt", method="HEAD")
    assert given.head == get(index, "a.txt").head
    assert (given.body, given.source, given.length) == (b"", None, 0)


def test_a_path_without_a_file() -> None:
    given = get(INDEX, "b.txt")
    assert (given.status, given.body) == (404, b"Not Found\n")
    assert lines(given)["Cache-Control"] == "no-store"
    check_length(given)
    assert get(INDEX, "b.txt", method="HEAD").head == given.head
    assert get(INDEX, "b.txt", method="HEAD").body == b""
    assert get(INDEX, "b.txt", method="POST").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "a.txt/",
        "/a.txt",
        "./a.txt",
        "x/../a.txt",
        "A.TXT",
        "a.txt ",
        "a.txt\0",
        "a%2etxt",
        "d",
        "d/",
        "a" * 9999,
    ],
)
def test_only_the_exact_path_is_a_file(path: str) -> None:
    assert get(FileIndex([PLAIN, entry("d/b.txt")]), path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "PROPFIND"])
def test_other_methods(method: str) -> None:
    given = get(INDEX, "a.txt", 'If-Match: "x"', method=method)
    assert given.status == 405
    assert lines(given)["Allow"] == "GET, HEAD"
    check_length(given)


def test_index_files() -> None:
    top, inner = entry("index.html", b"top"), entry("d/e/index.html", b"inner")
    index = FileIndex([top, inner, entry("d/notindex.html", b"")])
    assert get(index, "").body == get(index, "index.html").body == b"top"
    assert get(index, "d/e/").body == b"inner"
    assert get(index, "d/").status == 404
    assert get(index, "d/e").status == 404


def test_the_first_index_that_has_the_file_wins() -> None:
    new = FileIndex([entry("a.txt", b"new")])
    old = FileIndex([entry("a.txt", b"old"), entry("b.txt", b"only old")])
    assert answer((new, old), "a.txt", request()).body == b"new"
    assert answer((new, old), "b.txt", request()).body == b"only old"
    assert answer((new, old), "c.txt", request()).status == 404
    assert answer((), "a.txt", request()).status == 404


@pytest.mark.parametrize(
    ("name", "immutable"),
    [
        ("app.3f2a9b1c.js", True),
        ("app.3F2A9B1C.js", True),
        ("app.3f2a9b1c3f2a9b1c.min.css", True),
        ("app.3f2a9b1c.js.map", True),
        ("img/logo.0123456789abcdef.png", True),
        ("app-" + "0a" * 32 + ".css", True),
        ("app.js", False),
        ("app.3f2a9b1.js", False),
        ("app.3f2a9b1g.js", False),
        ("app.3f2a9b1c", False),
        ("backup.20240131.css", False),
        ("report-20240131.pdf", False),
        ("550e8400-e29b-41d4-a716-446655440000.pdf", False),
        ("a.3f2a9b1c.d/app.js", False),
        ("3f2a9b1c.js", False),
    ],
)
def test_names_with_a_content_hash_are_immutable(name: str, immutable: bool) -> None:
    control = "public, max-age=31536000, immutable" if immutable else "no-cache"
    assert lines(get(FileIndex([entry(name)]), name))["Cache-Control"] == control


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.css", b"text/css; charset=utf-8"),
        ("d.png/a.html", b"text/html; charset=utf-8"),
        ("a.min.js", b"text/javascript; charset=utf-8"),
        ("a.JSON", b"application/json"),
        ("a.svg", b"image/svg+xml"),
        ("a.woff2", b"font/woff2"),
        ("a.tar.gz", b"application/gzip"),
        ("README", b"application/octet-stream"),
        ("png", b"application/octet-stream"),
        ("d.html/noext", b"application/octet-stream"),
        ("a.", b"application/octet-stream"),
        ("a.unknown", b"application/octet-stream"),
    ],
)
def test_media_types(name: str, kind: bytes) -> None:
    assert media_type(name) == kind


# --- conditions: RFC 9110 section 13.2.2 ---------------------------------------------------------------------------

CONDITIONS = [
    # If-Match alone
    ((f"If-Match: {ETAG}",), 200),
    (("If-Match: *",), 200),
    ((f'If-Match: "x", {ETAG}',), 200),
    (('If-Match: "x"', f"If-Match: {ETAG}"), 200),
    (('If-Match: "x"',), 412),
    ((f"If-Match: W/{ETAG}",), 412),
    ((f"If-Match: {ETAG[1:-1]}",), 412),
    (("If-Match:",), 412),
    # If-Unmodified-Since, when there is no If-Match
    ((f"If-Unmodified-Since: {BEFORE}",), 412),
    ((f"If-Unmodified-Since: {AT}",), 200),
    ((f"If-Unmodified-Since: {AFTER}",), 200),
    (("If-Unmodified-Since: yesterday",), 200),
    ((f"If-Unmodified-Since: {BEFORE}", f"If-Unmodified-Since: {BEFORE}"), 200),
    ((f"If-Match: {ETAG}", f"If-Unmodified-Since: {BEFORE}"), 200),
    (('If-Match: "x"', f"If-Unmodified-Since: {AFTER}"), 412),
    # If-None-Match
    ((f"If-None-Match: {ETAG}",), 304),
    ((f"If-None-Match: W/{ETAG}",), 304),
    (("If-None-Match: *",), 304),
    ((f'If-None-Match: "x",{ETAG}',), 304),
    (('If-None-Match: "x"', f"If-None-Match: {ETAG}"), 304),
    ((f'If-None-Match: "a, b" , {ETAG}',), 304),
    (('If-None-Match: "x"',), 200),
    ((f"If-None-Match: {ETAG[1:-1]}",), 200),
    (('If-None-Match: "*"',), 200),
    # If-Modified-Since, when there is no If-None-Match
    ((f"If-Modified-Since: {BEFORE}",), 200),
    ((f"If-Modified-Since: {AT}",), 304),
    ((f"If-Modified-Since: {AFTER}",), 304),
    (("If-Modified-Since: Tuesday, 14-Nov-23 22:13:20 GMT",), 304),
    (("If-Modified-Since: Tue Nov 14 22:13:20 2023",), 304),
    (("If-Modified-Since: never",), 200),
    ((f"If-Modified-Since: {AFTER}", f"If-Modified-Since: {AFTER}"), 200),
    (('If-None-Match: "x"', f"If-Modified-Since: {AFTER}"), 200),
    ((f"If-None-Match: {ETAG}", f"If-Modified-Since: {BEFORE}"), 304),
    # the first step that fails decides
    (('If-Match: "x"', f"If-None-Match: {ETAG}"), 412),
    ((f"If-Match: {ETAG}", f"If-None-Match: {ETAG}"), 304),
    ((f"If-Unmodified-Since: {BEFORE}", f"If-None-Match: {ETAG}"), 412),
    ((f"If-Unmodified-Since: {AT}", f"If-Modified-Since: {AT}"), 304),
    # a range only when the conditions before it hold
    ((f"If-None-Match: {ETAG}", "Range: bytes=0-0"), 304),
    (('If-Match: "x"', "Range: bytes=0-0"), 412),
    ((f"If-Match: {ETAG}", "Range: bytes=0-0"), 206),
    # names with `_` are not these fields
    ((f"If_None_Match: {ETAG}",), 200),
]


@pytest.mark.parametrize(("fields", "status"), CONDITIONS)
def test_conditions(fields: tuple[str, ...], status: int) -> None:
    assert get(INDEX, "a.txt", *fields).status == status
    assert get(INDEX, "a.txt", *fields, method="HEAD").status == (200 if status == 206 else status)
    assert get(INDEX, "b.txt", *fields).status == 404


def test_not_modified_has_what_a_cache_needs_and_no_body() -> None:
    given = get(FileIndex([PLAIN, entry("a.txt.gz", b"small")]), "a.txt", f"If-None-Match: {ETAG}")
    assert lines(given) == {"ETag": ETAG, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    assert (given.body, given.source, given.length) == (b"", None, 0)


def test_precondition_failed() -> None:
    given = get(INDEX, "a.txt", 'If-Match: "x"')
    assert lines(given)["ETag"] == ETAG
    check_length(given)
    assert get(INDEX, "a.txt", 'If-Match: "x"', method="HEAD").body == b""


def test_a_field_of_entity_tags_costs_linear_time() -> None:
    """Each shape is as long as a head may be; a quadratic pattern would take minutes and run into the time limit."""
    for shape in ('"', 'W/"', '"a', '"",', "W/", "a" * 9 + '"'):
        value = (shape * 32000)[:32000].encode()
        assert read_file_fields(b"If-None-Match: " + value + b"\r\n\r\n").if_none_match is not None


# --- ranges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [True, False])
def test_one_range(in_memory: bool) -> None:
    given = get(FileIndex([entry("a.txt", in_memory=in_memory)]), "a.txt", "Range: bytes=10-19")
    assert given.status == 206
    found = lines(given)
    assert found["Content-Range"] == "bytes 10-19/1000"
    assert found["Content-Type"] == "text/plain; charset=utf-8"
    assert found["ETag"] == ETAG
    check_length(given)
    if in_memory:
        assert given.body == BODY[10:20]
    else:
        assert given.source is not None
        assert given.source.parts == ((10, 10),)


@pytest.mark.parametrize("in_memory", [True, False])
def test_several_ranges(in_memory: bool) -> None:
    given = get(FileIndex([entry("a.txt", in_memory=in_memory)]), "a.txt", "Range: bytes=0-1,-3")
    assert given.status == 206
    found = lines(given)
    boundary = "switchyard-" + ETAG.strip('"')
    assert found["Content-Type"] == f"multipart/byteranges; boundary={boundary}"
    assert "Content-Range" not in found
    check_length(given)
    whole = given.body
    if given.source is not None:
        whole = b"".join(part if isinstance(part, bytes) else BODY[part[0] : sum(part)] for part in given.source.parts)
    assert whole == (
        f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-1/1000\r\n\r\n".encode()
        + BODY[:2]
        + f"\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n".encode()
        + b"Content-Range: bytes 997-999/1000\r\n\r\n"
        + BODY[-3:]
        + f"\r\n--{boundary}--\r\n".encode()
    )


def test_two_ranges_that_become_one_are_one_part() -> None:
    given = get(INDEX, "a.txt", "Range: bytes=0-5,3-9")
    assert lines(given)["Content-Range"] == "bytes 0-9/1000"
    assert given.body == BODY[:10]


def test_the_whole_as_a_range() -> None:
    given = get(INDEX, "a.txt", "Range: bytes=0-")
    assert given.status == 206
    assert lines(given)["Content-Range"] == "bytes 0-999/1000"
    assert given.body == BODY


def test_no_range_can_be_satisfied() -> None:
    given = get(INDEX, "a.txt", "Range: bytes=1000-")
    assert given.status == 416
    assert lines(given)["Content-Range"] == "bytes */1000"
    check_length(given)


@pytest.mark.parametrize("value", ["items=0-1", "bytes=5-2", "bytes=", "bytes=" + "0-," * 17, "bytes=0-,0-,0-"])
def test_a_range_that_is_ignored(value: str) -> None:
    assert get(INDEX, "a.txt", f"Range: {value}") is get(INDEX, "a.txt")


def test_two_range_fields_and_range_on_head_are_ignored() -> None:
    assert get(INDEX, "a.txt", "Range: bytes=0-1", "Range: bytes=5-6").status == 200
    assert get(INDEX, "a.txt", "Range: bytes=0-1", method="HEAD").status == 200
    assert get(INDEX, "a.txt", "Range: bytes=5000-", method="HEAD").status == 200


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (ETAG, 206),
        ('"x"', 200),
        (f"W/{ETAG}", 200),
        (f'{ETAG}, "x"', 200),
        ("*", 200),
        ("", 200),
        (AT, 206),
        (BEFORE, 200),
        (AFTER, 200),
        ("Tue Nov 14 22:13:20 2023", 206),
        ("soon", 200),
    ],
)
def test_if_range_needs_an_exact_match(value: str, status: int) -> None:
    assert get(INDEX, "a.txt", "Range: bytes=0-1", f"If-Range: {value}").status == status


def test_if_range_given_twice_is_false() -> None:
    assert get(INDEX, "a.txt", "Range: bytes=0-1", f"If-Range: {ETAG}", f"If-Range: {ETAG}").status == 200


def test_if_range_without_a_range_means_nothing() -> None:
    assert get(INDEX, "a.txt", 'If-Range: "x"').status == 200


def test_a_date_of_a_file_that_had_just_changed_is_not_strong() -> None:
    index = FileIndex([entry("a.txt", settled=False)])
    assert get(index, "a.txt", "Range: bytes=0-1", f"If-Range: {AT}").status == 200
    assert get(index, "a.txt", "Range: bytes=0-1", f"If-Range: {ETAG}").status == 206


def test_if_range_that_fails_hides_a_range_that_could_not_be_satisfied() -> None:
    assert get(INDEX, "a.txt", "Range: bytes=5000-", 'If-Range: "x"').status == 200


# --- codings: RFC 9110 section 12.5.3 ------------------------------------------------------------------------------

GZ, BR, ZST = (entry("a.js" + suffix, BODY[:size]) for suffix, size in ((".gz", 300), (".br", 200), (".zst", 250)))
CODED = FileIndex([entry("a.js"), GZ, BR, ZST])


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, br;q=0.9", "gzip"),
        ("gzip;q=0.001, br;q=0", "gzip"),
        ("br ; q=0.5 , gzip ; Q=0.7", "gzip"),
        ("*", "br"),
        ("*, br;q=0", "zstd"),
        ("br;q=1.0, *;q=0", "br"),
        ("identity", None),
        ("deflate", None),
        ("", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, *", "br"),
        ("gzip;q=0", None),
        ("gzip;q=2, br;q=x, zstd;q=0.1234", None),
        ("gzip;level=9", None),
        ("deflate," * MAX_CODINGS + "gzip", None),
        (",,gzip,,", "gzip"),
    ],
)
def test_the_coding_that_the_client_prefers(accept: str, coding: str | None) -> None:
    given = get(CODED, "a.js", f"Accept-Encoding: {accept}")
    found = lines(given)
    assert given.status == 200
    assert found.get("Content-Encoding") == coding
    assert found["Vary"] == "Accept-Encoding"
    assert found["Content-Type"] == "text/javascript; charset=utf-8"
    assert len(given.body) == {None: 1000, "gzip": 300, "br": 200, "zstd": 250}[coding]
    check_length(given)


def test_several_fields_are_one_list() -> None:
    given = get(CODED, "a.js", "Accept-Encoding: br;q=0.1", "Accept-Encoding: gzip")
    assert lines(given)["Content-Encoding"] == "gzip"


def test_without_the_field_the_file_comes_as_it_is_and_varies() -> None:
    found = lines(get(CODED, "a.js"))
    assert "Content-Encoding" not in found
    assert found["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accept", ["identity;q=0", "*;q=0", "identity;q=0, br;q=0, deflate", "identity;q=0.000"])
def test_nothing_is_acceptable(accept: str) -> None:
    given = get(CODED, "a.js", f"Accept-Encoding: {accept}")
    assert given.status == 406
    assert lines(given)["Vary"] == "Accept-Encoding"
    check_length(given)


def test_each_coding_has_its_own_entity_tag() -> None:
    tags = {
        lines(get(CODED, "a.js", f"Accept-Encoding: {each}"))["ETag"] for each in ("identity", "gzip", "br", "zstd")
    }
    assert len(tags) == 4
    identity = CODED.entries["a.js"].etag.decode()
    assert get(CODED, "a.js", "Accept-Encoding: gzip", f"If-None-Match: {identity}").status == 200
    given = get(CODED, "a.js", "Accept-Encoding: gzip", f"If-None-Match: {GZ.etag.decode()}")
    assert given.status == 304
    assert lines(given)["Vary"] == "Accept-Encoding"


def test_a_range_is_one_of_the_coded_bytes() -> None:
    given = get(CODED, "a.js", "Accept-Encoding: gzip", "Range: bytes=299-")
    found = lines(given)
    assert found["Content-Range"] == "bytes 299-299/300"
    assert found["Content-Encoding"] == "gzip"


def test_a_sibling_under_its_own_name_is_a_plain_file() -> None:
    found = lines(get(CODED, "a.js.gz", "Accept-Encoding: gzip"))
    assert found["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in found
    assert "Vary" not in found


def test_a_sibling_that_is_not_smaller_is_not_used() -> None:
    index = FileIndex([entry("a.js"), entry("a.js.gz")])
    found = lines(get(index, "a.js", "Accept-Encoding: gzip"))
    assert "Content-Encoding" not in found
    assert "Vary" not in found


def test_cache_control_of_a_coded_file_is_by_its_own_name() -> None:
    index = FileIndex([entry("a.3f2a9b1c.js"), entry("a.3f2a9b1c.js.br", b"x")])
    assert "immutable" in lines(get(index, "a.3f2a9b1c.js", "Accept-Encoding: br"))["Cache-Control"]


# --- blocks and reprs ----------------------------------------------------------------------------------------------


def test_a_block_is_read_the_same_whether_it_is_kept_or_not() -> None:
    small = b"Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n\r\n"
    large = b"Cookie: " + b"x" * 8000 + b"\r\n" + small
    assert read_file_fields(small) == read_file_fields(large)
    assert read_file_fields(small) is read_file_fields(bytes(bytearray(small)))
    assert read_file_fields(b"\r\n").plain
    assert not read_file_fields(small).plain


def test_a_value_of_another_field_is_not_taken_for_a_condition() -> None:
    assert get(INDEX, "a.txt", "X: Range: bytes=0-1", "Cookie: If-None-Match: *").status == 200
    assert get(INDEX, "a.txt", "X-Range: bytes=0-1", "Ranges: bytes=0-1").status == 200


def test_reprs_say_what_is_there() -> None:
    assert repr(CODED) == "<FileIndex 4 files, 1750 bytes, 1750 of them in memory>"
    resource = CODED.find("a.js")
    assert repr(resource) == "<Resource <Representation a.js 1000 bytes> ['br', 'zstd', 'gzip']>"
    assert "body" not in repr(get(CODED, "a.js"))
    assert "body" not in repr(PLAIN)
