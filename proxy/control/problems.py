"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from proxy.errors import AdminError, ConfigurationError, OperatorError, RefusedError, StateError
from proxy.wire import Problem

MEDIA_TYPE: Final = "application/problem+json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A whole answer."""
    document = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return web.Response(status=status, text=json.dumps(document.model_dump()), content_type=MEDIA_TYPE, headers=headers)


def _status_of(error: OperatorError) -> int:
    match error:
        case ConfigurationError():
            return 422
        case StateError():
            return 507
        case RefusedError():
            return 503
        case _:
            return 500


def of_error(error: AdminError | OperatorError) -> web.Response:
    """A whole answer."""
    if isinstance(error, AdminError):
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
        return problem(error.status, str(error), headers)
    return problem(_status_of(error), f"{error}; {error.advice}" if error.advice else str(error))


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns what a handler raises into a problem document."""
    try:
        return await handler(request)
    except (AdminError, OperatorError) as error:
        return of_error(error)
    except web.HTTPRequestEntityTooLarge as error:
        return problem(413, error.text or "")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} is not allowed here; allowed: {allowed}"
        return problem(405, detail, {"Allow": allowed})
    except web.HTTPNotFound:
        return problem(404, f"there is nothing at {request.path}; /openapi.json lists what there is")
    except web.HTTPException as error:
        return problem(error.status, error.text or error.reason)
    except (ConnectionError, TimeoutError):
        raise
    except Exception:
        # The caller gets no internals; the operator's log gets them all.
        traceback.print_exc(file=sys.stderr)
        return problem(500, "the proxy has a defect; its log says more")
