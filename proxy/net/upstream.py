"""A connection to a backend: it sends requests as they come and reads the responses."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Final, Protocol, cast

from proxy.errors import RequestError
from proxy.http1.body import BodyError, ChunkedBody
from proxy.http1.head import HeadBuffer, ResponseError, ResponseHead, parse_response, response_begins
from proxy.net.leftover import leftover

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from proxy.core.backends import Backend
    from proxy.net.pool import Pool

MAX_RESPONSE_HEAD: Final = 64 * 1024
MAX_INTERIM: Final = 32
"""1xx responses before the final one; more is a fault of the backend."""
WRITE_BUFFER: Final = 64 * 1024
MAX_REST: Final = 1024 * 1024
"""What is read at most after a write has failed."""


class BackendError(RequestError):
    """The backend gave no response that can be delivered."""

    status = 502
    part = "the application"


class ConnectError(BackendError):
    """No connection could be made, so nothing was sent."""

    status = 503


class ConnectTimeoutError(ConnectError):
    """The connection was not made in time."""

    status = 504


class GoneError(ConnectError):
    """The connection was made and ended again, or was spoken on, before anything was sent."""

    status = 502


class ClosedEarlyError(BackendError):
    """The connection ended before the response began."""


class BackendTimeoutError(BackendError):
    """The response, or its next part, did not come in time."""

    status = 504


class ResponseSink(Protocol):
    """What takes one response: an exchange. All methods are called from the connection's own callbacks."""

    @property
    def method(self) -> bytes: ...

    def offers(self, protocol: bytes) -> bool:
        """Whether the request offered to switch to this, the value of an Upgrade field."""
        ...

    @property
    def request_sent(self) -> bool:
        """Whether the whole request was written."""
        ...

    @property
    def decode_chunks(self) -> bool:
        """Whether the client needs the payload without its chunked coding."""
        ...

    def interim(self, head: ResponseHead) -> None: ...

    def response(self, head: ResponseHead, has_body: bool, body: bytes, *, whole: bool = False) -> None:
        """The final head and the first bytes of the body, in the coding to be sent.

        `whole`: that is all, and the connection is done with the exchange; `response_ended` is not called.
        """
        ...

    def body(self, data: bytes) -> None: ...

    def response_ended(self) -> None: ...

    def upgraded(self, head: ResponseHead, rest: bytes) -> None: ...

    def tunnelled(self, data: bytes) -> None: ...

    def backend_eof(self) -> None:
        """The tunnel's backend sends no more."""
        ...

    def failed(self, error: RequestError) -> None:
        """No, or no whole, response will come on this connection."""
        ...

    def pause_sending(self) -> None: ...

    def resume_sending(self) -> None: ...


# What the next bytes from the backend are.
_IDLE, _HEAD, _LENGTH, _CHUNKED, _UNTIL_CLOSE, _TUNNEL, _CLOSED = range(7)
_STATE_NAMES: Final = ("idle", "head", "length", "chunked", "until-close", "tunnel", "closed")


class Upstream(asyncio.Protocol):
    """One connection to a backend. It serves one exchange at a time; `reused` tells whether it has served any before.

    `unread(0)` is not empty when something has come that is not read yet: an end, or bytes that no request asked for.

    A connection goes back to its pool only when both the request and the response have ended cleanly
    (RFC 9112 section 9.3). Bytes that no request asked for close it.
    """

    __slots__ = (
        "_chunks", "_interims", "_keep_alive", "_owed", "_partial", "_read_paused", "_sink", "_state", "_write_paused",
        "idle_since", "pool", "reused", "transport", "unread",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._sink: ResponseSink | None = None
        self._state = _IDLE
        self._owed = 0
        self._chunks: ChunkedBody | None = None
        self._partial: HeadBuffer | None = None
        self._keep_alive = False
        self._interims = 0
        self._read_paused = False
        self._write_paused = False
        self.reused = False
        self.idle_since = 0.0
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.unread: Callable[[int], Sized] = _nothing

    def __repr__(self) -> str:
        return f"<Upstream {self.backend.address} {_STATE_NAMES[self._state]}{' reused' if self.reused else ''}>"

    @property
    def backend(self) -> Backend:
        return self.pool.backend

    # --- the exchange's side -------------------------------------------------------------------------------------

    def start(self, sink: ResponseSink, data: bytes) -> None:
        """Begins an exchange with the request's first bytes."""
        self._sink = sink
        self._state = _HEAD
        self._interims = 0
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """More of the request, or of the tunnel."""
        self.transport.write(data)

    def write_eof(self) -> None:
        """The tunnel's client sends no more."""
        if self._state == _TUNNEL and not self.transport.is_closing():
            self.transport.write_eof()

    def pause(self) -> None:
        """The client does not keep up: reads no more of the response."""
        self._read_paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        self._read_paused = False
        self.transport.resume_reading()

    def abandon(self) -> None:
        """The exchange wants no more of it: the connection can't be used again."""
        self._sink = None
        self._state = _CLOSED
        self.pool.discard(self)
        self.transport.abort()

    # --- the transport's side ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_BUFFER)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            self.unread = poll.poll

    def data_received(self, data: bytes) -> None:
        sink = self._sink
        if sink is None:
            self.close()
            return
        state = self._state
        try:
            if state == _HEAD:
                self._head_received(sink, data)
            elif state == _LENGTH:
                surplus = len(data) - self._owed
                if surplus < 0:
                    self._owed = -surplus
                    sink.body(data)
                    return
                if surplus:
                    self._keep_alive = False
                    data = data[: self._owed]
                sink.body(data)
                self._ended(sink)
            elif state == _CHUNKED:
                body, rest = self._chunks.feed(data)  # type: ignore[union-attr]  # set with the state
                if body:
                    sink.body(body)
                if self._chunks.done:  # type: ignore[union-attr]
                    self._keep_alive = self._keep_alive and not rest
                    self._ended(sink)
            elif state == _UNTIL_CLOSE:
                sink.body(data)
            elif state == _TUNNEL:
                sink.tunnelled(data)
        except BodyError as error:
            self._fail(ResponseError(f"the response's body is not valid: {error}"))
        except ResponseError as error:
            self._fail(error)

    def eof_received(self) -> bool:
        if self._state == _TUNNEL and self._sink is not None:
            self._sink.backend_eof()
            return True  # the tunnel's other direction may still be open
        # Not left to connection_lost, which waits until the backend has read all that was written.
        self.pool.discard(self)
        self._stream_ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.pool.discard(self)
        if exc is not None and self._sink is not None and self._state != _TUNNEL:
            self._read_rest()
        self._stream_ended(exc)

    def _read_rest(self) -> None:
        """Reads what the backend had said before a write to it failed.

        One that answers an upload early and closes, as Tomcat does with 413, resets the connection: the transport gives
        up when it next writes, and leaves the answer unread in the kernel.
        """
        connection = self.transport.get_extra_info("socket")
        if connection is None:
            return
        for data in leftover(connection.fileno(), MAX_REST):
            if self._sink is None:
                return
            self.data_received(data)

    def _stream_ended(self, error: Exception | None) -> None:
        """No more bytes will come; `error` is None when the backend said so."""
        sink = self._sink
        if sink is None:
            self._state = _CLOSED
        elif self._state == _UNTIL_CLOSE and error is None:
            self._keep_alive = False
            self._ended(sink)
        elif self._state == _TUNNEL:
            self._sink = None
            self._state = _CLOSED
            sink.response_ended()
        elif self._state == _HEAD and not self._interims and not self._partial:
            self._fail(ClosedEarlyError("the connection was closed before a response came"))
        else:
            self._fail(ResponseError("the response was cut off"))

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._sink is not None:
            self._sink.pause_sending()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._sink is not None:
            self._sink.resume_sending()

    # --- parts ---------------------------------------------------------------------------------------------------

    def _head_received(self, sink: ResponseSink, data: bytes) -> None:
        if self._partial:
            whole = self._partial.add(data, MAX_RESPONSE_HEAD)
            if whole is None:
                return
            data = whole
        while True:
            head = parse_response(data, self.pool.known_heads, MAX_RESPONSE_HEAD, self.pool.max_fields)
            if head is None:
                self._partial = self._partial or HeadBuffer(response_begins)
                self._partial.add(data, MAX_RESPONSE_HEAD)
                return
            rest = data[head.end :]
            if head.status >= 200:
                self._final_head(sink, head, rest)
                return
            if head.status == 101:
                if not sink.offers(head.upgrade):
                    raise ResponseError("the response switches protocols, which the request did not ask for")
                self._state = _TUNNEL
                sink.upgraded(head, rest)
                return
            self._interims += 1
            if self._interims > MAX_INTERIM:
                raise ResponseError("too many interim responses")
            sink.interim(head)
            if not rest:
                return
            data = rest

    def _final_head(self, sink: ResponseSink, head: ResponseHead, rest: bytes) -> None:
        self._keep_alive = head.keep_alive
        if self.pool.backend.troubled:
            self.pool.backend.answered()
        length = head.length
        if head.bodiless or sink.method == b"HEAD":
            if rest:
                self._keep_alive = False
            self._let_go(sink)
            sink.response(head, False, b"", whole=True)
        elif length > 0:
            self._owed = length - len(rest)
            if self._owed > 0:
                self._state = _LENGTH
                sink.response(head, True, rest)
                return
            if self._owed < 0:
                self._keep_alive = False
                rest = rest[:length]
            self._let_go(sink)
            sink.response(head, True, rest, whole=True)
        elif head.chunked:
            self._chunks = ChunkedBody(decode=sink.decode_chunks)
            body, surplus = self._chunks.feed(rest)
            self._state = _CHUNKED
            sink.response(head, True, body)
            if self._chunks.done:
                self._keep_alive = self._keep_alive and not surplus
                self._ended(sink)
        else:
            self._state = _UNTIL_CLOSE
            sink.response(head, True, rest)

    def _ended(self, sink: ResponseSink) -> None:
        """The response is whole. `response` or `body` may have ended the exchange itself: then there is no sink."""
        if self._sink is sink:
            self._let_go(sink)
            sink.response_ended()

    def _let_go(self, sink: ResponseSink) -> None:
        """Ends the exchange here: back to the pool when both sides are done with it, cleanly."""
        request_taken = sink.request_sent and not self._write_paused
        self._sink = None
        self._chunks = None
        if not request_taken:
            self.abandon()  # what the backend does not read of the request would keep the connection open
        elif self._keep_alive:
            self._state = _IDLE
            self.reused = True
            if self._read_paused:
                self.resume()
            self.pool.put(self)
        else:
            self.close()

    def close(self) -> None:
        """Closes the connection after what was written."""
        self._sink = None
        self._state = _CLOSED
        self.pool.discard(self)
        self.transport.close()

    def _fail(self, error: RequestError) -> None:
        sink = self._sink
        self._sink = None
        self._state = _CLOSED
        self.pool.discard(self)
        self.transport.abort()
        if sink is not None:
            sink.failed(error)


def _nothing(_: int) -> Sized:
    return ()
