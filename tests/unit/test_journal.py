"""The journal and the lock, on real files."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from deployer.clock import SystemClock
from deployer.errors import Refused, ReleaseFailed
from deployer.journal import Intent, Journal, JournalError, before_live, find_run, last_good, unfinished
from deployer.lock import Lock

if TYPE_CHECKING:
    from pathlib import Path

CLOCK = SystemClock()


def intent(release: str, previous: str | None = None, kind: str = "release") -> Intent:
    return Intent(kind, release, f"{release}.war", previous, "return", "why", "anna@host")


def journal_with(path: Path, *runs: tuple[Intent, str]) -> Journal:
    journal = Journal(path, CLOCK)
    for one, state in runs:
        number = journal.begin(one)
        if state != "running":
            journal.end(number, state, "")  # type: ignore[arg-type]
    return journal


def test_what_was_noted_is_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "state", CLOCK)
    run = journal.begin(intent("aaaa", "bbbb"))
    step = journal.intend(run, 1, "run", "start temp", "temp")
    journal.outcome(step, "done", "ready")
    journal.intend(run, 2, "undo", "start temp", "temp")
    journal.end(run, "undone", "it failed")
    [found] = journal.runs()
    assert (found.release, found.previous, found.state, found.detail) == ("aaaa", "bbbb", "undone", "it failed")
    assert (found.pid, found.by, found.message) == (os.getpid(), "anna@host", "why")
    first, second = journal.steps(run)
    assert (first.number, first.phase, first.state, first.detail) == (1, "run", "done", "ready")
    assert (second.phase, second.state, second.ended) == ("undo", "intended", None)


def test_a_journal_that_is_not_there_is_empty_and_stays_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path, CLOCK)
    assert journal.runs() == []
    assert journal.steps(1) == []
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_journal_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite3").write_bytes(b"this is no database, but long enough to be taken for one" * 20)
    journal = Journal(tmp_path, CLOCK)
    with pytest.raises(JournalError, match="can't be read") as error:
        journal.runs()
    assert "move it away" in error.value.advice
    with pytest.raises(JournalError, match="can't be written"):
        journal.begin(intent("aaaa"))


def test_a_journal_of_a_later_deployer_is_refused(tmp_path: Path) -> None:
    journal = journal_with(tmp_path, (intent("aaaa"), "done"))
    with sqlite3.connect(journal.path) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(JournalError, match="its version is 7"):
        journal.runs()


def test_a_reader_after_a_crash_in_a_write_sees_the_last_whole_state(tmp_path: Path) -> None:
    journal = journal_with(tmp_path, (intent("aaaa"), "done"))
    script = (
        "import os, sqlite3, sys\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('PRAGMA cache_size = 1')\n"
        "database.execute('BEGIN IMMEDIATE')\n"
        "database.execute(\"UPDATE run SET detail = hex(zeroblob(200000)), release = 'torn'\")\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(journal.path)], check=False)
    assert done.returncode == -9
    assert (tmp_path / "journal.sqlite3-journal").exists()
    assert [run.release for run in journal.runs()] == ["aaaa"]


def test_only_the_newest_command_can_be_cut_off(tmp_path: Path) -> None:
    runs = journal_with(tmp_path, (intent("aaaa"), "running"), (intent("bbbb"), "running")).runs()
    cut = unfinished(runs, None)
    assert cut is not None
    assert cut.release == "bbbb"
    assert unfinished(runs, os.getpid()) is None
    assert unfinished(journal_with(tmp_path / "b", (intent("aaaa"), "done")).runs(), None) is None


def test_a_rollback_goes_to_what_was_live_before(tmp_path: Path) -> None:
    runs = journal_with(
        tmp_path, (intent("aaaa"), "done"), (intent("bbbb", "aaaa"), "done"), (intent("cccc", "bbbb"), "undone")
    ).runs()
    assert before_live(runs, "bbbb") == "aaaa"
    assert before_live(runs, "aaaa") == "bbbb"
    assert before_live(runs[2:], "aaaa") is None


def test_a_rollback_of_a_release_that_was_cut_off_goes_to_the_one_before(tmp_path: Path) -> None:
    runs = journal_with(tmp_path, (intent("aaaa"), "done"), (intent("bbbb", "aaaa"), "running")).runs()
    assert before_live(runs, "bbbb") == "aaaa"


def test_a_rollback_of_a_rollback_goes_forward_again(tmp_path: Path) -> None:
    back = intent("aaaa", "bbbb", "rollback")
    runs = journal_with(tmp_path, (intent("aaaa"), "done"), (intent("bbbb", "aaaa"), "done"), (back, "done")).runs()
    assert before_live(runs, "aaaa") == "bbbb"


def test_releases_that_went_well_are_worth_keeping(tmp_path: Path) -> None:
    runs = journal_with(
        tmp_path,
        (intent("aaaa"), "done"),
        (intent("bbbb"), "undone"),
        (intent("cccc"), "done"),
        (intent("aaaa", kind="rollback"), "done"),
        (intent("dddd", kind="start"), "done"),
    ).runs()
    assert last_good(runs, 5) == {"aaaa", "cccc"}
    assert last_good(runs, 1) == {"aaaa"}


@pytest.mark.parametrize(("wanted", "number"), [("#2", 2), ("2", 2), ("aa", 3), ("bbbb", 2), ("cccc", None)])
def test_a_command_is_found_by_number_or_release(tmp_path: Path, wanted: str, number: int | None) -> None:
    runs = journal_with(tmp_path, (intent("aaaa"), "done"), (intent("bbbb"), "done"), (intent("aaaa"), "undone")).runs()
    found = find_run(runs, wanted)
    assert (found.id if found else None) == number


# --- the lock ---------------------------------------------------------------------------------------------


def test_one_at_a_time_and_the_other_hears_who_it_is(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "state", CLOCK)
    with lock.held("release aaaa", "anna@host"):
        holder = lock.holder()
        assert holder is not None
        assert (holder.pid, holder.command) == (os.getpid(), "release aaaa")
        with pytest.raises(Refused, match=rf"locked by pid {os.getpid()} \(anna@host\): release aaaa, for 0 s"):
            lock.held("release bbbb", "bert@host").__enter__()
    assert lock.holder() is None
    with lock.held("release cccc", "anna@host"):
        pass


def test_asking_who_has_it_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    lock = Lock(tmp_path, CLOCK)
    for _ in range(200):
        assert lock.holder() is None
        with lock.held("release", "anna@host"):
            assert lock.holder() is not None


def test_a_holder_that_is_killed_has_it_no_more(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from deployer.clock import SystemClock\n"
        "from deployer.lock import Lock\n"
        "with Lock(Path(sys.argv[1]), SystemClock()).held('release aaaa', 'anna@host'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    lock = Lock(tmp_path, CLOCK)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        holder = lock.holder()
        assert holder is not None
        assert holder.pid == other.pid
        other.kill()
        other.wait()
        assert lock.holder() is None
        with lock.held("release bbbb", "anna@host"):
            pass


def test_a_broken_lock_stops_its_holder_and_lets_others_in(tmp_path: Path) -> None:
    lock = Lock(tmp_path, CLOCK)
    with lock.held("release aaaa", "anna@host") as held:
        held.check()
        broken = lock.break_it()
        assert broken is not None
        assert broken.command == "release aaaa"
        with pytest.raises(ReleaseFailed, match="broke our lock"):
            held.check()
        with lock.held("release bbbb", "bert@host") as second:
            second.check()
            with pytest.raises(ReleaseFailed):
                held.check()
    assert lock.break_it() is None
