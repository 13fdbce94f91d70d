"""The admin API (design: JSON in and out, problem documents for errors, server-sent events, Prometheus)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from proxy import wire
from proxy.control import exporter
from proxy.control.admin_access import comes_from_a_page, token_matches
from proxy.control.openapi import Operation, document
from proxy.control.problems import problem, problems
from proxy.control.status import not_ready
from proxy.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Middleware

    from proxy.control.callers import Callers
    from proxy.control.problems import Handler
    from proxy.control.supervisor import Supervisor

MAX_BODY: Final = 256 * 1024
KEEP_ALIVE_SECONDS: Final = 15.0
_OPEN: Final = frozenset({"/healthz", "/readyz"})
_NO_TOKEN: Final = "the token is missing or wrong: send `Authorization: Bearer TOKEN` with the word in admin.token_file"
_Body = TypeVar("_Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Route:
    operation: Operation
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminApi:
    """`token` None: the address alone decides who may call. `make` gives the aiohttp application."""

    def __init__(
        self,
        supervisor: Supervisor,
        token: str | None,
        *,
        by_address: bool,
        callers: Callers,
        upgrade: Callable[[], Awaitable[None]],
    ) -> None:
        self._supervisor = supervisor
        self._token = token
        self._by_address = by_address
        self._callers = callers
        self._upgrade_program = upgrade

    def make(self) -> web.Application:
        app = web.Application(middlewares=[problems, self._guard()], client_max_size=MAX_BODY)
        for route in self.routes():
            app.router.add_route(route.operation.method, route.operation.path, route.handler)
        return app

    def routes(self) -> list[Route]:
        op = Operation
        return [
            Route(op("GET", "/healthz", "The supervisor is alive.", None, wire.Alive), self._alive),
            Route(
                op(
                    "GET",
                    "/readyz",
                    "Every worker is up and every app has a healthy active slot.",
                    None,
                    wire.Ready,
                    (503,),
                ),
                self._ready,
            ),
            Route(op("GET", "/v1/status", "Everything at a glance.", None, wire.Status), self._status),
            Route(op("GET", "/v1/apps/{app}", "One app.", None, wire.AppStatus, (404,)), self._app),
            Route(
                op(
                    "GET",
                    "/v1/apps/{app}/inflight",
                    "Outstanding exchanges, the oldest first.",
                    None,
                    wire.Inflight,
                    (404,),
                ),
                self._inflight,
            ),
            Route(
                op(
                    "POST",
                    "/v1/apps/{app}/switch",
                    "Makes another slot active in all workers; answers when the old one is drained.",
                    wire.SwitchRequest,
                    wire.SwitchReport,
                    (404, 409, 503, 507),
                ),
                self._switch,
            ),
            Route(
                op(
                    "POST",
                    "/v1/apps/{app}/confirm",
                    "Ends the trial of the last switch: it stays.",
                    None,
                    wire.AppStatus,
                    (404, 409, 507),
                ),
                self._confirm,
            ),
            Route(
                op(
                    "POST",
                    "/v1/apps/{app}/revert",
                    "Ends the trial of the last switch: switches back, as a switch of its own.",
                    None,
                    wire.SwitchReport,
                    (404, 409, 422, 503, 507),
                ),
                self._revert,
            ),
            Route(
                op(
                    "PUT",
                    "/v1/apps/{app}/weights",
                    "Spreads new requests over several slots.",
                    wire.WeightsRequest,
                    wire.AppStatus,
                    (404, 409, 503, 507),
                ),
                self._weights,
            ),
            Route(
                op(
                    "POST",
                    "/v1/apps/{app}/pause",
                    "Lets new requests wait, for a time.",
                    wire.PauseRequest,
                    wire.AppStatus,
                    (404, 507),
                ),
                self._pause,
            ),
            Route(op("POST", "/v1/apps/{app}/resume", "Ends a pause.", None, wire.AppStatus, (404, 507)), self._resume),
            Route(
                op(
                    "PUT",
                    "/v1/apps/{app}/maintenance",
                    "Answers requests with a page, or serves them again.",
                    wire.MaintenanceRequest,
                    wire.AppStatus,
                    (404, 507),
                ),
                self._maintenance,
            ),
            Route(
                op(
                    "PUT", "/v1/apps/{app}/slots/{slot}", "Changes a slot.", wire.SlotUpdate, wire.AppStatus, (404, 507)
                ),
                self._slot,
            ),
            Route(
                op(
                    "POST",
                    "/v1/apps/{app}/slots/{slot}/close-idle",
                    "Closes the idle connections to a slot, so that its server can stop at once.",
                    None,
                    wire.Done,
                    (404,),
                ),
                self._close_idle,
            ),
            Route(
                op(
                    "GET",
                    "/v1/apps/{app}/recent",
                    "Some requests of late, and those that failed or were slow.",
                    None,
                    wire.Recent,
                    (404,),
                ),
                self._recent,
            ),
            Route(
                op(
                    "POST",
                    "/v1/apps/{app}/releases/current",
                    "The deployer tells how its release is going.",
                    wire.ReleaseProgress,
                    wire.Done,
                    (404,),
                ),
                self._release,
            ),
            Route(
                op(
                    "POST",
                    "/v1/reload",
                    "Reads the configuration again and replaces the workers.",
                    None,
                    wire.Done,
                    (409, 422, 503),
                ),
                self._reload,
            ),
            Route(
                op(
                    "POST",
                    "/v1/upgrade",
                    "Goes on with new code, and replaces the workers; answers when the new ones serve.",
                    None,
                    wire.Done,
                    (409, 422, 503),
                ),
                self._upgrade,
            ),
            Route(
                op("GET", "/v1/events", "Server-sent events.", None, wire.Event, (), "text/event-stream"), self._events
            ),
            Route(op("GET", "/metrics", "Prometheus.", None, None, (), "text/plain"), self._metrics),
            Route(op("GET", "/openapi.json", "This document.", None, None), self._openapi),
        ]

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path not in _OPEN:
                self._check(request)
            with self._callers.calling(request):
                return await handler(request)

        return guard

    def _check(self, request: web.Request) -> None:
        if self._token is not None:
            if not token_matches(request.headers.get("Authorization"), self._token):
                raise AdminError(401, _NO_TOKEN)
            return
        fields = (request.headers.get(name) for name in ("Host", "Origin", "Sec-Fetch-Site"))
        if self._by_address and comes_from_a_page(*fields):
            raise AdminError(403, "set admin.token_file to allow calls from other hosts and pages")

    # --- calls -------------------------------------------------------------------------------------------------

    async def _alive(self, _request: web.Request) -> web.StreamResponse:
        return _json(wire.Alive())

    async def _ready(self, _request: web.Request) -> web.StreamResponse:
        reasons = not_ready(self._supervisor)
        return problem(503, "; ".join(reasons)) if reasons else _json(wire.Ready())

    async def _status(self, _request: web.Request) -> web.StreamResponse:
        return _json(await self._supervisor.status())

    async def _app(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._supervisor.app_status(request.match_info["app"]))

    async def _inflight(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._supervisor.inflight(request.match_info["app"]))

    async def _switch(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, wire.SwitchRequest)
        return _json(await self._supervisor.switch(request.match_info["app"], body))

    async def _confirm(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._supervisor.confirm(request.match_info["app"]))

    async def _revert(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._supervisor.revert(request.match_info["app"]))

    async def _weights(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, wire.WeightsRequest)
        return _json(await self._supervisor.set_weights(request.match_info["app"], body))

    async def _pause(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, wire.PauseRequest) if request.can_read_body else wire.PauseRequest()
        return _json(await self._supervisor.pause(request.match_info["app"], body))

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._supervisor.resume(request.match_info["app"]))

    async def _maintenance(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, wire.MaintenanceRequest)
        return _json(await self._supervisor.set_maintenance(request.match_info["app"], body))

    async def _slot(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request, wire.SlotUpdate)
        return _json(await self._supervisor.update_slot(request.match_info["app"], request.match_info["slot"], body))

    async def _close_idle(self, request: web.Request) -> web.StreamResponse:
        await self._supervisor.close_idle(request.match_info["app"], request.match_info["slot"])
        return _json(wire.Done(message="closed"))

    async def _recent(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._supervisor.recent(request.match_info["app"]))

    async def _release(self, request: web.Request) -> web.StreamResponse:
        self._supervisor.set_release(request.match_info["app"], await _body(request, wire.ReleaseProgress))
        return _json(wire.Done(message="noted"))

    async def _reload(self, _request: web.Request) -> web.StreamResponse:
        return _json(wire.Done(message=await self._supervisor.reload()))

    async def _upgrade(self, _request: web.Request) -> web.StreamResponse:
        await self._upgrade_program()
        raise AdminError(503, "the upgrade has not begun")

    async def _metrics(self, _request: web.Request) -> web.StreamResponse:
        totals = await self._supervisor.collect()
        return web.Response(
            body=exporter.render(self._supervisor, totals), headers={"Content-Type": exporter.MEDIA_TYPE}
        )

    async def _openapi(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(document(route.operation for route in self.routes()))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID", "")
        subscription = self._supervisor.bus.subscribe(int(last) if last.isdigit() else None)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            await response.prepare(request)
            await response.write(b": events follow\n\n")
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                        item = await subscription.next()
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                if item is None:
                    return response
                number, event = item
                data = event.model_dump_json()
                await response.write(f"id: {number}\nevent: {event.type}\ndata: {data}\n\n".encode())
        except ConnectionError:
            return response
        finally:
            subscription.close()

    def __repr__(self) -> str:
        return f"<AdminApi {'token' if self._token else 'no token'}>"


def _json(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(by_alias=True), content_type="application/json")


async def _body(request: web.Request, model: type[_Body]) -> _Body:
    """Raises AdminError 415, 400 or 422; more than MAX_BODY bytes are 413."""
    if request.content_type != "application/json":
        raise AdminError(415, f"the body must be application/json, not {request.content_type}")
    raw = await request.read()
    try:
        json.loads(raw)
    except ValueError as error:
        raise AdminError(400, f"the body is not JSON: {error}") from error
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise AdminError(422, "; ".join(_shown(detail["loc"], detail["msg"]) for detail in error.errors())) from error


def _shown(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in place)
    return f"{where}: {message}" if where else message
