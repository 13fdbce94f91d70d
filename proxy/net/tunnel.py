"""An exchange that became a byte stream: which of its ends are closed, and how a WebSocket is closed politely."""

from __future__ import annotations

import os

from proxy.http1.websocket import FrameCounter, close_frame


class _Direction:
    """One way through a WebSocket. `closing`: no frame is to follow the one that has begun; `closed`: none will."""

    __slots__ = ("closed", "closing", "frame", "frames")

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.frames = FrameCounter()
        self.closing = False
        self.closed = False

    def close(self) -> bytes:
        """The close frame if it may be sent now; empty when the frame that has begun must end first."""
        self.closing = True
        if self.closed or not self.frames.between_frames:
            return b""
        self.closed = True
        return b"" if self.frames.saw_close else self.frame

    def passing(self, data: bytes) -> bytes:
        """What is to be sent of the data."""
        if not self.closing:
            self.frames.feed(data)
            return data
        if self.closed:
            return b""
        sent = data[: self.frames.feed_to_frames_end(data)]
        return sent + self.close()

    def __repr__(self) -> str:
        return f"<_Direction {self.frames!r}{' closed' if self.closed else ' closing' if self.closing else ''}>"


class Tunnel:
    """`client_ended`, `backend_ended`: who sends no more. Only of a WebSocket are the frames counted."""

    __slots__ = ("_to_backend", "_to_client", "backend_ended", "client_ended")

    def __init__(self, *, websocket: bool) -> None:
        self.client_ended = False
        self.backend_ended = False
        self._to_client = _Direction(close_frame()) if websocket else None
        self._to_backend = _Direction(close_frame(os.urandom(4))) if websocket else None

    @property
    def is_websocket(self) -> bool:
        return self._to_client is not None

    @property
    def closed(self) -> bool:
        """Whether both ends have got their close frame, or the end of what comes their way."""
        to_client, to_backend = self._to_client, self._to_backend
        return (
            to_client is not None
            and to_backend is not None
            and (to_client.closed or (to_client.closing and self.backend_ended))
            and (to_backend.closed or (to_backend.closing and self.client_ended))
        )

    def close(self) -> tuple[bytes, bytes]:
        """(what the client gets now, what the backend gets now); the rest follows when their frames end."""
        if self._to_client is None or self._to_backend is None:
            return b"", b""
        to_client, to_backend = self._to_client.close(), self._to_backend.close()
        return b"" if self.backend_ended else to_client, b"" if self.client_ended else to_backend

    def from_backend(self, data: bytes) -> bytes:
        """What goes to the client of what has come."""
        return data if self._to_client is None else self._to_client.passing(data)

    def from_client(self, data: bytes) -> bytes:
        """What goes to the backend of what has come."""
        return data if self._to_backend is None else self._to_backend.passing(data)

    def __repr__(self) -> str:
        return f"<Tunnel to_client={self._to_client!r} to_backend={self._to_backend!r}>"
