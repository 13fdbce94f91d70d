"""One request and its response, from the claim to the log line: the slot, the backend, retries, and the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

from proxy.core.gate import NotAdmittedError
from proxy.errors import RequestError
from proxy.http1.rewrite import request_head, with_field
from proxy.net.pool import CrowdedError
from proxy.net.tunnel import Tunnel
from proxy.net.upstream import BackendError, BackendTimeoutError, ClosedEarlyError, ConnectError

if TYPE_CHECKING:
    from proxy.core.backends import Backend
    from proxy.core.gate import Ticket
    from proxy.core.spread import Spread
    from proxy.http1.head import RequestHead, ResponseHead
    from proxy.net.app import App
    from proxy.net.pool import Pool
    from proxy.net.upstream import Upstream

MAX_REPLAY: Final = 64 * 1024
"""A request that is larger is not kept for a second attempt."""

_EVENT_STREAM: Final = re.compile(rb"^content-type:[ \t]*text/event-stream[ \t]*[;\r]", re.IGNORECASE | re.MULTILINE)
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))  # RFC 9110 section 9.2.2


class HoldExpiredError(RequestError):
    """The request waited in the gate for as long as it may."""

    status = 503
    part = "the wait for a release"


class CutError(RequestError):
    """The exchange was still running at a drain's deadline."""

    status = 503
    part = "the release that this request began on"


class Client(Protocol):
    """The client's side of an exchange: an HTTP/1 connection or an HTTP/2 stream."""

    @property
    def address(self) -> bytes: ...

    def send_interim(self, head: ResponseHead) -> None: ...

    def send_response(self, head: ResponseHead, has_body: bool, body: bytes) -> None: ...

    def send_body(self, data: bytes) -> None: ...

    def send_error(self, error: RequestError) -> None:
        """Answers with a small page, when no response has begun."""
        ...

    def abort_response(self) -> None:
        """Ends the connection so that the client sees that the response is not whole."""
        ...

    def start_tunnel(self, head: ResponseHead, rest: bytes) -> None: ...

    def stop_tunnel(self) -> None:
        """The client has been told that the tunnel ends: what it still sends is of no use."""
        ...

    def send_eof(self) -> None: ...

    def pause_receiving(self) -> None: ...

    def resume_receiving(self) -> None: ...

    def expect_backend(self) -> None:
        """The request is with the backend, which must go on within its time limit from now."""
        ...

    def exchange_ended(self, whole: bool) -> None:
        """It is over. `whole`: what was sent is a whole response, but for what marks its end."""
        ...


class Exchange:
    """Joins a client to a backend. It ends exactly once, and then its ticket is released.

    `body` is what has come of the request's, `complete` whether that is all. `backend` has, or had last, the request.
    `status` is 0 until a response has begun; `cut_off`: the response has ended before it was whole.
    """

    __slots__ = (
        "_asked", "_forwarded", "_replay", "_response_fields", "_silent_at", "_tried", "_tunnel", "_unsent",
        "app", "backend", "bytes_in", "bytes_out", "client", "cut_off", "ended", "head", "method", "request_id",
        "request_sent", "started", "status", "ticket", "upstream",
    )  # fmt: skip

    def __init__(
        self, client: Client, app: App, head: RequestHead, forwarded: bytes, request_id: bytes, started: float,
        body: bytes, complete: bool,
    ) -> None:  # fmt: skip
        self.client = client
        self.app = app
        self.head = head
        self.method = head.method
        self.request_id = request_id
        self.started = started
        self.status = 0
        self.bytes_in = len(body)
        self.bytes_out = 0
        self.ticket: Ticket | None = None
        self.upstream: Upstream | None = None
        self.backend: Backend | None = None
        self.request_sent = complete
        self.ended = False
        self.cut_off = False
        self._forwarded = forwarded
        self._asked: Pool | None = None
        self._tried: tuple[Backend, ...] = ()
        self._unsent = body
        self._response_fields = b""
        self._silent_at = -1
        self._tunnel: Tunnel | None = None
        # The body for one more attempt, where one is allowed.
        self._replay = body if complete and head.method in _IDEMPOTENT and len(body) <= MAX_REPLAY else None

    def __repr__(self) -> str:
        return f"<Exchange {self.head!r} status={self.status} {self.ticket!r} {self.upstream!r}>"

    # --- the client's side ---------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Claims a slot, and sends the request there; or waits to be woken."""
        try:
            ticket = self.app.gate.claim(self, self.started)
        except NotAdmittedError as error:
            self._fail(error)
            return
        if ticket is None:
            self._keep_unsent()
        else:
            self.ticket = ticket
            self._choose_backend(None)

    def send(self, data: bytes, complete: bool) -> None:
        """More of the request's body."""
        self.bytes_in += len(data)
        self.request_sent = complete
        if self.upstream is not None:
            self.upstream.write(data)
            if complete:
                self.client.expect_backend()
        else:
            self._unsent += data
            self._keep_unsent()

    def _keep_unsent(self) -> None:
        """What has come of the body waits for a connection; the rest waits with the client when it is much."""
        if len(self._unsent) > MAX_REPLAY and not self.request_sent:
            self.client.pause_receiving()

    def tunnel_send(self, data: bytes) -> None:
        tunnel = self._tunnel
        self.bytes_in += len(data)
        if self.upstream is not None and tunnel is not None:
            data = tunnel.from_client(data)
            if data:
                self.upstream.write(data)
            if tunnel.closed:
                self._end_tunnel()

    def client_eof(self) -> None:
        """The tunnel's client sends no more."""
        if self.upstream is not None:
            self.upstream.write_eof()
        if self._tunnel is not None:
            self._tunnel.client_ended = True
            self._tunnel_side_ended(self._tunnel)

    def client_gone(self) -> None:
        """The client's connection has ended before the exchange."""
        self.cut_off = self.status > 0 and self._tunnel is None
        self._end()

    def client_failed(self, error: RequestError) -> None:
        """The rest of the request can't be had: it is late, or not valid."""
        self._fail(error)

    def timed_out(self) -> None:
        """The backend did not go on in time."""
        if self.backend is not None and not self.status:
            self.backend.failed(self.app.now())
        self._fail(BackendTimeoutError("the application did not answer in time"))

    def pause_response(self) -> None:
        if self.upstream is not None:
            self.upstream.pause()

    def resume_response(self) -> None:
        if self.upstream is not None:
            self.upstream.resume()

    def may_be_silent(self) -> bool:
        """Whether the response is server-sent events, and some have come since this was asked before."""
        if self._silent_at == self.bytes_out or _EVENT_STREAM.search(self._response_fields) is None:
            return False
        self._silent_at = self.bytes_out
        return True

    # --- the gate's side -----------------------------------------------------------------------------------------

    def wake(self) -> None:
        if self.ended or self.ticket is not None:
            return
        self.claim()
        if self.request_sent and not self.ended:
            self.client.expect_backend()

    def refuse(self) -> None:
        self._fail(HoldExpiredError("the request waited for too long"))

    def cut(self) -> None:
        """The slot is to be stopped and this exchange has had its time."""
        self._fail(CutError("the application was restarted before it answered"))

    @property
    def is_websocket(self) -> bool:
        return self._tunnel is not None and self._tunnel.is_websocket

    def close_websocket(self) -> None:
        """Both ends get a close frame, each when the frame that has begun to pass is whole; then it ends."""
        tunnel = self._tunnel
        if self.ended or tunnel is None or self.upstream is None:
            return
        to_client, to_backend = tunnel.close()
        if to_client:
            self.client.send_body(to_client)
        if to_backend:
            self.upstream.write(to_backend)
        if tunnel.closed:
            self._end_tunnel()

    def _choose_backend(self, error: RequestError | None) -> None:
        """Sends the request to a backend of the slot that was not tried yet; without one it fails with `error`."""
        assert self.ticket is not None
        slot = self.app.slots[self.ticket.slot.name]
        pool = slot.only
        if pool is None or self._tried:
            backend = slot.backends.choose(self.started, self._tried)
            if backend is None:
                if self.app.another_slot(self, self._tried):
                    self._choose_backend(error)
                else:
                    self._fail(error or ConnectError("the application has no backend"))
                return
            pool = slot.pools[backend]
        self.backend = pool.backend
        pool.backend.in_flight += 1
        upstream = pool.take()
        if upstream is not None:
            self._use(upstream)
        else:
            self._keep_unsent()
            self._ask(pool)

    def _ask(self, pool: Pool, *, fresh: bool = False) -> None:
        self._asked = pool
        pool.ask(self, fresh=fresh)

    def connected(self, upstream: Upstream) -> None:
        """The pool has a connection."""
        self._asked = None
        self._use(upstream)
        if self.request_sent:
            self.client.expect_backend()

    def not_connected(self, error: ConnectError) -> None:
        """The pool has none; another backend may."""
        self._asked = None
        self._leave_backend(failed=not isinstance(error, CrowdedError))
        self._choose_backend(error)

    def _use(self, upstream: Upstream) -> None:
        self.upstream = upstream
        data = request_head(self.head, self._forwarded, self.request_id)
        if self._unsent:
            data += self._unsent
            self._unsent = b""
            self.client.resume_receiving()
        upstream.start(self, data)

    def _leave_backend(self, *, failed: bool) -> None:
        backend = self.backend
        if backend is not None:
            self.backend = None
            self._tried = (*self._tried, backend)
            backend.in_flight -= 1
            if failed:
                backend.failed(self.app.now())

    # --- the backend's side ----------------------------------------------------------------------------------------

    def offers(self, protocol: bytes) -> bool:
        return set(_protocols(protocol)) <= set(_protocols(self.head.fields.upgrade)) if protocol else False

    @property
    def decode_chunks(self) -> bool:
        return self.head.minor == 0

    def interim(self, head: ResponseHead) -> None:
        self.client.send_interim(head)

    def response(self, head: ResponseHead, has_body: bool, body: bytes, *, whole: bool = False) -> None:
        self.status = head.status
        self.bytes_out += len(body)
        if whole:
            self.upstream = None
        elif has_body and self.ticket is not None:
            self.ticket.streaming_since = self.app.time
            self._response_fields = head.kept
        if self.app.gate.spread is not None:
            head = self._with_slot_cookie(head, self.app.gate.spread)
        self.client.send_response(head, has_body, body)
        if whole:
            self._end(whole=True)

    def _with_slot_cookie(self, head: ResponseHead, spread: Spread) -> ResponseHead:
        if self.ticket is None:
            return head
        line = spread.set_cookie(self.head.fields.cookies, self.ticket.slot.name)
        return with_field(head, line) if line else head

    def body(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self.client.send_body(data)

    def response_ended(self) -> None:
        self.upstream = None
        self._end(whole=True)

    def upgraded(self, head: ResponseHead, rest: bytes) -> None:
        self.status = 101
        if self.ticket is not None:
            self.app.gate.tunnel(self.ticket)
        self._tunnel = Tunnel(websocket=head.upgrade.lower() == b"websocket")
        rest = self._tunnel.from_backend(rest)
        self.client.start_tunnel(head, rest)

    def tunnelled(self, data: bytes) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            return
        data = tunnel.from_backend(data)
        self.bytes_out += len(data)
        if data:
            self.client.send_body(data)
        if tunnel.closed:
            self._end_tunnel()

    def backend_eof(self) -> None:
        self.client.send_eof()
        if self._tunnel is not None:
            self._tunnel.backend_ended = True
            self._tunnel_side_ended(self._tunnel)

    def _tunnel_side_ended(self, tunnel: Tunnel) -> None:
        """Each direction of a tunnel ends by itself; the tunnel ends with the second."""
        if (tunnel.client_ended and tunnel.backend_ended) or tunnel.closed:
            self._end_tunnel()

    def _end_tunnel(self) -> None:
        """Both connections end when what was written is sent."""
        if self.upstream is not None:
            self.upstream.close()
            self.upstream = None
            if self._tunnel is not None and self._tunnel.closed:
                self.client.stop_tunnel()
            self._end()

    def pause_sending(self) -> None:
        self.client.pause_receiving()

    def resume_sending(self) -> None:
        self.client.resume_receiving()

    def failed(self, error: RequestError) -> None:
        upstream = self.upstream
        self.upstream = None
        if self.status:
            self._fail(error)
        elif (
            isinstance(error, ClosedEarlyError)
            and upstream is not None
            and upstream.reused
            and self._replay is not None
        ):
            # The backend closed a kept connection as the request was on its way (RFC 9112 section 9.3.1): once more,
            # on a new connection.
            self._unsent = self._replay
            self._replay = None
            self._ask(upstream.pool, fresh=True)
        else:
            if isinstance(error, BackendError) and self.backend is not None:
                self.backend.failed(self.app.now())
            self._fail(error)

    # --- the end ---------------------------------------------------------------------------------------------------

    def _fail(self, error: RequestError) -> None:
        if self.ended:
            return
        if self.status:
            self.cut_off = True
            self.client.abort_response()
        else:
            self.status = error.status
            self.client.send_error(error)
        self._end()

    def _end(self, *, whole: bool = False) -> None:
        if self.ended:
            return
        self.ended = True
        if self._asked is not None:
            self._asked.leave(self)
            self._asked = None
        if self.upstream is not None:
            self.upstream.abandon()
            self.upstream = None
        if self.backend is not None:
            self.backend.in_flight -= 1
        self.app.ended(self)
        self.client.exchange_ended(whole)


def _protocols(upgrade: bytes) -> list[bytes]:
    return [protocol.strip(b" \t") for protocol in upgrade.lower().split(b",")]
