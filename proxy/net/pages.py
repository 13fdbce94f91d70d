"""What the proxy answers itself: small pages that name the part that failed and the request, never internals."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from proxy.core.gate import MaintenanceError

if TYPE_CHECKING:
    from proxy.errors import RequestError

RETRY_AFTER: Final = {503: 2, 408: 1}

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{status} {phrase}</title>
<style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:34em;margin:12vh auto;padding:0 1em}}
small{{color:#666}}</style></head>
<body><h1>{phrase}</h1>
<p>Part that failed: {part}. {reason}.</p>
<p><small>{status} &middot; request {request_id}</small></p></body></html>
"""
_MAINTENANCE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Maintenance</title>
<style>body{{font:1.1em/1.5 system-ui,sans-serif;max-width:34em;margin:12vh auto;padding:0 1em}}</style></head>
<body><h1>Maintenance</h1>
<p>{text}</p></body></html>
"""
_MAINTENANCE_TEXT: Final = "This site is being maintained. It will be back soon."
_FIELDS: Final = b"Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n"


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """A whole response but for what depends on the connection. `fields` are lines that end with CRLF."""

    status: int
    fields: bytes
    body: bytes

    def encode(self, connection: bytes, request_id: bytes, date: bytes, *, head_only: bool) -> bytes:
        """The bytes to send. `connection` is a whole field line, or empty."""
        return b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\nDate: %b\r\n%bX-Request-Id: %b\r\n\r\n%b" % (
            self.status,
            HTTPStatus(self.status).phrase.encode(),
            self.fields,
            len(self.body),
            date,
            connection,
            request_id,
            b"" if head_only else self.body,
        )


def error_page(error: RequestError, request_id: bytes) -> OwnAnswer:
    """The page for an error. Its text is this program's own: nothing of the request or the backend stands in it."""
    if isinstance(error, MaintenanceError):
        retry = b"Retry-After: %d\r\n" % error.maintenance.retry_after
        return OwnAnswer(error.status, _FIELDS + retry, error.maintenance.page)
    status = error.status
    reason = str(error)
    page = _PAGE.format(
        status=status,
        phrase=HTTPStatus(status).phrase,
        part=error.part,
        reason=reason[:1].upper() + reason[1:],
        request_id=request_id.decode(),
    )
    fields = _FIELDS
    if status in RETRY_AFTER:
        fields += b"Retry-After: %d\r\n" % RETRY_AFTER[status]
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        fields += b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
    return OwnAnswer(status, fields, page.encode())


def maintenance_page(page: str | None, text: str | None) -> bytes:
    """The operator's page; without one this program's own, with the operator's text."""
    if page is not None:
        return page.encode()
    return _MAINTENANCE.format(text=escape(text or _MAINTENANCE_TEXT)).encode()


def options_answer() -> OwnAnswer:
    """The answer to OPTIONS with Max-Forwards 0: this proxy is its last recipient (RFC 9110 section 7.6.2)."""
    return OwnAnswer(200, b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", b"")
