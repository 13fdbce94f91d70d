"""Static files through a real server on loopback, on both event loops: heads, large bodies, faults in the middle."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import ssl
import subprocess
from array import array
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from proxy.core import orders
from proxy.net.access_log import AccessLog
from proxy.net.app import App
from proxy.net.downstream import Downstream
from proxy.net.server import Server
from proxy.net.static import build_index
from proxy.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

LARGE = array("I", range(1_000_000)).tobytes()
LARGER = LARGE * 10
"""More than the kernel holds for a connection."""


class Site:
    """One server with the files of `root`, and clients of it. `clock` is monotonic time and can be set forward."""

    def __init__(self, directory: Path, tls: ssl.SSLContext | None) -> None:
        self.root = directory / "root"
        self.log_path = directory / "access.log"
        self.clock = 1000.0
        self._tls = tls
        self._port = 0

    async def start(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        shop = {
            "slots": {"production": {"backends": ["127.0.0.1:1"]}},
            "static": {"prefix": "/static/", "root": str(self.root)},
        }
        settings = Settings.model_validate_json(json.dumps({"apps": {"shop": shop}}))
        self._log = AccessLog(str(self.log_path), "json")
        app = App(
            "shop",
            settings,
            {"production": orders.SlotState(backends={"127.0.0.1:1": True})},
            orders.ActiveSlot(active="production", epoch=0),
            worker=1,
            loop=loop,
            now=lambda: self.clock,
            tell=lambda event: None,
            log=self._log,
            files={"production": build_index(str(self.root))},
        )
        self.server = Server(settings, {"shop": app}, loop=loop, now=lambda: self.clock, log=self._log)
        self.server.start_clock()
        listener = await loop.create_server(lambda: Downstream(self.server), "127.0.0.1", 0, ssl=self._tls)
        self._port = listener.sockets[0].getsockname()[1]
        return listener

    async def finish(self) -> None:
        self.server.abort()
        await self.left_alone()
        self._log.close()

    async def left_alone(self) -> None:
        """Returns when there is no connection. The server tells nobody but its worker, so it is asked."""
        while self.server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def client(self, limit: int = 65536) -> Client:
        tls = None
        if self._tls is not None:
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        return Client(*await asyncio.open_connection("127.0.0.1", self._port, limit=limit, ssl=tls))


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def ask(self, path: str, *fields: str, method: str = "GET") -> None:
        lines = [f"{method} /static/{path} HTTP/1.1", "Host: a", *fields, "", ""]
        self.writer.write("\r\n".join(lines).encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:] if line)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, fields = await self.head()
        return status, fields, await self.reader.readexactly(int(fields["Content-Length"]))

    async def get(self, path: str, *fields: str) -> tuple[int, dict[str, str], bytes]:
        self.ask(path, *fields)
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def serving(directory: Path, tls: ssl.SSLContext | None, *, larger: bool) -> AsyncIterator[Site]:
    (directory / "root").mkdir()
    if larger:
        (directory / "root/larger.bin").write_bytes(LARGER)
    (directory / "root/large.bin").write_bytes(LARGE)
    (directory / "root/small.txt").write_bytes(b"small")
    os.utime(directory / "root/large.bin", (1_700_000_000, 1_700_000_000))
    site = Site(directory, tls)
    async with asyncio.timeout(60):
        listener = await site.start()
        try:
            yield site
        finally:
            listener.close()
            await site.finish()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Runs a scenario on each event loop, and checks that no descriptor is left."""

    def run(
        scenario: Callable[[Site], Awaitable[None]], tls: ssl.SSLContext | None = None, *, larger: bool = False
    ) -> None:
        async def play() -> None:
            async with serving(tmp_path, tls, larger=larger) as site:
                await scenario(site)

        before = set(os.listdir("/proc/self/fd"))
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(play())
        gc.collect()  # a server, its apps and what they call refer to each other, and the index goes with them
        left = set(os.listdir("/proc/self/fd")) - before
        assert not [path for path in map(_target, left) if path.endswith(".bin") or path.startswith("socket:")]

    return run


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def test_small_and_large_files_on_one_connection(run: Callable[..., None]) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        for _ in range(2):
            assert (await client.get("small.txt"))[2] == b"small"
            status, fields, body = await client.get("large.bin")
            assert (status, fields["Content-Type"]) == (200, "application/octet-stream")
            assert body == LARGE
            assert "Date" in fields
            assert "X-Request-Id" in fields
        client.ask("large.bin", method="HEAD")
        status, fields = await client.head()
        assert (status, fields["Content-Length"]) == (200, str(len(LARGE)))
        status, _, _ = await client.get("nothing")
        assert status == 404
        client.ask("small.txt", "Content-Length: 0", method="POST")
        status, fields, _ = await client.answer()
        assert (status, fields["Allow"]) == (405, "GET, HEAD")
        await client.close()

    run(scenario)


def test_pipelined_requests_are_answered_in_order_around_a_large_file(run: Callable[..., None]) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        for _ in range(3):
            client.ask("small.txt")
            client.ask("large.bin")
            client.ask("large.bin", "Range: bytes=10-19,-10")
        for _ in range(3):
            assert (await client.answer())[2] == b"small"
            assert (await client.answer())[2] == LARGE
            status, fields, body = await client.answer()
            assert status == 206
            boundary = fields["Content-Type"].partition("boundary=")[2].encode()
            parts = body.split(b"--" + boundary)
            assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:3]] == [
                LARGE[10:20] + b"\r\n",
                LARGE[-10:] + b"\r\n",
            ]
        await client.close()

    run(scenario)


def test_the_connection_closes_after_the_whole_file_when_asked_to(run: Callable[..., None]) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        client.ask("large.bin", "Connection: close")
        _, fields = await client.head()
        assert fields["Connection"] == "close"
        assert await client.reader.read() == LARGE
        await client.close()

    run(scenario)


def test_a_slow_reader_is_waited_for_as_long_as_it_reads(run: Callable[..., None]) -> None:
    """Each look of the server's clock finds the deadline passed, and the client a little further."""

    async def scenario(site: Site) -> None:
        client = await site.client(limit=4096)
        client.ask("larger.bin")
        await client.head()
        for start in range(0, len(LARGER), len(LARGE)):
            assert await client.reader.readexactly(len(LARGE)) == LARGER[start : start + len(LARGE)]
            site.clock += 100
            await asyncio.sleep(0.3)
        await client.close()

    run(scenario, larger=True)


def test_a_client_that_stops_reading_is_cut_off(run: Callable[..., None]) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client(limit=4096)
        client.ask("larger.bin")
        await client.head()
        while site.server.connections:
            site.clock += 100
            await asyncio.sleep(0.1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reader.readexactly(len(LARGER))
        client.writer.close()

    run(scenario, larger=True)


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_request_s_body_that_goes_on_while_the_file_is_sent(run: Callable[..., None], framing: str) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client(limit=4096)
        client.ask("large.bin", framing)
        status, fields = await client.head()
        assert (status, fields["Connection"]) == (200, "close")
        client.writer.write(b"x" * 50_000)
        await client.writer.drain()
        assert await client.reader.readexactly(len(LARGE)) == LARGE
        assert await client.reader.read() == b""
        await client.close()

    run(scenario)


def test_a_client_that_leaves_in_the_middle(run: Callable[..., None]) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client(limit=4096)
        client.ask("large.bin")
        await client.head()
        client.writer.transport.abort()
        await site.left_alone()
        other = await site.client()
        assert (await other.get("large.bin"))[2] == LARGE
        await other.close()
        await site.left_alone()
        snapshot = site.server.snapshot()
        assert (snapshot["requests"], snapshot["own"]) == (2, {"200": 2}), "each request is counted once"
        await site.finish()
        first, second = [json.loads(line) for line in site.log_path.read_text().splitlines()]
        assert (first["status"], first["cut"]) == (200, True)
        assert 0 < first["bytes"] < len(LARGE)
        assert (second["status"], second["bytes"]) == (200, len(LARGE))
        assert "cut" not in second

    run(scenario)


@pytest.mark.parametrize("fault", ["gone", "replaced"])
def test_a_release_that_replaces_a_file_disturbs_nobody_before_it_is_indexed(
    run: Callable[..., None], fault: str
) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        client.ask("large.bin")
        await client.head()
        if fault == "gone":
            (site.root / "large.bin").unlink()
        else:
            (site.root / "new").write_bytes(LARGE[::-1])
            (site.root / "new").replace(site.root / "large.bin")
        assert await client.reader.readexactly(len(LARGE)) == LARGE
        assert (await client.get("large.bin"))[2] == LARGE
        await client.close()

    run(scenario)


def test_a_file_that_was_written_to_is_not_sent(run: Callable[..., None]) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client()
        (site.root / "large.bin").write_bytes(LARGE[::-1])
        status, fields, _ = await client.get("large.bin")
        assert status == 503
        assert "Retry-After" in fields
        assert "ETag" not in fields
        assert (await client.get("small.txt"))[2] == b"small"
        await client.close()

    run(scenario)


def test_a_file_that_changes_in_the_middle_ends_the_connection(run: Callable[..., None]) -> None:
    async def scenario(site: Site) -> None:
        client = await site.client(limit=4096)
        client.ask("larger.bin")
        await client.head()
        await asyncio.sleep(0.05)
        (site.root / "larger.bin").write_bytes(LARGER[::-1])
        received = b""
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)) as caught:
            await client.reader.readexactly(len(LARGER))
        if isinstance(caught.value, asyncio.IncompleteReadError):
            received = caught.value.partial
        assert received == LARGER[: len(received)]
        client.writer.close()

    run(scenario, larger=True)


def test_the_same_over_tls(run: Callable[..., None], tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def scenario(site: Site) -> None:
        client = await site.client()
        assert (await client.get("large.bin"))[2] == LARGE
        assert (await client.get("small.txt"))[2] == b"small"
        await client.close()

    run(scenario, tls)
