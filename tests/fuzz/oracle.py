"""The fields that must go out, worked out from RFC 9110 section 7.6 in the plainest way, without the proxy's code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

Fields = tuple[tuple[bytes, bytes], ...]

_HOP_BY_HOP: Final = (
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade", b"proxy-authenticate",
    b"proxy-authorization",
)  # fmt: skip
_OWN_IN_REQUESTS: Final = (b"forwarded", b"x-real-ip", b"x-request-id", b"proxy")
_TWINS: Final = (
    b"content-length", b"transfer-encoding", b"user-agent", b"max-forwards", *_HOP_BY_HOP, *_OWN_IN_REQUESTS,
)  # fmt: skip
_RESPONSE_TWINS: Final = (b"content-length", b"transfer-encoding", *_HOP_BY_HOP, b"x-request-id")
_NOT_REMOVABLE: Final = (
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"authorization",
    b"cookie", b"set-cookie", b"via", b"date", b"location", b"cache-control",
)  # fmt: skip
_OPTIONS: Final = (b"close", b"keep-alive", b"upgrade", b"te", b"")


@dataclass(frozen=True, slots=True)
class Client:
    address: bytes
    port: bytes
    trusted: bool


def _is_twin(name: bytes, of: tuple[bytes, ...]) -> bool:
    return b"_" in name and name.replace(b"_", b"-") in of


def options(fields: Fields, of: bytes = b"connection") -> list[bytes]:
    values = [value.lower() for name, value in fields if name == of]
    return [option.strip(b" \t") for value in values for option in value.split(b",")]


def upgrade(fields: Fields) -> bytes:
    """The protocols of all lines of Upgrade; a line without one says nothing."""
    return b", ".join(value for name, value in fields if name == b"upgrade" and value.strip(b", \t"))


def keeps_alive(fields: Fields, minor: int) -> bool:
    """RFC 9112 section 9.3, in its order."""
    if b"close" in options(fields):
        return False
    return minor == 1 or b"keep-alive" in options(fields)


def chunk_lines(body: bytes) -> tuple[list[bytes], Fields]:
    """The chunks' lines, also one that is not whole, and the trailers of a body in chunked coding."""
    lines: list[bytes] = []
    while True:
        line, end, body = body.partition(b"\r\n")
        digits = line.partition(b";")[0].rstrip(b" \t")
        lines.append(line)
        if not end or not re.fullmatch(rb"[0-9A-Fa-f]+", digits):
            return lines, ()
        if not int(digits, 16):
            pairs = (trailer.partition(b":") for trailer in body.partition(b"\r\n\r\n")[0].split(b"\r\n"))
            return lines, tuple((name.lower(), value.strip(b" \t")) for name, _, value in pairs)
        body = body[int(digits, 16) + 2 :]


def _named(fields: Fields) -> set[bytes]:
    return {name for name in options(fields) if name not in _OPTIONS and name not in _NOT_REMOVABLE}


def _is_forwarded(name: bytes) -> bool:
    return name.replace(b"_", b"-").startswith(b"x-forwarded-")


def request_fields(fields: Fields, minor: int, authority: bytes, client: Client) -> Fields:
    """The backend's fields, X-Request-Id left out, for a request with these fields."""
    named = _named(fields)
    kept = [
        (name, value)
        for name, value in fields
        if name not in _HOP_BY_HOP
        and name not in _OWN_IN_REQUESTS
        and not _is_twin(name, _TWINS)
        and not _is_forwarded(name)
        and not (name == b"expect" and minor == 0)
        and name not in named
    ]
    hosts = [value for name, value in kept if name == b"host"]
    authority = authority or b"localhost:" + client.port
    if hosts != [authority]:
        kept = [(b"host", authority), *((name, value) for name, value in kept if name != b"host")]
    codings = [(name, value) for name, value in kept if name == b"transfer-encoding" and value != b"chunked"]
    kept = [pair for pair in kept if pair not in codings] + [(name, b"chunked") for name, _ in codings]
    kept += _forwarded(fields, authority, client)
    kept += _extras(fields, minor)
    return (*kept, (b"via", b"1.%d switchyard" % minor))


def _forwarded(fields: Fields, authority: bytes, client: Client) -> list[tuple[bytes, bytes]]:
    said = {name: [value for other, value in fields if other == name and value] for name, _ in fields}
    if not client.trusted:
        said = {}
    chain = [*said.get(b"x-forwarded-for", []), client.address]
    out = [(b"x-forwarded-for", b", ".join(chain))]
    out += [
        (name, [own, *said.get(name, [])][-1])
        for name, own in (
            (b"x-forwarded-proto", b"http"),
            (b"x-forwarded-host", authority),
            (b"x-forwarded-port", client.port),
        )
    ]
    if said.get(b"forwarded"):
        out.append((b"forwarded", b", ".join([*said[b"forwarded"], b"for=" + client.address])))
    return out


def _extras(fields: Fields, minor: int) -> list[tuple[bytes, bytes]]:
    has_body = any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value) > 0) for name, value in fields
    )
    offered = upgrade(fields)
    if minor and not has_body and offered and b"upgrade" in options(fields):
        protocols = [protocol.strip(b" \t").lower() for protocol in offered.split(b",")]
        if not any(protocol.startswith(b"h2c") for protocol in protocols):
            return [(b"connection", b"Upgrade"), (b"upgrade", offered)]
    codings = [coding.strip(b" \t") for name, value in fields if name == b"te" for coding in value.lower().split(b",")]
    if minor and b"trailers" in codings:
        return [(b"connection", b"TE"), (b"te", b"trailers")]
    return []


def response_fields(fields: Fields, status: int, *, trailers: bool) -> Fields:
    """The client's fields, without Date, X-Request-Id, Connection and framing that the proxy adds.

    `trailers`: whether the client gets what the backend sends of them.
    """
    named = _named(fields)
    dropped: tuple[bytes, ...] = (*_HOP_BY_HOP, b"x-request-id", b"transfer-encoding")
    if not trailers and any(name == b"transfer-encoding" for name, _ in fields):
        dropped += (b"trailer",)
    if status < 200 or status == 204:
        dropped += (b"content-length",)
    return tuple(
        (name, value)
        for name, value in fields
        if name not in dropped and not _is_twin(name, _RESPONSE_TWINS) and name not in named
    )
