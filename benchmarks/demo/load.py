"""The load on the demo's site: Locust, headless, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.demo.site import REPOSITORY, DemoError
from benchmarks.shop.load.results import Report

END_SECONDS = 60.0


class Load:
    """Locust with `users` users, from its start to its report. Use `with`."""

    def __init__(self, directory: Path, host: str, users: int, wait: str) -> None:
        self._results = directory / "load.json"
        self._log = directory / "locust.log"
        locust, users_file = Path(sys.executable).parent / "locust", REPOSITORY / "benchmarks/locustfile.py"
        rate = str(max(5, users // 4))
        argv = [str(locust), "-f", str(users_file), "--headless", "-u", str(users), "-r", rate, "--host", host]
        env = os.environ | {"SHOP_RESULTS": str(self._results), "SHOP_WAIT": wait, "SHOP_VERSIONS": "1,2"}
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)

    def __repr__(self) -> str:
        return f"<Load pid={self._process.pid}>"

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(END_SECONDS)

    def check(self) -> None:
        """Raises DemoError when the load has ended by itself."""
        if self._process.poll() is not None:
            last = self._log.read_text(errors="replace").splitlines()[-10:]
            raise DemoError("the load ended too early; its last lines:\n" + "\n".join(last))

    def finish(self) -> Report:
        """Lets every user end what he does, and reads what they saw. Raises DemoError without a report."""
        self.check()
        self._process.terminate()
        self._process.wait(END_SECONDS)
        try:
            return Report.load(self._results)
        except (OSError, ValueError) as error:
            raise DemoError(f"the load left no report: {error} (see {self._log})") from error
