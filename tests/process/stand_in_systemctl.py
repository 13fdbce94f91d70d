"""Stands in for `systemctl`: units are read from a directory, and their processes are started, told and ended.

Environment: STAND_IN_UNITS, the directory. STAND_IN_DOWN: no systemd runs. Every call is noted in `calls` there.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(os.environ["STAND_IN_UNITS"])
DOWN = "System has not been booted with systemd as init system (PID 1). Can't operate.\n"


def unit_lines(name: str, key: str) -> list[str]:
    text = (HERE / name).read_text()
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def state(name: str) -> dict[str, object]:
    with suppress(OSError):
        found: dict[str, object] = json.loads((HERE / f"{name}.state").read_text())
        return found
    return {"pid": 0, "result": "success"}


def note(name: str, pid: int, result: str) -> None:
    (HERE / f"{name}.state").write_text(json.dumps({"pid": pid, "result": result}))


def show(name: str) -> None:
    loaded = (HERE / name).exists()
    pid = int(str(state(name)["pid"]))
    running = pid and alive(pid)
    print(f"MainPID={pid if running else 0}")
    print(f"Result={state(name)['result']}")
    print("NeedDaemonReload=no")
    print(f"LoadState={'loaded' if loaded else 'not-found'}")
    print(f"ActiveState={'active' if running else 'inactive'}")
    print(f"FragmentPath={HERE / name if loaded else ''}")


def start(name: str) -> None:
    [line], [log] = unit_lines(name, "ExecStart"), unit_lines(name, "StandardOutput")
    words = [word.replace("$$", "$").replace("%%", "%") for word in shlex.split(line)]
    environment = dict(shlex.split(one)[0].split("=", 1) for one in unit_lines(name, "Environment"))
    with Path(log.removeprefix("append:").replace("%%", "%")).open("ab") as output:
        # In the foreground of nobody, as a service is: the stand-in ends, and the process is not its child any more.
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=unit_lines(name, "WorkingDirectory")[0].replace("%%", "%"),
            env={"PATH": os.environ["PATH"], **environment},
            start_new_session=True,
        )
    note(name, process.pid, "success")


def stop(name: str) -> None:
    pid = int(str(state(name)["pid"]))
    result = "success"
    if pid and alive(pid):
        os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + float(unit_lines(name, "TimeoutStopSec")[0])
        while alive(pid) and time.monotonic() < end:
            time.sleep(0.02)
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
            result = "timeout"
    note(name, 0, result)


def main() -> None:
    arguments = [one for one in sys.argv[1:] if not one.startswith("--")]
    with (HERE / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    if os.environ.get("STAND_IN_DOWN"):
        sys.stderr.write(DOWN)
        sys.exit(1)
    verb, name = arguments
    {"show": show, "start": start, "stop": stop, "reset-failed": lambda _: None}[verb](name)


if __name__ == "__main__":
    main()
