"""Conditions on a file: what a request's fields say about it, and what follows (RFC 9110 sections 12.5.3 and 13)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from proxy.core.dates import parse_http_date
from proxy.http1.grammar import pick_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

_CACHED_BLOCK: Final = 4096
_CACHED_VALUE: Final = 256
_CACHED_BLOCKS: Final = 512
"""With the bounds before, 2.1 MiB at the most."""

MAX_CODINGS: Final = 32
"""Members of Accept-Encoding that are looked at."""

_FIELDS: Final = pick_fields(
    (
        "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range",
        "accept-encoding",
    )
)  # fmt: skip
_ENTITY_TAG: Final = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*+"')
_WEIGHT: Final = re.compile(rb"(?i:q)=(?:(1)(?:\.0{0,3})?|0(?:\.([0-9]{0,3}))?)")
_ANY: Final = (b"*",)
_CONDITIONAL: Final = frozenset((b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"range"))


@dataclass(frozen=True, slots=True)
class FileFields:
    """The fields of a request that matter to a file. None: absent, or to be ignored because it is not valid.

    Entity tags are whole, with quotes and `W/`; `(b"*",)` is any. Dates are Unix times. `if_range` is empty when it
    can't be true. `codings`: coding in lower case -> weight in thousandths. `plain`: no condition and no range.
    """

    if_match: tuple[bytes, ...] | None = None
    if_none_match: tuple[bytes, ...] | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None
    if_range: bytes | None = None
    range: bytes | None = None
    codings: Mapping[bytes, int] | None = None
    plain: bool = True

    def weight(self, coding: bytes) -> int:
        """How much the client wants this coding, 0 to 1000. 0: it must not be sent."""
        if self.codings is None:
            return 0
        found = self.codings.get(coding)
        return found if found is not None else self.codings.get(b"*", 0)

    @property
    def identity_weight(self) -> int:
        """The same for a file as it is: acceptable unless the client says otherwise, but rather coded."""
        if self.codings is None:
            return 1000
        found = self.codings.get(b"identity")
        if found is None and b"*" in self.codings:
            found = min(1, self.codings[b"*"])
        return 1 if found is None else found


@dataclass(frozen=True, slots=True)
class Validators:
    """What a representation is recognised by: its strong entity tag, quoted, and its Last-Modified in Unix time.

    `settled`: it was older than a second when it was read, so that no other content can have the same time
    (RFC 9110 section 8.8.2.2).
    """

    etag: bytes
    modified: int
    settled: bool


def read_file_fields(block: bytes) -> FileFields:
    """Reads a block of field lines, as RequestFields has it. Blocks repeat, and are then only looked up."""
    return _read_cached(block) if len(block) <= _CACHED_BLOCK else _read(block)


def _read(block: bytes) -> FileFields:
    found: dict[bytes, list[bytes]] = {}
    for match in _FIELDS.finditer(b"\n" + block):
        found.setdefault(match[1].lower(), []).append(match[2].strip(b" \t"))
    codings = b",".join(found[b"accept-encoding"]) if b"accept-encoding" in found else None
    if len(found) == (codings is not None) and (codings is None or len(codings) <= _CACHED_VALUE):
        return _plain(codings)
    return FileFields(
        if_match=_entity_tags(found.get(b"if-match")),
        if_none_match=_entity_tags(found.get(b"if-none-match")),
        if_modified_since=_date(found.get(b"if-modified-since")),
        if_unmodified_since=_date(found.get(b"if-unmodified-since")),
        if_range=_single(found[b"if-range"]) or b"" if b"if-range" in found else None,
        range=_single(found.get(b"range")),
        codings=None if codings is None else _codings(codings),
        plain=not found.keys() & _CONDITIONAL,
    )


_read_cached: Final = lru_cache(maxsize=_CACHED_BLOCKS)(_read)


@lru_cache(maxsize=_CACHED_BLOCKS)
def _plain(codings: bytes | None) -> FileFields:
    """What almost every request asks for: browsers differ in all fields but Accept-Encoding."""
    return FileFields(codings=None if codings is None else _codings(codings))


def _single(values: list[bytes] | None) -> bytes | None:
    """The value of a field that is not a list; None when it is absent or there are several."""
    return values[0] if values is not None and len(values) == 1 else None


def _date(values: list[bytes] | None) -> int | None:
    value = _single(values)
    return None if value is None else parse_http_date(value)


def _entity_tags(values: list[bytes] | None) -> tuple[bytes, ...] | None:
    """What is no entity tag matches none: If-Match is then false, and If-None-Match true."""
    if values is None:
        return None
    return _ANY if values == [b"*"] else tuple(_ENTITY_TAG.findall(b",".join(values)))


def _codings(value: bytes) -> dict[bytes, int]:
    weights: dict[bytes, int] = {}
    for member in value.split(b",", MAX_CODINGS)[:MAX_CODINGS]:
        name, separator, parameter = member.partition(b";")
        coding = name.strip(b" \t").lower()
        weight = 1000
        if separator:
            match = _WEIGHT.fullmatch(parameter.strip(b" \t"))
            if match is None:
                continue
            weight = 1000 if match[1] else int((match[2] or b"0").ljust(3, b"0"))
        if coding:
            weights[b"gzip" if coding == b"x-gzip" else coding] = weight
    return weights


def evaluate(fields: FileFields, validators: Validators) -> int:
    """The conditions of a GET or HEAD in the order of RFC 9110 section 13.2.2: 200, 304 or 412."""
    if fields.if_match is not None:
        if fields.if_match != _ANY and validators.etag not in fields.if_match:
            return 412
    elif fields.if_unmodified_since is not None and validators.modified > fields.if_unmodified_since:
        return 412
    if fields.if_none_match is not None:
        tags = fields.if_none_match
        if tags == _ANY or validators.etag in tags or b"W/" + validators.etag in tags:
            return 304
    elif fields.if_modified_since is not None and validators.modified <= fields.if_modified_since:
        return 304
    return 200


def range_applies(fields: FileFields, validators: Validators) -> bool:
    """Whether Range is to be honoured (RFC 9110 section 13.1.5): If-Range needs an exact match of strong validators."""
    if fields.if_range is None:
        return True
    if fields.if_range.startswith((b'"', b"W/")):
        return fields.if_range == validators.etag
    return validators.settled and parse_http_date(fields.if_range) == validators.modified
