"""`scripts/bench sessions`: counters hit in parallel while the proxy switches between replicating Tomcats."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import click
import yaml

from benchmarks import machine
from benchmarks.command import PUBLISHED, UNPUBLISHED, report_errors
from benchmarks.demo.site import DemoError, Site
from benchmarks.servers import BenchError
from benchmarks.switching.account import Spread, Switch
from benchmarks.switching.counting import LOST, Hit, Verdict, judge
from benchmarks.switching.peers import Ours

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS: Final = 2
ANSWER_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.02
SLOTS: Final = ("production", "temp")


@dataclass(frozen=True, slots=True)
class Shape:
    """`clients` keep-alive connections for each of the `sessions`; `switches` there and back."""

    sessions: int
    clients: int
    switches: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came out. `took`: a request's milliseconds; `call`: a switch's."""

    verdict: Verdict
    switches: int
    seconds: float
    took: Spread
    call: Spread
    hold: Spread
    problems: tuple[str, ...]


class Client:
    """One keep-alive connection that adds to its session's counter without pause; GET and POST in turn."""

    def __init__(self, port: int, session: int, number: int, cookie: bytes) -> None:
        self._port = port
        self._session = session
        self._number = number
        self._cookie = cookie
        self.hits: list[Hit] = []

    def __repr__(self) -> str:
        return f"<Client {self._session}.{self._number} hits={len(self.hits)}>"

    async def run(self, stop: asyncio.Event) -> None:
        """Hits until told to stop. A connection that the proxy ends after an answer is opened anew."""
        while not stop.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                self._note(monotonic_ns(), None, f"no connection: {error}")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                while not stop.is_set() and await self._hit(reader, writer):
                    pass
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _hit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection can be used again."""
        method = b"POST" if len(self.hits) % 2 else b"GET"
        length = b"Content-Length: 0\r\n" if method == b"POST" else b""
        sent = monotonic_ns()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(
                    b"%b /counter HTTP/1.1\r\nHost: shop\r\n%bCookie: %b\r\n\r\n" % (method, length, self._cookie)
                )
                head, body = await read_answer(reader)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
            self._note(sent, None, repr(error))
            return False
        if not head.startswith(b"http/1.1 200"):
            self._note(sent, None, head.partition(b"\r\n")[0].decode())
        elif b"\r\nset-cookie: jsessionid" in head:
            self._note(sent, None, LOST)
        else:
            self._note(sent, json.loads(body)["counter"], "")
        return b"\r\nconnection: close" not in head

    def _note(self, sent: int, value: int | None, problem: str) -> None:
        self.hits.append(Hit(self._session, self._number, sent, monotonic_ns(), value, problem))


async def read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head in lower case, and the body by its length. Raises EOFError, ValueError for one without a length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, found, rest = head.partition(b"\r\ncontent-length: ")
    if not found:
        raise ValueError(f"an answer without a length: {head!r}")
    return head, await reader.readexactly(int(rest.partition(b"\r\n")[0]))


async def open_session(port: int, session: int) -> tuple[bytes, Hit]:
    """A new session's cookie, and its first hit. Raises BenchError."""
    sent = monotonic_ns()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /counter HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
    finally:
        writer.close()
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"set-cookie":
            counter = json.loads(body)["counter"]
            return value.strip().partition(b";")[0], Hit(session, 0, sent, monotonic_ns(), counter)
    raise BenchError(f"the shop began no session: {head.decode(errors='replace')}")


async def hit_while_switching(port: int, tool: Ours, shape: Shape, slots: tuple[str, ...]) -> Result:
    """Clients hit their sessions' counters while the proxy is switched there and back; the first slot is active."""
    opened = [await open_session(port, session) for session in range(shape.sessions)]
    clients = [
        Client(port, session, number, cookie)
        for session, (cookie, _) in enumerate(opened)
        for number in range(1, shape.clients + 1)
    ]
    stop = asyncio.Event()
    begun = time.monotonic()
    running = [asyncio.create_task(client.run(stop)) for client in clients]
    made: list[Switch] = []
    problem = ""
    try:
        old, new = slots
        for _ in range(shape.switches):
            await asyncio.sleep(PAUSE_SECONDS)
            made.append(await asyncio.to_thread(tool.switch, old, new))
            old, new = new, old
        await asyncio.sleep(PAUSE_SECONDS)
    except BenchError as error:
        problem = str(error)
    stop.set()
    await asyncio.gather(*running)
    hits = [hit for _, hit in opened] + [hit for client in clients for hit in client.hits]
    return make_result(hits, made, time.monotonic() - begun, problem)


def make_result(hits: list[Hit], made: list[Switch], seconds: float, problem: str) -> Result:
    problems = sorted({hit.problem for hit in hits if hit.problem} | ({problem} if problem else set()))
    return Result(
        verdict=judge(hits),
        switches=len(made),
        seconds=seconds,
        took=Spread.of((hit.ended - hit.sent) / 1e6 for hit in hits if hit.value is not None),
        call=Spread.of((switch.returned - switch.called) / 1e6 for switch in made),
        hold=Spread.of(switch.hold_ms for switch in made if switch.hold_ms is not None),
        problems=tuple(problems[:10]),
    )


@contextmanager
def replicated_site(directory: Path) -> Iterator[Site]:
    """The proxy with two workers and two replicated Tomcats with the same release of the shop.

    Raises DemoError when one of them does not come up.
    """
    with Site.fresh(directory) as site:
        site.configure("swap", 1)
        config = directory / "proxy.yaml"
        settings = yaml.safe_load(config.read_text())
        config.write_text(yaml.safe_dump(settings | {"workers": WORKERS}))
        site.start_proxy()
        _release(site, 1)
        # A swap leaves both slots running: the new release in one, and the one before in the other.
        _release(site, 2)
        yield site


def _release(site: Site, version: int) -> None:
    events: list[object] = []
    if site.release(site.build(version), "the sessions' benchmark", events.append):
        raise DemoError(f"version {version} does not start: {events[-1:]}")


def admin(site: Site) -> Ours:
    """The way to switch this site."""
    return Ours(site.ports.admin, (site.directory / "admin.token").read_text().strip())


def measure(site: Site, shape: Shape) -> Result:
    """The whole proof on a site that is up."""
    tool = admin(site)
    old = tool.active()
    slots = (old, *(slot for slot in SLOTS if slot != old))
    return asyncio.run(hit_while_switching(site.ports.public, tool, shape, slots))


HEAD: Final = (
    "Clients on keep-alive connections of their own add to their session's counter, in parallel and without pause, "
    "GET and POST in turn, while the proxy with 2 workers is switched between two Tomcats that replicate their "
    "sessions. A single server would answer 1, 2, 3, … each exactly once, and never a smaller value to a request "
    "that was sent after a larger one had been answered."
)


def to_markdown(result: Result, shape: Shape, where: machine.Machine, made: str, commit: str) -> str:
    verdict, took = result.verdict, result.took
    lines = [
        "# One session's counter across switches",
        "",
        f"Made {made} by `scripts/bench sessions` at commit {commit}; {where.cpu}, {where.cores} cores, Python "
        f"{where.python}; load average {where.load} before the run.",
        "",
        HEAD,
        "",
        f"- {shape.sessions} sessions, {shape.clients} clients each; {result.switches} switches in "
        f"{result.seconds:.0f} s; {verdict.hits:,} requests",
        f"- failed {verdict.failed}, sessions lost {verdict.lost}, values repeated {verdict.repeated}, "
        f"missing {verdict.missing}, out of order {verdict.disordered}: "
        + ("**strictly as with one server**" if verdict.is_right else "**not as with one server**"),
        f"- a request took {took.p50:.1f} / {took.p99:.1f} / {took.most:.1f} ms (p50 / p99 / longest), "
        f"a switch {result.call.p50:.1f} / {result.call.p99:.1f} / {result.call.most:.1f} ms, "
        f"its hold {result.hold.p50:.1f} / {result.hold.p99:.1f} / {result.hold.most:.1f} ms",
        *(f"- {problem}" for problem in result.problems),
        "",
    ]
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="20 switches.")
@click.option("--switches", type=click.IntRange(1, 10_000), default=300, show_default=True)
@click.option("--sessions", type=click.IntRange(1, 100), default=4, show_default=True)
@click.option("--clients", type=click.IntRange(1, 100), default=6, show_default=True, help="For each session.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where the results go.")
def main(quick: bool, switches: int, sessions: int, clients: int, out: Path | None) -> None:
    """Hits sessions' counters in parallel while the proxy switches between two Tomcats that replicate them."""
    shape = Shape(sessions, clients, 20 if quick else switches)
    made, where = datetime.now(UTC), machine.read()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            with replicated_site(Path(directory) / "site") as site:
                result = measure(site, shape)
        except DemoError as error:
            raise BenchError(str(error)) from error
    target = out or (UNPUBLISHED if quick else PUBLISHED)
    target.mkdir(parents=True, exist_ok=True)
    text = to_markdown(result, shape, where, made.strftime("%Y-%m-%d %H:%M UTC"), machine.commit())
    (target / "sessions.md").write_text(text)
    (target / "sessions.json").write_text(json.dumps(asdict(shape) | asdict(result), indent=1) + "\n")
    click.echo(text)
    if not result.verdict.is_right or result.switches < shape.switches:
        raise SystemExit(1)


if __name__ == "__main__":
    report_errors(main)
