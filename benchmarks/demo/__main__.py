"""`scripts/demo`: a release of the shop under load."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.demo import verdict
from benchmarks.demo.load import Load
from benchmarks.demo.site import BIN, REPOSITORY, DemoError, Site

EXAMPLES = """examples:
  scripts/demo                         production -> temp -> production, and a verdict
  scripts/demo --strategy swap         switch once, and stay there
  scripts/demo --users 200             more load
  scripts/demo --keep                  leave the site running and print its addresses

exit codes: 0 no request failed and no session was lost; 1 one did; 2 the demo could not run
"""


def main() -> int:
    """Runs the demo; returns the exit code."""
    options = _options()
    try:
        if options.stop:
            Site.stop(options.dir.resolve())
            return 0
        with Site.fresh(options.dir.resolve()) as site:
            return _demo(site, options)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return 2


def _demo(site: Site, options: argparse.Namespace) -> int:
    say = _Progress()
    say("building the shop, versions 1 and 2")
    first, second = site.build(1), site.build(2)
    site.configure(options.strategy, options.watch)

    say("starting the proxy, and production with version 1")
    site.start_proxy()
    start = verdict.Release()
    if site.release(first, "the demo's first release", start.take):
        raise DemoError(f"version 1 does not start: {start.problem}")

    say(f"{options.users} users come to {site.public_url}")
    with Load(site.directory, site.public_url, options.users, options.wait) as load:
        time.sleep(options.before)
        load.check()
        say(f"deployer release shop-2.war --strategy {options.strategy}")
        release = verdict.Release(started=time.time())
        release.exit_code = site.release(second, "the demo's release under load", lambda event: show(release, event))
        release.ended = time.time()
        time.sleep(options.after)
        say("the users end what they do")
        report = load.finish()

    print()
    print("\n".join(verdict.lines(release, report)))
    reasons = verdict.failed(release, report)
    print(f"\nFAILED: {'; '.join(reasons)}" if reasons else "\nOK: no request failed, no session was lost")
    if options.keep:
        site.keep()
        print("\n".join(_addresses(site)))
    return 1 if reasons else 0


def show(release: verdict.Release, event: dict[str, object]) -> None:
    """Prints what an event of the release says."""
    line = release.take(event)
    if line is not None:
        print(line, flush=True)


class _Progress:
    """Says what happens now, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._started:5.1f} s] {text}", flush=True)


def _addresses(site: Site) -> list[str]:
    deployer = f"{(BIN / 'deployer').relative_to(REPOSITORY)}"
    config = site.directory / "deployer.yaml"
    return [
        "",
        f"the shop      {site.public_url}/",
        f"admin API     {site.admin_url}/  (token in {site.directory / 'admin.token'})",
        f"status        {deployer} status -c {config}",
        f"roll back     {deployer} rollback -c {config}",
        "stop it       scripts/demo --stop",
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo",
        description="Releases version 2 of a Java web shop while users are busy in version 1.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--strategy", choices=("return", "swap"), default="return")
    parser.add_argument("--users", type=int, default=60, metavar="N", help="concurrent users [%(default)s]")
    parser.add_argument("--wait", default="0.2-1.0", metavar="FROM-TO", help="a user's pauses, seconds [%(default)s]")
    parser.add_argument("--before", type=float, default=15, metavar="S", help="load before the release [%(default)s s]")
    parser.add_argument("--after", type=float, default=10, metavar="S", help="load after the release [%(default)s s]")
    parser.add_argument("--watch", type=int, default=8, metavar="S", help="watch after a switch [%(default)s s]")
    parser.add_argument("--keep", action="store_true", help="leave the site running")
    parser.add_argument("--stop", action="store_true", help="stop what an earlier --keep left running, and end")
    parser.add_argument("--dir", type=Path, default=REPOSITORY / "var/demo", help="where all files go [var/demo]")
    options = parser.parse_args()
    if options.users < 1:
        parser.error("--users: at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
