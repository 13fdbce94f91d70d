"""Real-time scheduling for a moment: begun, ended and bounded; and nothing breaks where it is not allowed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from proxy import urgency
from proxy.urgency import Haste

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOT_ALLOWED = """
import os, resource
from proxy import urgency
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
os.setresuid(65534, 65534, 65534)
urgency.allow(2)
assert not urgency.hurry(1)
assert os.sched_getscheduler(0) == os.SCHED_OTHER
urgency.Haste(lambda seconds, end: None).end()
"""


class Clock:
    """Notes what is to be called later."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.cancelled = 0

    def call_later(self, seconds: float, end: Callable[[], None]) -> Clock:
        self.due.append((seconds, end))
        return self

    def cancel(self) -> None:
        self.cancelled += 1


@pytest.fixture
def usual() -> Iterator[None]:
    """A thread of its own, so that the tests' process stays as it is."""
    yield
    assert os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER


def in_a_thread(work: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def policy() -> int:
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


def needs_the_right() -> None:
    if not urgency.hurry(urgency.WORKER):
        pytest.skip("real-time scheduling is not allowed here")


def test_it_begins_and_ends(usual: None) -> None:
    def work() -> None:
        needs_the_right()
        assert policy() == os.SCHED_RR
        assert os.sched_getparam(0).sched_priority == urgency.WORKER
        assert not urgency.hurry(urgency.SUPERVISOR), "it is in a hurry already"
        child = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"], capture_output=True, check=True
        )
        assert int(child.stdout) & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER, "children are as usual"
        Haste(Clock().call_later).end()
        assert policy() == os.SCHED_OTHER

    in_a_thread(work)


def test_it_ends_by_itself(usual: None) -> None:
    def work() -> None:
        needs_the_right()
        clock = Clock()
        haste = Haste(clock.call_later)
        haste.bound()
        haste.begin(urgency.WORKER)
        assert [seconds for seconds, _ in clock.due] == [urgency.URGENT_SECONDS] * 2
        assert clock.cancelled == 1, "the second bound replaces the first"
        assert repr(haste) == "<Haste on>"
        clock.due[-1][1]()
        assert policy() == os.SCHED_OTHER
        assert repr(haste) == "<Haste off>"

    in_a_thread(work)


def test_who_is_scheduled_otherwise_stays_so(usual: None) -> None:
    def work() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        assert not urgency.hurry(urgency.WORKER)
        Haste(Clock().call_later).end()
        assert policy() == os.SCHED_BATCH

    in_a_thread(work)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take its own right away")
def test_without_the_right_nothing_changes() -> None:
    done = subprocess.run([sys.executable, "-c", NOT_ALLOWED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
