"""Transcripts of a proxy between clients and backends.

`peer >> data`: these bytes come into the proxy from that peer. `peer << data`: exactly these have gone out to it since
the last such line. Both also take how a connection ends. Time stands still but for `site.wait(seconds)`.

Two things are written in a normal form: request ids as `#1`, `#2` in the order of the requests, and the proxy's
own Date as `now`.
"""

from __future__ import annotations

import asyncio
import enum
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from wire import STEPS, ScriptedLoop, Wire

from proxy.core import orders
from proxy.net.access_log import AccessLog
from proxy.net.app import App
from proxy.net.downstream import Downstream
from proxy.net.server import Server
from proxy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PRODUCTION = "192.0.2.81:8080"
TEMP = "192.0.2.82:8080"
CLIENT = "203.0.113.7"

PACKET = 256_000  # what uvloop reads at once, at most

GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"


class End(enum.Enum):
    """How a peer ends its side of a connection, or the proxy ended its own."""

    EOF = "eof"  # no more bytes this way; the other way stays open
    CLOSED = "closed"
    ABORTED = "aborted"  # at once; what was not yet sent is lost
    RESET = "reset"


EOF, CLOSED, ABORTED, RESET = End


def head(*lines: str) -> bytes:
    """A message's head from its lines."""
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def forwarded(
    *lines: str, id: int = 1, host: str = "shop.test", extra: tuple[str, ...] = (), via: str = "1.1"
) -> bytes:
    """A request's head as a backend gets it: the lines, and what the proxy adds."""
    added = (
        f"X-Forwarded-For: {CLIENT}",
        "X-Forwarded-Proto: http",
        f"X-Forwarded-Host: {host}",
        "X-Forwarded-Port: 8080",
        *extra,
        f"Via: {via} switchyard",
        f"X-Request-Id: #{id}",
    )
    return head(*lines, *added)


def delivered(*lines: str, id: int = 1, chunked: bool = False, connection: str = "") -> bytes:
    """A response's head as a client gets it: the lines, and what the proxy adds."""
    added = ["Date: now"]
    if chunked:
        added.append("Transfer-Encoding: chunked")
    if connection:
        added.append(f"Connection: {connection}")
    return head(*lines, *added, f"X-Request-Id: #{id}")


@dataclass(frozen=True)
class Page:
    """The proxy's own answer: its status and the part that it says has failed. `end`: whether it says it will close."""

    status: int
    part: str = ""
    end: bool = False
    head_only: bool = False

    def check(self, data: bytes) -> None:
        top, _, body = data.partition(b"\r\n\r\n")
        lines = top.decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        assert lines[0] == f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", data
        assert ("Connection: close" in lines) == self.end, data
        assert fields["Date"] == "now"
        if self.head_only:
            assert body == b""
            return
        text = body.decode()
        assert len(body) == int(fields["Content-Length"]) - _shortened(data), data
        assert re.fullmatch(r"#\d+", fields["X-Request-Id"])
        assert f"request {fields['X-Request-Id']}<" in text
        assert f"Part that failed: {self.part}. " in text, text
        assert ". ." not in text
        for internal in ("192.0.2.", "Traceback", "Errno", "proxy.", ".py"):
            assert internal not in text


def _shortened(data: bytes) -> int:
    """How much shorter the normal form of the request id makes a page."""
    shown = re.search(rb"request (#\d+)<", data)
    return 18 - len(shown[1]) if shown else 0


class Peer:
    """One end of one connection to the proxy."""

    def __init__(self, site: Site, wire: Wire) -> None:
        self.site = site
        self.wire = wire
        self.ended = False

    def __rshift__(self, what: bytes | End) -> Peer:
        """Something comes into the proxy."""
        wire = self.wire
        assert not wire.lost, "the connection is gone"
        assert not self.ended or what is not EOF, "this peer has ended its side"
        assert not self.ended or isinstance(what, End), "this peer has ended its side"
        if what is RESET:
            wire.lose(ConnectionResetError(104, "Connection reset by peer"))
        elif isinstance(what, End):
            assert what is not ABORTED
            self.ended = True
            wire.incoming.append(None)
            wire.peer_gone = what is CLOSED
            wire.deliver()
        else:
            size = 1 if self.site.piecewise else max(len(what), 1)
            for start in range(0, len(what), size):
                wire.incoming.append(what[start : start + size])
                wire.deliver()
                if self.site.piecewise:
                    self.site.loop.step()
        self.site.settle()
        return self

    def __lshift__(self, what: bytes | End | Page) -> Peer:
        """This has gone out, and nothing else."""
        if isinstance(what, End):
            assert self.wire.end == what.value, self
            return self
        data = self.received()
        if isinstance(what, Page):
            what.check(data)
        else:
            assert data == what
        return self

    def __repr__(self) -> str:
        return f"<Peer {self.wire!r}>"

    def received(self) -> bytes:
        """What has gone out since the last look."""
        self.site.settle()
        data = self.site.normal_form(bytes(self.wire.output))
        self.wire.output.clear()
        return data

    def flood(self, size: int, pattern: bytes = b"x") -> None:
        """Sends about so many bytes in packets as large as a loop reads them, as fast as the proxy takes them."""
        data = pattern * (size // len(pattern))
        self.wire.incoming.extend(data[start : start + PACKET] for start in range(0, len(data), PACKET))
        self.wire.deliver()
        self.site.settle()

    def stop_reading(self) -> None:
        self.wire.peer_reads = False

    def read_on(self, size: int | None = None) -> None:
        """Takes `size` of the waiting bytes, or all and whatever follows."""
        if size is None:
            self.wire.peer_reads = True
        self.wire.drain(size)
        self.site.settle()

    @property
    def is_read(self) -> bool:
        """Whether the proxy reads from this peer."""
        return self.wire.reading

    @property
    def untaken(self) -> int:
        """Bytes sent that the proxy has not read."""
        return sum(len(data) for data in self.wire.incoming if data is not None)


class BackendScript:
    """What is at a backend's address: by default something that accepts connections. `connections` are all so far."""

    def __init__(self, site: Site, address: str) -> None:
        self.site = site
        self.address = address
        self.refuses = False
        self.hangs = False
        self.pending: list[asyncio.Future[None]] = []  # connections that hang
        self.resets = False  # as soon as it has accepted
        self.greeting = b""  # what it says before it is asked
        self.connections: list[Peer] = []

    def __repr__(self) -> str:
        return f"<BackendScript {self.address} {self.connections}>"

    @property
    def last(self) -> Peer:
        assert self.connections, f"nobody has connected to {self.address}"
        return self.connections[-1]

    @property
    def open(self) -> int:
        return sum(not peer.wire.lost for peer in self.connections)

    def __rshift__(self, what: bytes | End) -> Peer:
        return self.last >> what

    def __lshift__(self, what: bytes | End) -> Peer:
        self.site.settle()
        return self.last << what

    def answer(self, response: bytes) -> None:
        """`>>` for thousands: in one packet, and only one turn of the loop."""
        self.last.wire.incoming.append(response)
        self.last.wire.deliver()
        self.site.loop.step()

    def accept(self, count: int = 1) -> None:
        """Goes on with connections that hang, the oldest first."""
        for pending in [pending for pending in self.pending if not pending.done()][:count]:
            pending.set_result(None)
        self.site.settle()

    @property
    def hanging(self) -> int:
        """Connections that are being made and hang."""
        return sum(not pending.done() for pending in self.pending)

    async def connect(self, factory: Callable[[], Any]) -> tuple[Wire, Any]:
        await asyncio.sleep(0)
        if self.refuses:
            raise ConnectionRefusedError(111, f"Connect call failed {self.address}")
        if self.hangs:
            self.pending.append(self.site.loop.create_future())
            await self.pending[-1]
        host, _, port = self.address.rpartition(":")
        wire = Wire(self.site.loop, (host, int(port)), ("192.0.2.1", 40000))
        wire.socket = None  # no descriptor to ask: what has come is always known
        wire.protocol = factory()
        self.connections.append(Peer(self.site, wire))
        wire.protocol.connection_made(wire)
        if self.greeting:
            wire.protocol.data_received(self.greeting)
        if self.resets:
            wire.lose(ConnectionResetError(104, "Connection reset by peer"))
        await asyncio.sleep(0)
        return wire, wire.protocol


class Site:
    """A proxy with one app of two slots. `told` are the events for the supervisor."""

    def __init__(
        self,
        directory: Path,
        *,
        piecewise: bool = False,
        slots: Mapping[str, tuple[str, ...]] | None = None,
        format: str = "json",
        app: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        slots = slots or {"production": (PRODUCTION,), "temp": (TEMP,)}
        self.piecewise = piecewise
        self.loop = ScriptedLoop()
        self.loop.connector = self._connect
        self.told: list[orders.Event] = []
        self.log_path = directory / "access.log"
        shop = {"slots": {slot: {"backends": at} for slot, at in slots.items()}, **(app or {})}
        self.settings = Settings.model_validate_json(json.dumps({"apps": {"shop": shop}, **settings}))
        self.backends = {address: BackendScript(self, address) for at in slots.values() for address in at}
        self.clients: list[Peer] = []
        self._log = AccessLog(str(self.log_path), format, clock=lambda: 1_700_000_000.0)
        self._finished: list[str] | None = None
        self._epoch = 0
        states = {slot: orders.SlotState(backends=dict.fromkeys(at, True)) for slot, at in slots.items()}
        self.app = App(
            "shop",
            self.settings,
            states,
            orders.ActiveSlot(active="production", epoch=0),
            worker=1,
            loop=self.loop,
            now=self.loop.time,
            tell=self.told.append,
            log=self._log,
            files={},
        )
        self.server = Server(self.settings, {"shop": self.app}, loop=self.loop, now=self.loop.time, log=self._log)
        self.server.start_clock()

    def __repr__(self) -> str:
        return f"<Site {self.server!r} {self.app!r}>"

    @property
    def backend(self) -> BackendScript:
        """The backend of the slot `production`."""
        return self.backends[PRODUCTION]

    @property
    def temp(self) -> BackendScript:
        return self.backends[TEMP]

    def client(self, address: str | None = CLIENT) -> Peer:
        """A new client connection; without an address the client is gone before the proxy could ask who it was."""
        wire = Wire(self.loop, None if address is None else (address, 50000 + len(self.clients)), ("192.0.2.1", 8080))
        wire.protocol = Downstream(self.server)
        wire.protocol.connection_made(wire)
        client = Peer(self, wire)
        self.clients.append(client)
        return client

    def add_backend(self, address: str) -> None:
        self.backends[address] = BackendScript(self, address)

    def settle(self) -> None:
        """Lets everything happen that needs no time."""
        self.loop.step(STEPS)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        for pause in (seconds - 0.5, 0.25, 0.25):
            self.loop.clock += max(pause, 0)
            self.settle()

    def normal_form(self, data: bytes) -> bytes:
        data = re.sub(rb"Date: (?!Sun, 06 Nov 1994)[^\r]*", b"Date: now", data)
        known = re.search(rb"X-Request-Id: ([0-9a-f]{12})", data)
        if known is None:
            return data
        return re.sub(known[1] + rb"([0-9a-f]{6})", lambda id: b"#%d" % int(id[1], 16), data)

    def hold(self, seconds: float = 5.0) -> None:
        """The supervisor begins a switch."""
        self._epoch += 1
        self.app.hold(orders.Hold(app="shop", epoch=self._epoch, attempt=1, hold=seconds))

    def switch(self, to: str, busy: dict[str, int] | None = None) -> None:
        """It ends the switch that `hold` began."""
        self.app.switch(orders.Switch(app="shop", epoch=self._epoch, to=to, busy=busy or {}))
        self.settle()

    def drain(self, slot: str) -> None:
        self.app.drain(orders.Drain(app="shop", epoch=self._epoch, slot=slot))
        self.settle()

    def cut(self, slot: str) -> None:
        self.app.cut(orders.Cut(app="shop", epoch=self._epoch, slot=slot))
        self.settle()

    def stats(self, slot: str = "production") -> dict[str, Any]:
        """The slot's counters."""
        counters: dict[str, Any] = self.app.snapshot()["slots"][slot]
        return counters

    # --- the end ---------------------------------------------------------------------------------------------------

    def finish(self) -> list[str]:
        """Ends all clients and checks that nothing is left; returns the lines of the access log."""
        if self._finished is None:
            self._finished = []
            try:
                self._finished = self._finish()
            finally:
                self._log.close()
                self.server.abort()
                for task in asyncio.all_tasks(self.loop):
                    task.cancel()
                self.settle()
                self.loop.close()
        return self._finished

    def _finish(self) -> list[str]:
        for client in self.clients:
            if not client.wire.lost:
                client >> RESET
        self.settle()
        assert self.loop.faults == []
        assert asyncio.all_tasks(self.loop) == set()
        assert self.server.connections == 0
        self._check_tickets()
        self._check_pools()
        self._log.close()
        lines = self.log_path.read_text().splitlines()
        snapshot = self.server.snapshot()
        counted = sum(snapshot["own"].values()) + sum(self.stats(slot)["requests"] for slot in self.app.gate.slots)
        assert snapshot["requests"] == counted == len(lines), "each request is counted once and logged once"
        return lines

    def _check_tickets(self) -> None:
        assert self.app.gate.held == 0
        for slot in self.app.gate.slots.values():
            assert slot.outstanding == set()
            assert slot.tunnels == 0

    def _check_pools(self) -> None:
        for slot in self.app.slots.values():
            for backend, pool in slot.pools.items():
                script = self.backends[backend.address]
                assert backend.in_flight == 0
                assert pool.idle == script.open, f"{pool!r}, but open are {script}"
                assert (pool.waiting, pool.connecting) == (0, 0), pool
                assert all(peer.wire.lost or peer.wire.reading for peer in script.connections)
                pool.close_idle()
                self.settle()
                assert script.open == 0, script

    async def _connect(self, factory: Callable[[], Any], address: str) -> tuple[Wire, Any]:
        return await self.backends[address].connect(factory)
