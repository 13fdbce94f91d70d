"""A reverse proxy as one writes it with aiohttp in an afternoon: the measure of what the fast path brings.

Streams both ways, keeps connections to both sides alive, writes aiohttp's access log to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import logging

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict

HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade")
SESSION: web.AppKey[ClientSession] = web.AppKey("session", ClientSession)


def end_to_end(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """The fields that travel on (RFC 9110 section 7.6.1)."""
    for name in HOP_BY_HOP:
        headers.popall(name, None)
    return headers


def make_app(backend: str, static_root: str) -> web.Application:
    async def session(app: web.Application):  # type: ignore[no-untyped-def]
        app[SESSION] = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None, sock_connect=5, sock_read=75),
            auto_decompress=False,
        )
        yield
        await app[SESSION].close()

    async def forward(request: web.Request) -> web.StreamResponse:
        headers = end_to_end(CIMultiDict(request.headers))
        headers["X-Forwarded-For"] = request.remote or ""
        headers["X-Forwarded-Proto"] = request.scheme
        async with request.app[SESSION].request(
            request.method,
            backend + request.path_qs,
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            response = web.StreamResponse(status=answer.status, headers=end_to_end(CIMultiDict(answer.headers)))
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application(client_max_size=2**40)
    app.cleanup_ctx.append(session)
    app.router.add_static("/static/", static_root)
    app.router.add_route("*", "/{path:.*}", forward)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--backend", required=True, help="http://host:port")
    parser.add_argument("--static-root", required=True)
    parser.add_argument("--log", required=True)
    arguments = parser.parse_args()
    logging.basicConfig(filename=arguments.log, format="%(message)s")
    logging.getLogger("aiohttp.access").setLevel(logging.INFO)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    app = make_app(arguments.backend, arguments.static_root)
    web.run_app(app, host="127.0.0.1", port=arguments.port, print=None, backlog=4096)


if __name__ == "__main__":
    main()
