"""A client connection in HTTP/1.1 or 1.0: reads requests one after the other, answers them in their order."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from proxy.core.files import answer as answer_file
from proxy.errors import RequestError
from proxy.http1.body import BodyError, ChunkedBody
from proxy.http1.head import MAX_PASSES, HeadBuffer, HeadError, RequestHead, parse_request, request_begins
from proxy.http1.rewrite import (
    Peer,
    forwarded_fields,
    interim_head,
    response_head,
    switching_head,
    with_max_forwards,
)
from proxy.net.app import CLIENT_GONE
from proxy.net.exchange import Exchange
from proxy.net.file_sender import FileSender, direct_socket
from proxy.net.pages import OwnAnswer, error_page, options_answer
from proxy.net.server import LAST_REQUEST_SECONDS
from proxy.net.unread import unread

if TYPE_CHECKING:
    from proxy.core.files import FileAnswer, FileSlices
    from proxy.http1.head import RequestFields, ResponseHead
    from proxy.net.server import Server

WRITE_BUFFER: Final = 64 * 1024
MAX_PIPELINED: Final = 64 * 1024
PIPELINE_TURN: Final = 32
"""Pipelined requests answered before other connections have their turn."""
MAX_LINGER_BYTES: Final = 1024 * 1024
LINGER_SECONDS: Final = 2.0
MAX_REMEMBERED: Final = 4096
"""Bytes of fields that a connection keeps between two requests, to compare the next one's with: up to four times over,
and for the server's `remember_seconds`."""
TUNNEL_IDLE: Final = 3600.0
"""Seconds without a byte after which a tunnel, or a stream of server-sent events, is taken for dead."""


class BodyTimeoutError(RequestError):
    """The client did not send the rest of its request in time."""

    status = 408
    part = "the request"


class LoopError(RequestError):
    """The request comes back to this proxy again and again."""

    status = 508
    part = "the request's way"


class BodyTooLargeError(RequestError):
    """The request's body is over the limit."""

    status = 413
    part = "the request's body"


class FileChangedError(RequestError):
    """A large static file is not the one that was indexed."""

    status = 503
    part = "the file"


# What the next bytes from the client are.
_HEAD, _LENGTH, _CHUNKED, _NEXT, _TUNNEL, _DISCARD, _CLOSED = range(7)
_STATE_NAMES: Final = ("head", "length", "chunked", "next", "tunnel", "discard", "closed")


class Downstream(asyncio.Protocol):
    """One client connection.

    `_NEXT`: the request is whole and its response is not; what comes now belongs to later requests. `deadline` is a
    monotonic time; the server's clock calls `expired` after it.
    """

    __slots__ = (
        "_authority", "_backlog", "_chunks", "_client_eof", "_encode", "_exchange", "_fields", "_file_status",
        "_forgets", "_forwarded", "_head", "_keep_alive", "_owed", "_partial", "_paused", "_peer", "_pipelined",
        "_request_id", "_running", "_sender", "_server", "_started", "_state", "_unsent", "_until_close",
        "_write_paused", "address", "deadline", "transport",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self._state = _HEAD
        self._exchange: Exchange | None = None
        self._head: RequestHead | None = None  # of the current request
        self._fields: RequestFields | None = None  # of the last request
        self._forgets = False  # their block is over MAX_REMEMBERED
        self._authority = b""
        self._forwarded = b""
        self._owed = 0
        self._chunks: ChunkedBody | None = None
        self._partial: HeadBuffer | None = None
        self._pipelined = b""
        self._keep_alive = True
        self._encode = False
        self._until_close = False
        self._request_id = b""
        self._started = 0.0
        self._sender: FileSender | None = None
        self._file_status = 0
        self._paused = False  # the exchange can take no more of the body
        self._backlog = False  # too much has come for later requests
        self._write_paused = False
        self._unsent = 0  # bytes that waited for a slow client when it was last looked at
        self._running = False
        self._peer: Peer = None  # type: ignore[assignment]  # set by connection_made, as are the next two
        self.address = b""
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self._client_eof = False
        self.deadline = 0.0

    def __repr__(self) -> str:
        return f"<Downstream {self.address.decode()} {_STATE_NAMES[self._state]} {self._exchange!r}>"

    @property
    def idle(self) -> bool:
        """Whether it waits for a request of which nothing has come, or but an empty line."""
        return self.awaits_head and (not self._partial or self._partial.blank)

    @property
    def awaits_head(self) -> bool:
        """Whether it waits for a request, or for the rest of its head."""
        return self._state == _HEAD and not self._pipelined

    @property
    def waits_since(self) -> float:
        """For the one that awaits a head: when that wait began."""
        if not self.idle:
            return self.deadline - self._server.timeouts.header
        return self.deadline - (self._server.timeouts.idle if self._head is None else self._server.remember_seconds)

    # --- the transport's side -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_BUFFER)
        self._peer = self._server.peer(transport)
        self.address = self._peer.address
        self.deadline = self._server.time + self._server.timeouts.idle
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _HEAD:
            server = self._server
            server.turn_left -= 1
            if self._pipelined or self._write_paused:
                self._keep_for_later(data)  # `_requests` will be called, in the next turn or by `resume_writing`
            elif server.turn_left < 0:
                self._keep_for_later(data)
                server.in_next_turn(self._requests)
            else:
                rest = self._request(data)
                if rest:
                    self._requests(rest)
        elif state == _TUNNEL:
            if self._exchange is not None:
                self._exchange.tunnel_send(data)
                if not self._write_paused:
                    self.deadline = self._server.time + TUNNEL_IDLE
        elif state == _NEXT:
            self._keep_for_later(data)
        elif state == _DISCARD:
            self._owed -= len(data)
            if self._owed < 0:
                self._close()
        elif state != _CLOSED:
            self._body_received(data)

    def eof_received(self) -> bool:
        self._client_eof = True
        exchange = self._exchange
        if exchange is None:
            return self._sender is not None or (self._state == _HEAD and bool(self._pipelined))
        if self._state == _TUNNEL:
            exchange.client_eof()
            return True
        if self._state == _NEXT:
            return True  # a client may close its side and still wait for the answer
        exchange.client_gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _CLOSED
        self._server.closed(self)
        if self._exchange is not None:
            self._exchange.client_gone()
        if self._sender is not None:
            self._sender.cancel()
            self._file_cut_off(self._sender)

    def pause_writing(self) -> None:
        self._write_paused = True
        self._unsent = unread(self.transport)
        self.deadline = self._server.time + self._server.timeouts.body
        if self._exchange is not None:
            self._exchange.pause_response()
        elif self._sender is not None:
            self._sender.pause()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._exchange is not None:
            tunnel = self._state == _TUNNEL
            self.deadline = self._server.time + (TUNNEL_IDLE if tunnel else self._server.timeouts.response)
            self._exchange.resume_response()
        elif self._sender is not None:
            self._sender.resume()
        elif self._state == _HEAD:
            self._requests(b"")

    # --- reading requests -----------------------------------------------------------------------------------

    def _requests(self, data: bytes) -> None:
        """Begins the requests in `data`, as far as they can be answered now; what is left waits its turn."""
        if self._running:
            self._pipelined += data
            return
        self._running = True
        data = self._pipelined + data
        self._pipelined = b""
        turns = PIPELINE_TURN
        while data and self._state == _HEAD and not self._write_paused:
            data = self._request(data) + self._pipelined
            self._pipelined = b""
            turns -= 1
            if not turns and data and self._state == _HEAD:
                self._server.in_next_turn(self._requests)
                break
        self._running = False
        if data:
            self._keep_for_later(data)
        elif self._client_eof and self._state == _HEAD:
            self._close()
        else:
            self._end_backlog()

    def _request(self, data: bytes) -> bytes:
        """Begins one request; returns what comes after its head and body."""
        server = self._server
        if self._partial:
            blank = self._partial.blank
            whole = self._partial.add(data, server.max_head)
            if whole is None:
                if blank:
                    self._head_begun(self._partial)
                return b""
            data = whole
        try:
            head = parse_request(data, self._fields, server.max_head, server.max_fields)
        except HeadError as error:
            self._refuse(error)
            return b""
        if head is None:
            self._partial = self._partial or HeadBuffer(request_begins)
            self._partial.add(data, server.max_head)
            self._head_begun(self._partial)
            return b""
        fields = head.fields
        if fields is not self._fields or head.authority != self._authority:
            self._fields = fields
            self._forgets = len(fields.block) > MAX_REMEMBERED
            self._authority = head.authority
            self._forwarded = forwarded_fields(fields, head.authority, self._peer)
        self._head = head
        self._request_id = server.next_request_id()
        now = server.now
        self._started = now()
        self._keep_alive = fields.keep_alive and not server.stopping
        if fields.has_body:
            return self._begin_body(head, data)
        self._state = _NEXT
        self.deadline = server.response_until
        self._answer(head, b"", True)
        return data[head.end :] if len(data) > head.end else b""

    def _head_begun(self, partial: HeadBuffer) -> None:
        if not partial.blank:
            self.deadline = self._server.time + self._server.timeouts.header

    def _begin_body(self, head: RequestHead, data: bytes) -> bytes:
        """Begins a request that has a body; returns what comes after it."""
        server = self._server
        self.deadline = server.time + server.timeouts.body
        length = head.fields.length
        body, rest = data[head.end :], b""
        try:
            if head.fields.chunked:
                self._state = _CHUNKED
                self._chunks = ChunkedBody()
                body, rest = self._chunks.feed(body)
                complete = self._chunks.done
                length = self._chunks.payload
            else:
                self._state = _LENGTH
                if len(body) > length:
                    body, rest = body[:length], body[length:]
                self._owed = length - len(body)
                complete = not self._owed
            if length > server.max_body:
                raise BodyTooLargeError("the request's body is too large")
        except RequestError as error:
            self._refuse(error)
            return b""
        if complete:
            self._state = _NEXT
        elif self._client_eof:  # it came behind other requests, or waited for a turn; the rest will not come
            server.own_answer(self.address, head, CLIENT_GONE, 0, self._request_id, self._started)
            self._close()
            return b""
        self._answer(head, body, complete)
        return rest

    def _answer(self, head: RequestHead, body: bytes, complete: bool) -> None:
        """Decides who answers: the proxy itself, a file, or a backend."""
        server = self._server
        fields = head.fields
        forwarded = self._forwarded
        try:
            if fields.counts_hops:
                if fields.passes >= MAX_PASSES:
                    raise LoopError("the request has passed this proxy too often")
                if fields.max_forwards >= 0 and head.method == b"OPTIONS":
                    if fields.max_forwards == 0:
                        self._send_own(200, options_answer())
                        return
                    forwarded = with_max_forwards(forwarded, fields.max_forwards - 1)
            route = server.router.route(head.authority, head.target)
        except RequestError as error:
            self._refuse(error)
            return
        app = server.apps[route.app]
        if route.file is not None:
            self._send_file(head, answer_file(app.file_indexes(fields.cookies), route.file, head))
            return
        self._exchange = exchange = Exchange(
            self, app, head, forwarded, self._request_id, self._started, body, complete
        )
        exchange.claim()

    def _body_received(self, data: bytes) -> None:
        """The rest of a request whose exchange has begun."""
        exchange = self._exchange
        if exchange is None:
            return  # a file is on its way, and behind it the connection ends
        server = self._server
        if not self._write_paused:
            # Each byte buys a little time, so that a byte a minute does not hold the backend for ever.
            self.deadline = min(self.deadline + len(data) * server.byte_seconds, server.time + server.timeouts.body)
        rest = b""
        if self._state == _LENGTH:
            rest = data[self._owed :]
            data = data[: self._owed] if rest else data
            self._owed -= len(data)
            complete = not self._owed
        else:
            chunks = self._chunks
            assert chunks is not None
            try:
                data, rest = chunks.feed(data)
                if chunks.payload > server.max_body:
                    raise BodyTooLargeError("the request's body is too large")
            except RequestError as error:
                self._keep_alive = False
                exchange.client_failed(error)
                return
            complete = chunks.done
        if complete:
            self._state = _NEXT
        if data:
            exchange.send(data, complete)
        if rest:
            self._keep_for_later(rest)

    def _keep_for_later(self, data: bytes) -> None:
        if self._write_paused and self._state == _HEAD and not self._pipelined:
            # What goes on is the reading of the last answer, and not the wait for another request.
            self._unsent = unread(self.transport)
            self.deadline = self._server.time + self._server.timeouts.body
        self._pipelined += data
        if len(self._pipelined) > MAX_PIPELINED and not self._backlog:
            self._backlog = True
            self.transport.pause_reading()

    def _end_backlog(self) -> None:
        if self._backlog:
            self._backlog = False
            if not self._paused:
                self.transport.resume_reading()

    # --- answering: for the exchange ------------------------------------------------------------------------

    def send_interim(self, head: ResponseHead) -> None:
        if self._head is not None and self._head.minor:  # RFC 9110 section 15.2: not to a 1.0 client
            self.transport.write(interim_head(head))

    def send_response(self, head: ResponseHead, has_body: bool, body: bytes) -> None:
        server = self._server
        self.deadline = server.response_until
        minor = self._head.minor if self._head is not None else 1
        if head.complete and minor and self._keep_alive and self._state == _NEXT:
            self.transport.write(b"".join((head.lines, b"X-Request-Id: ", self._request_id, b"\r\n\r\n", body)))
            return
        chunked = False
        if self._state != _NEXT:
            self._keep_alive = False
        if has_body and head.length < 0:
            if not minor:
                self._keep_alive = False
                self._until_close = True
            else:
                chunked = True
                if not head.chunked:
                    self._encode = True
                    body = _chunk(body) if body else body
        self.transport.write(
            response_head(
                head,
                chunked=chunked,
                connection=b"" if self._keep_alive and minor else self._connection_line(),
                request_id=self._request_id,
                date=server.date,
                body=body,
            )
        )

    def send_body(self, data: bytes) -> None:
        if self._encode:
            data = _chunk(data)
        self.deadline = self._server.time + (TUNNEL_IDLE if self._state == _TUNNEL else self._server.timeouts.response)
        self.transport.write(data)

    def send_error(self, error: RequestError) -> None:
        self._send_own(error.status, error_page(error, self._request_id))

    def abort_response(self) -> None:
        if self._until_close:
            # The end of the connection is the end of this body: only a reset shows that it is not whole.
            reset_on_close(self.transport)
        self._state = _CLOSED
        self.transport.abort()

    def start_tunnel(self, head: ResponseHead, rest: bytes) -> None:
        self._state = _TUNNEL
        self.transport.write(switching_head(head, self._request_id) + rest)
        self.deadline = self._server.time + TUNNEL_IDLE
        exchange = self._exchange
        if exchange is not None:
            if self._pipelined:
                exchange.tunnel_send(self._pipelined)
                self._pipelined = b""
            if self._client_eof:
                exchange.client_eof()
            self._end_backlog()

    def stop_tunnel(self) -> None:
        self._state = _DISCARD  # so that the exchange's end lets the connection linger

    def send_eof(self) -> None:
        if not self.transport.is_closing():
            self.transport.write_eof()

    def pause_receiving(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume_receiving(self) -> None:
        if self._paused:
            self._paused = False
            if self._state == _LENGTH or self._state == _CHUNKED:
                self.deadline = self._server.time + self._server.timeouts.body
            if not self._backlog:
                self.transport.resume_reading()

    def expect_backend(self) -> None:
        self.deadline = self._server.response_until

    def exchange_ended(self, whole: bool) -> None:
        if self._encode:
            self._encode = False
            if whole:
                self.transport.write(b"0\r\n\r\n")
        self._exchange = None
        if self._paused:
            self.resume_receiving()
        self._request_done()

    # --- answering: without an exchange ---------------------------------------------------------------------

    def _refuse(self, error: RequestError) -> None:
        """Answers a request for which no exchange has begun."""
        if isinstance(error, HeadError | BodyError):
            self._keep_alive = False  # where the next request would begin can't be known
        if isinstance(error, HeadError):
            self._head = None
            self._request_id = self._server.next_request_id()
            self._started = self._server.now()
        self._send_own(error.status, error_page(error, self._request_id))

    def _send_own(self, status: int, answer: OwnAnswer) -> None:
        """Sends what the proxy says itself."""
        if self._state != _NEXT:
            self._keep_alive = False
        head_only = self._head is not None and self._head.method == b"HEAD"
        data = answer.encode(self._connection_line(), self._request_id, self._server.date, head_only=head_only)
        self.transport.write(data)
        if self._exchange is None:
            self._own_done(status, len(answer.body))

    def _send_file(self, head: RequestHead, answer: FileAnswer) -> None:
        if self._state != _NEXT:
            self._keep_alive = False
        data = b"".join(
            (
                answer.head,
                self._server.date_line,
                b"" if self._keep_alive and head.minor else self._connection_line(),
                b"X-Request-Id: ",
                self._request_id,
                b"\r\n\r\n",
                answer.body,
            )
        )
        if answer.source is not None:
            self._send_source(answer, answer.source, data)
            return
        self.transport.write(data)
        self._own_done(answer.status, len(answer.body))

    def _send_source(self, answer: FileAnswer, source: FileSlices, data: bytes) -> None:
        """A file that is not in memory: `data`, and then what is read of it."""

        def sent(ok: bool) -> None:
            self._sender = None
            if ok:
                self._own_done(answer.status, answer.length)
            elif self._state == _CLOSED:
                return
            elif sender.sent:
                self._file_cut_off(sender)
                self.abort_response()
            else:
                self._refuse(FileChangedError("the file was changed or removed, and its new state is not known yet"))

        self._file_status = answer.status
        loop = self._server.loop
        direct = direct_socket(loop, self.transport)
        self._sender = sender = FileSender(loop, self.transport, source, sent, direct)
        if self._write_paused:
            sender.pause()
        sender.start(data)

    def _file_cut_off(self, sender: FileSender) -> None:
        """Counts and logs a file that the client has not got whole, or of which it did not wait for the beginning."""
        sent = sender.sent
        self._server.own_answer(
            self.address,
            self._head,
            self._file_status if sent else CLIENT_GONE,
            sent,
            self._request_id,
            self._started,
            sent > 0,
        )

    def _own_done(self, status: int, body_size: int) -> None:
        self._server.own_answer(self.address, self._head, status, body_size, self._request_id, self._started)
        self._request_done()

    def _connection_line(self) -> bytes:
        if not self._keep_alive:
            return b"Connection: close\r\n"
        return b"" if self._head is None or self._head.minor else b"Connection: keep-alive\r\n"

    # --- between requests, and the end ----------------------------------------------------------------------

    def _request_done(self) -> None:
        """The answer is written: on to the next request, or towards the end of the connection."""
        state = self._state
        if state == _NEXT and self._keep_alive:
            self._state = _HEAD
            self.deadline = self._server.remember_until
            if self._forgets:
                self._forget()
            if self._running:
                return  # `_requests` goes on with what has come
            if self._pipelined:
                self._requests(b"")
            elif self._client_eof:
                self._close()
        elif state == _TUNNEL or (state == _NEXT and not self._pipelined):
            self._close()
        elif state != _CLOSED:
            self._linger()

    def _forget(self) -> None:
        """An idle connection remembers nothing of its last request."""
        self._head = self._fields = None
        self._forgets = False
        self._forwarded = self._authority = b""
        self.deadline = self._server.time + self._server.timeouts.idle

    def _linger(self) -> None:
        """Closes when the client has stopped sending.

        A connection that is closed with bytes unread is reset, and the reset may overtake the answer that explains it
        (RFC 9112 section 9.6).
        """
        if self._client_eof or self.transport.is_closing():
            self._close()
            return
        self._state = _DISCARD
        self._pipelined = b""
        self._owed = MAX_LINGER_BYTES
        self._unsent = unread(self.transport)
        waits = self.transport.get_write_buffer_size() > 0
        self.deadline = self._server.time + (self._server.timeouts.body if waits else LINGER_SECONDS)
        self.transport.write_eof()
        self._end_backlog()

    def _close(self) -> None:
        self._state = _CLOSED
        self._unsent = unread(self.transport)
        self.deadline = self._server.time + self._server.timeouts.body
        self.transport.close()

    def stop(self, now: float) -> None:
        """The worker stops: the connection ends after the answer to its next request, or if none comes soon.

        Closing it at once could meet a request that is on its way, which would then be lost.
        """
        if self._sender is None and (self._exchange is None or not self._exchange.status):
            self._keep_alive = False
        if self.idle:
            self.deadline = min(self.deadline, now + LAST_REQUEST_SECONDS)

    def close_idle(self) -> None:
        """Makes room for another connection."""
        self._close()

    def abort(self) -> None:
        """Ends the connection now, whatever it does."""
        self.transport.abort()

    def expired(self, now: float) -> None:
        """The deadline has passed: what is late depends on what is awaited."""
        was = self.deadline
        self.deadline = now + LINGER_SECONDS
        exchange = self._exchange
        if self.awaits_head:
            if not self.idle:
                self._refuse(HeadError(408, "the request's head did not come in time"))
            elif self._head is not None and not self._server.stopping:
                self._forget()
                self.deadline = was - self._server.remember_seconds + self._server.timeouts.idle
            else:
                self._close()
        elif self._state == _DISCARD or self._state == _CLOSED or self._write_paused:
            left = unread(self.transport)
            if self.transport.get_write_buffer_size() and self._unsent - left >= self._server.least_progress:
                self._unsent = left
                self.deadline = now + self._server.timeouts.body
            else:
                self._state = _CLOSED
                self.transport.abort()
        elif exchange is None:
            self.deadline = now + self._server.timeouts.body
            least = self._server.least_progress
            if self._sender is not None and not self._sender.progressed(unread(self.transport), least):
                self.transport.abort()
        elif self._state == _TUNNEL:
            self.transport.abort()
        elif self._state == _NEXT or self._paused:
            if exchange.ticket is None:
                self.deadline = now + self._server.timeouts.response  # how long it may wait is the gate's to say
            elif not self._client_eof and exchange.may_be_silent():
                self.deadline = was - self._server.timeouts.response + TUNNEL_IDLE
            else:
                exchange.timed_out()
        else:
            self._keep_alive = False
            exchange.client_failed(BodyTimeoutError("the request's body did not come in time"))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def reset_on_close(transport: asyncio.Transport) -> None:
    """Makes the end of the connection a reset."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
