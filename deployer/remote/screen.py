"""What the operator sees here of a command that runs on the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from deployer.remote.upload import Progress

_STEP = 0.1
"""Share of an upload between two lines, where there is no terminal."""


class Tap:
    """A stream here, counted; a reader that goes away never stops a release: what can't be written is dropped."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._open = True
        self.count = 0

    def __repr__(self) -> str:
        return f"<Tap {self.count} bytes {'open' if self._open else 'gone'}>"

    def write(self, data: bytes) -> None:
        """Passes data on at once."""
        self.count += len(data)
        self.say(data)

    def say(self, data: bytes) -> None:
        """Writes what did not come from the server, so it is not counted."""
        if self._open:
            try:
                self._stream.write(data)
                self._stream.flush()
            except (OSError, ValueError):
                self._open = False


class Screen:
    """Standard output and error. json_events: reports of an upload are JSON lines, as the command's own."""

    def __init__(self, out: BinaryIO, err: BinaryIO, *, terminal: bool, json_events: bool) -> None:
        self.out = Tap(out)
        self.err = Tap(err)
        self._terminal = terminal
        self._json_events = json_events
        self._shown = -1.0

    def __repr__(self) -> str:
        return f"<Screen {self.out} {self.err}>"

    def note(self, text: str) -> None:
        """A sentence of ours, on the standard error."""
        self.err.say(f"{text}\n".encode())

    def upload(self, progress: Progress) -> None:
        """How far an upload is; not more often than there is something to see."""
        whole = progress.sent == progress.size
        share = progress.sent / progress.size if progress.size else 1.0
        first = self._shown < 0
        if not (first or whole or self._terminal or share >= self._shown + _STEP):
            return
        self._shown = share
        if self._json_events:
            facts = {"name": progress.name, "sent": progress.sent, "size": progress.size, "resumed": progress.resumed}
            self.out.say((json.dumps({"event": "upload", **facts}) + "\n").encode())
            return
        text = _words(progress, first=first)
        if self._terminal:
            self.err.say(f"\r\x1b[K{text}{chr(10) if whole else ''}".encode())
        else:
            self.note(text)


def _words(progress: Progress, *, first: bool) -> str:
    if first and progress.resumed == progress.size:
        return f"upload {progress.name}: is there already"
    again = f", going on from {_mib(progress.resumed)}" if progress.resumed else ""
    done = 100 * progress.sent // progress.size if progress.size else 100
    return f"upload {progress.name}: {done} % of {_mib(progress.size)}{again if first else ''}"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
