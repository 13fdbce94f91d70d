"""`scripts/bench sessions`: counters hit in parallel while the proxy switches between replicating Tomcats."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import yaml

from benchmarks import machine
from benchmarks.command import PUBLISHED, UNPUBLISHED, report_errors
from benchmarks.demo.site import DemoError, Site
from benchmarks.report import table
from benchmarks.servers import BenchError
from benchmarks.switching.account import Spread, Switch
from benchmarks.switching.alternation import alternate
from benchmarks.switching.counting import Hit, Verdict, judge
from benchmarks.switching.hits import PAUSE_SECONDS, Client, open_session
from benchmarks.switching.peers import Ours

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKERS: Final = 2
SLOTS: Final = ("production", "temp")


@dataclass(frozen=True, slots=True)
class Shape:
    """`clients` keep-alive connections for each of the `sessions`; `switches` there and back.

    `in_turn`: a session's clients hit one after the other, each as soon as the last was answered; else in parallel.
    """

    sessions: int
    clients: int
    switches: int
    in_turn: bool


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


async def hit_while_switching(port: int, tool: Ours, shape: Shape, slots: tuple[str, ...]) -> Result:
    """Clients hit their sessions' counters while the proxy is switched there and back; the first slot is active."""
    opened = [await open_session(port, session) for session in range(shape.sessions)]
    turns = [asyncio.Lock() if shape.in_turn else None for _ in opened]
    clients = [
        Client(port, session, number, cookie, turn=turns[session])
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
        # An idle connection to a Tomcat would make its stop at the end take all of its grace.
        config.write_text(yaml.safe_dump(settings | {"workers": WORKERS, "timeouts": {"upstream_idle": "1s"}}))
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
    with closing(admin(site)) as tool:
        old = tool.active()
        slots = (old, *(slot for slot in SLOTS if slot != old))
        return asyncio.run(hit_while_switching(site.ports.public, tool, shape, slots))


HEAD: Final = (
    "Clients on keep-alive connections of their own add to their session's counter without pause, GET and POST in "
    "turn, while the proxy with 2 workers is switched between two Tomcats that replicate their sessions. A single "
    "server would answer 1, 2, 3, … each exactly once, and never a smaller value to a request that was sent after a "
    "larger one had been answered. *In turn*: each connection of a session asks as soon as another one was answered. "
    "*In parallel*: all at once. Then Tomcat itself may keep an older value, as it sends the changes of requests "
    "that end together in no certain order; *no proxy* is the same load on both Tomcats alternately, half a second "
    "apart, with nothing in front."
)


@dataclass(frozen=True, slots=True)
class Report:
    """`alone`: the comparison without a proxy, and its number of alternations."""

    in_turn: Result
    parallel: Result
    alone: Verdict
    alternations: int

    @property
    def is_right(self) -> bool:
        """Strictly as one server, but for what Tomcat does by itself in parallel."""
        others = self.parallel.verdict
        return self.in_turn.verdict.is_right and not (others.failed or others.lost or others.missing)


def to_markdown(report: Report, shape: Shape, where: machine.Machine, made: str, commit: str) -> str:
    rows = [
        _row("in turn", report.in_turn.verdict, report.in_turn.switches),
        _row("in parallel", report.parallel.verdict, report.parallel.switches),
        _row("in parallel, no proxy", report.alone, report.alternations),
    ]
    head = ["", "switches", "requests", "failed", "sessions lost", "repeated", "missing", "out of order"]
    lines = [
        "# One session's counter across switches",
        "",
        f"Made {made} by `scripts/bench sessions` at commit {commit}; {where.cpu}, {where.cores} cores, Python "
        f"{where.python}; load average {where.load} before the run. {shape.sessions} sessions, {shape.clients} "
        "connections each.",
        "",
        HEAD,
        "",
        table(head, rows),
        *(f"- {title}: {_times(result)}" for title, result in _titled(report)),
        *(f"- {title}: {problem}" for title, result in _titled(report) for problem in result.problems),
        "",
    ]
    return "\n".join(lines)


def _titled(report: Report) -> tuple[tuple[str, Result], ...]:
    return ("in turn", report.in_turn), ("in parallel", report.parallel)


def _row(title: str, verdict: Verdict, switches: int) -> list[str]:
    counts = (verdict.hits, verdict.failed, verdict.lost, verdict.repeated, verdict.missing, verdict.disordered)
    return [title, f"{switches}", *(f"{count:,}" for count in counts)]


def _times(result: Result) -> str:
    def text(spread: Spread) -> str:
        return f"{spread.p50:.1f} / {spread.p99:.1f} / {spread.most:.1f}"

    return (
        f"a request took {text(result.took)} ms (p50 / p99 / longest), a switch {text(result.call)} ms, "
        f"its hold {text(result.hold)} ms"
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="20 switches.")
@click.option("--switches", type=click.IntRange(1, 10_000), default=200, show_default=True)
@click.option("--sessions", type=click.IntRange(1, 100), default=4, show_default=True)
@click.option("--clients", type=click.IntRange(1, 100), default=6, show_default=True, help="For each session.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where the results go.")
def main(quick: bool, switches: int, sessions: int, clients: int, out: Path | None) -> None:
    """Hits sessions' counters while the proxy switches between two Tomcats that replicate them."""
    shape = Shape(sessions, clients, 20 if quick else switches, in_turn=True)
    bursts = 20 if quick else 60
    made, where = datetime.now(UTC), machine.read()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            with replicated_site(Path(directory) / "site") as site:
                in_turn = measure(site, shape)
                parallel = measure(site, replace(shape, in_turn=False))
                ports = (site.ports.production, site.ports.temp)
                alone = judge(asyncio.run(alternate(ports, clients, bursts, 4)))
        except DemoError as error:
            raise BenchError(str(error)) from error
    report = Report(in_turn, parallel, alone, bursts)
    target = out or (UNPUBLISHED if quick else PUBLISHED)
    target.mkdir(parents=True, exist_ok=True)
    text = to_markdown(report, shape, where, made.strftime("%Y-%m-%d %H:%M UTC"), machine.commit())
    (target / "sessions.md").write_text(text)
    (target / "sessions.json").write_text(json.dumps(asdict(shape) | asdict(report), indent=1) + "\n")
    click.echo(text)
    if not report.is_right or min(in_turn.switches, parallel.switches) < shape.switches:
        raise SystemExit(1)


if __name__ == "__main__":
    report_errors(main)
