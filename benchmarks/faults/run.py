"""One row after the other on one site: a release, a kill at its step, and what an operator does then."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

from benchmarks.demo.site import DemoError
from benchmarks.faults.account import Account, Death, account, read_slots
from benchmarks.faults.operator import needs_mending, next_command
from benchmarks.faults.rows import IDLE_MUST_RUN, Row
from benchmarks.faults.site import COMMAND_SECONDS, RESTART_SECONDS, SLOTS, last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.faults.site import FaultSite
    from benchmarks.faults.users import Users

MOST_MENDS: Final = 4
PID_SECONDS: Final = 10.0
"""A Tomcat whose step has begun is started within this time."""
SETTLE_SECONDS: Final = 1.5
"""Load after the mend, in which every user asks at least once for his session."""


@dataclass
class Injected:
    """What was done to the site. problem: why not."""

    done: bool = False
    problem: str = ""
    slot: str = ""
    at: float = 0.0
    active: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one row.

    release: how the release's command ended. said: what `deployer status` advised then. mends: commands that the
    operator typed. down: seconds in which users got no answer because of the killed Tomcat. problem: what is wrong.
    commit: of the project.
    """

    row: Row
    release: str
    said: tuple[str, ...]
    mends: tuple[str, ...]
    outcome: str
    account: Account
    alone: bool
    down: float
    seconds: float
    problem: str = ""
    commit: str = ""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Record:
        """From its JSON. Raises TypeError and KeyError when it is of another shape."""
        facts = dict(document)
        row, found = Row(**facts.pop("row")), facts.pop("account")
        found = Account(**{**found, "unexcused": tuple(found["unexcused"])})
        facts |= {"said": tuple(facts["said"]), "mends": tuple(facts["mends"])}
        return cls(row=row, account=found, **facts)

    @property
    def is_right(self) -> bool:
        """Nothing failed by the proxy's or the deployer's doing, no session was lost that had a place, users served."""
        return not self.problem and not self.account.unexcused


@dataclass
class _Told:
    """What `deployer release --json` said."""

    begun: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    problem: str = ""
    ended: bool = False

    def take(self, event: dict[str, Any]) -> str | None:
        """The step that begins with this event."""
        kind = event.get("event")
        if kind == "step" and event["state"] == "started":
            self.begun.add(event["step"])
            return str(event["step"])
        if kind == "step" and event["state"] == "done":
            self.done.add(event["step"])
        if kind in ("result", "error"):
            self.ended = True
            self.problem = str(event["problem" if kind == "result" else "message"])
        return None


def run(site: FaultSite, users: Users, rows: Iterable[Row], say: Callable[[str], None]) -> Iterator[Record]:
    """A record for each row, as it is done. Raises DemoError when the site can't be brought back for the next row."""
    for row in rows:
        prepare(site, row)
        record = _one(site, users, row)
        verdict = "ok" if record.is_right else "NOT RIGHT"
        say(
            f"{row.name}: {record.release}; {', '.join(record.mends) or 'nothing to mend'}; {record.outcome}; {verdict}"
        )
        for text in (record.problem, *record.account.unexcused[:5]):
            if text:
                say(f"    {text}")
        yield record


def prepare(site: FaultSite, row: Row) -> None:
    """Users on production. `return` finds temp stopped, as it leaves it; `swap` as it is, unless its step needs it."""
    for _ in range(MOST_MENDS):
        if not site.supervisor_lives():
            site.start_supervisor()
        status = site.status()
        slots = status["slots"]
        if status["cut_off"] is not None:
            site.must("abort", "--yes", "--accept-session-loss")
        elif not slots[status["active"]]["http_ready"]:
            site.kill_tomcat(status["active"])
            site.must("start", status["active"])
        elif status["active"] != "production":
            if not slots["production"]["http_ready"]:
                site.kill_tomcat("production")
                site.must("start", "production")
            site.must("switch", "production", "--accept-session-loss")
        elif row.strategy == "return" and slots["temp"]["running"]:
            site.must("stop", "temp", "--accept-session-loss")
        elif (row.strategy, row.step) == IDLE_MUST_RUN and not slots["temp"]["running"]:
            live = slots["production"]["release_id"]
            site.must("start", "temp", *(() if slots["temp"]["release_id"] else ("--release", live)))
        else:
            return
    raise DemoError(f"the site can't be made ready for {row.name}")


def _one(site: FaultSite, users: Users, row: Row) -> Record:
    begun, log_from = time.time(), site.access_log.stat().st_size
    war = _other_war(site)
    release, injected = _release(site, row, war)
    time.sleep(SETTLE_SECONDS)
    status = site.status()
    said = tuple(status["advice"])
    mends, status = _mend(site, row, status, war)
    mended = time.time()
    served = users.rounds()
    time.sleep(SETTLE_SECONDS)
    problem = injected.problem
    if needs_mending(status):
        problem = problem or f"not mended: {'; '.join(status['where'])}"
    elif users.rounds() == served:
        problem = problem or "users are not served after the mend"
    death = Death(injected.slot, injected.at, injected.active, injected.alone, mended) if injected.slot else None
    failures = users.failures(begun, time.time())
    found = account(failures, read_slots(_tail(site.access_log, log_from)), death)
    dead = [failure.ended for failure in failures if death and failure.begun >= death.at] if found.dead else []
    down = max(dead) - injected.at if dead else 0.0
    outcome = _outcome(status, _identity(war))
    return Record(
        row, release, said, mends, outcome, found, injected.alone, round(down, 1), time.time() - begun, problem
    )


def _release(site: FaultSite, row: Row, war: Path) -> tuple[str, Injected]:
    """Starts the release, kills at its step, and says how the command ended."""
    told, injected = _Told(), Injected()
    argv = site.command("release", str(war), "--yes", "--json", "--strategy", row.strategy)
    with (site.directory / "release.log").open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
    watchdog = threading.Timer(COMMAND_SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        for event in _objects(process.stdout):
            if told.take(event) == row.step and not injected.done:
                inject(site, row, process, injected)
        code = process.wait()
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    # Its other was being stopped when it was killed, and was stopped.
    injected.alone |= injected.active and row.step in told.done & {f"stop {slot}" for slot in SLOTS}
    if not injected.done and not injected.problem:
        injected.problem = f"the release had no step {row.step}: {', '.join(sorted(told.begun))} {told.problem}".strip()
    if code < 0:
        return "killed", injected
    if not told.ended:
        injected.problem = f"the deployer crashed, see {site.directory / 'release.log'}"
        return f"crashed with {code}", injected
    ended = {0: "done", 1: "failed and undone", 3: "refused", 4: "failed, needs a person"}.get(code, f"exit {code}")
    problem = told.problem.splitlines()[0] if told.problem else ""
    return f"{ended}: {problem}" if problem else ended, injected


def inject(site: FaultSite, row: Row, process: subprocess.Popen[str], injected: Injected) -> None:
    """The kill. The supervisor is started again as systemd would."""
    injected.done = True
    if row.fault == "deployer":
        process.kill()
    elif row.fault == "supervisor":
        site.kill_supervisor()
        time.sleep(RESTART_SECONDS)
        site.start_supervisor()
    else:
        # It goes on when the kill is done: so that it is at this step, and not after it.
        process.send_signal(signal.SIGSTOP)
        try:
            _kill_tomcat(site, row, process, injected)
        finally:
            process.send_signal(signal.SIGCONT)


def _kill_tomcat(site: FaultSite, row: Row, process: subprocess.Popen[str], injected: Injected) -> None:
    active = site.active()
    idle = "temp" if active == "production" else "production"
    slot, other = (active, idle) if row.fault == "active Tomcat" else (idle, active)
    end = time.monotonic() + PID_SECONDS
    if row.step == f"start {slot}":
        process.send_signal(signal.SIGCONT)
    while site.tomcat_pid(slot) is None and time.monotonic() < end:
        time.sleep(0.02)
    injected.slot, injected.active = slot, slot == active
    injected.alone = injected.active and not site.accepts(other)
    injected.at = time.time()
    if not site.kill_tomcat(slot):
        injected.problem = f"{slot} did not run at {row.step}"


def _mend(site: FaultSite, row: Row, status: dict[str, Any], war: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Types what the status advises until users are served and nothing is cut off."""
    typed: list[str] = []
    while needs_mending(status) and len(typed) < MOST_MENDS:
        words = next_command(status, row.then, str(war))
        if words is None:
            break
        done = site.run(*words, *(("--yes",) if words[0] in ("release", "resume", "abort", "rollback") else ()))
        shown = "deployer " + " ".join("WAR" if word == str(war) else word for word in words)
        typed.append(shown if done.returncode == 0 else f"{shown} (exit {done.returncode}: {last_words(done)})")
        status = site.status()
    return tuple(typed), status


def _outcome(status: dict[str, Any], new: str) -> str:
    active = status["active"]
    if active is None:
        return "the proxy does not answer"
    slot = status["slots"][active]
    which = "new" if slot["release_id"] == new else "old"
    return f"{which} release, {active}" if slot["http_ready"] else f"{active} is active and down"


def _other_war(site: FaultSite) -> Path:
    """Of the two versions the one that is not live."""
    status = site.status()
    live = status["slots"][status["active"]]["release_id"]
    return next(war for war in site.wars if _identity(war) != live)


def _identity(war: Path) -> str:
    return hashlib.sha256(war.read_bytes()).hexdigest()[:12]


def _objects(lines: IO[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            return  # the last line of a killed command may be torn
        if isinstance(found, dict):
            yield found


def _tail(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(start)
        return file.read().decode("utf-8", "replace")
