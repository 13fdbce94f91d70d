"""The deployer as a process, with a proxy's admin API and stand-ins for Tomcat: releases, kills, signals, refusals."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest
from deployed_site import Deployed, events
from fake_proxy import FakeProxy
from ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ports() -> list[int]:
    return free_ports(7)


@pytest.fixture
def proxy(ports: list[int]) -> Iterator[FakeProxy]:
    with FakeProxy(ports[6], {"production": ports[0], "temp": ports[3]}) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, proxy: FakeProxy, ports: list[int]) -> Iterator[Deployed]:
    deployed = Deployed(tmp_path, proxy.url, ports[:6])
    deployed.configure()
    yield deployed
    deployed.stop_all()


def served(site: Deployed, proxy: FakeProxy) -> str:
    """What users get now."""
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.slots[proxy.active]}/health", timeout=5) as response:
        text: str = response.read().decode()
        return text


def first_release(site: Deployed) -> None:
    done = site.run("release", str(site.war(1)))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_release_then_return_then_swap_then_rollback_at_once(site: Deployed, proxy: FakeProxy) -> None:
    assert site.run("init").returncode == 0
    first_release(site)
    assert served(site, proxy) == "ok 1"
    done = site.run("release", str(site.war(2)), "--message", "new cart", "--json")
    assert done.returncode == 0, done.stdout
    told = events(done.stdout)
    assert told[0]["event"] == "plan"
    assert told[-1]["event"] == "result"
    assert told[-1]["state"] == "done"
    [there, back] = [one["data"] for one in told if one.get("step", "").startswith("switch") and one["state"] == "done"]
    assert (there["to"], back["to"], there["held"], there["hold_ms"]) == ("temp", "production", 4, 1.2)
    assert (proxy.active, served(site, proxy)) == ("production", "ok 2")
    assert not site.status()["slots"]["temp"]["running"]
    assert (site.directory / "var/static/app.2.css").read_text() == "/* 2 */"
    assert proxy.progress[-1]["state"] == "done"
    assert proxy.releases["production"] == told[-1]["release"]

    assert site.run("release", str(site.war(3)), "--strategy", "swap").returncode == 0
    assert (proxy.active, served(site, proxy)) == ("temp", "ok 3")
    assert site.status()["slots"]["production"]["running"]
    back_again = site.run("rollback", "--strategy", "swap")
    assert back_again.returncode == 0
    assert "one switch does it" in back_again.stdout
    assert (proxy.active, served(site, proxy)) == ("production", "ok 2")

    runs = json.loads(site.run("history", "--json").stdout)["runs"]
    assert [(run["kind"], run["state"]) for run in runs] == [("rollback", "done"), *[("release", "done")] * 3]
    shown = site.run("show", "2").stdout
    assert "message: new cart" in shown
    assert "switch to production" in shown


def test_a_release_that_does_not_start_is_undone_with_its_cause(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    done = site.run("release", str(site.war(2, fails=True)))
    assert done.returncode == 1
    assert "java.lang.IllegalStateException: there is no database" in done.stdout
    assert "failed, and undone: the site is as before" in done.stdout
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1")
    assert proxy.epoch == 0


def test_errors_after_the_switch_undo_it(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    proxy.new_errors = 10
    site.configure("warmup: null")
    done = site.run("release", str(site.war(2)), "--strategy", "swap")
    assert done.returncode == 1
    assert "the trial of temp failed" in done.stdout
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1")


def test_a_refused_switch_is_undone(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    proxy.refuse_switch = 503
    done = site.run("release", str(site.war(2)))
    assert done.returncode == 1
    assert "the proxy refused (503): a worker did not answer; nothing changed" in done.stdout
    assert served(site, proxy) == "ok 1"


@pytest.mark.parametrize(
    "at",
    ["start temp", "switch to temp", "stop production", "stop temp"],
)
def test_after_a_kill_the_status_says_what_to_do_and_it_works(site: Deployed, proxy: FakeProxy, at: str) -> None:
    first_release(site)
    with site.started("release", str(site.war(2)), "--json") as running:
        assert running.stdout is not None
        for line in running.stdout:
            event = json.loads(line)
            if event.get("step") == at and event["state"] == "started":
                running.kill()
                break
        running.wait()
    assert served(site, proxy) in ("ok 1", "ok 2")
    status = site.status()
    assert status["lock"] is None
    assert status["cut_off"]["state"] == "running"
    advice = "\n".join(status["advice"])
    assert "was cut off at step" in advice
    assert "`deployer resume` makes release" in advice
    assert "`deployer abort` goes back" in advice
    back = at in ("start temp", "stop production")
    done = site.run("abort" if back else "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1" if back else "ok 2")
    after = site.status()
    assert after["cut_off"] is None
    assert not after["slots"]["temp"]["running"]


def test_a_release_that_was_killed_before_it_was_stored_begins_again(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    war = site.war(2)
    site.configure("hooks: {before_start: ['sleep 5']}")
    with site.started("release", str(war), "--json") as running:
        assert running.stdout is not None
        next(line for line in running.stdout if '"hooks before_start"' in line and '"started"' in line)
        running.kill()
    site.configure()
    for stored in (site.directory / "var/releases").glob("*"):
        if stored.stem != site.status()["slots"]["production"]["release_id"]:
            stored.unlink()
    assert "`deployer release` of shop-2.war begins again: it was not stored yet" in site.status()["advice"][-1]
    assert site.run("resume").returncode == 3
    assert site.run("release", str(war)).returncode == 0
    assert served(site, proxy) == "ok 2"


def test_a_tomcat_that_nobody_noted_is_found_and_taken_over(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    pid_file = site.directory / "var/production/tomcat.pid.json"
    pid_file.unlink()
    assert site.status()["slots"]["production"]["running"]
    assert site.run("release", str(site.war(2))).returncode == 0
    assert served(site, proxy) == "ok 2"


def test_one_interrupt_undoes_and_a_second_release_is_refused_meanwhile(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    text = (site.directory / "deployer.yaml").read_text().replace("watch: {for: 300ms}", "watch: {for: 30s}")
    (site.directory / "deployer.yaml").write_text(text)
    with site.started("release", str(site.war(2)), "--json") as running:
        assert running.stdout is not None
        for line in running.stdout:
            event = json.loads(line)
            if event.get("step") == "watch temp" and event["state"] == "started":
                break
        second = site.run("release", str(site.war(3)))
        assert second.returncode == 3
        assert f"the site is locked by pid {running.pid}" in second.stderr
        assert "release " in second.stderr
        held = json.loads(site.run("lock", "status", "--json").stdout)["holder"]
        assert held["pid"] == running.pid
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
        assert running.wait() == 1
    result = json.loads(rest.splitlines()[-1])
    assert result["state"] == "undone"
    assert "interrupted by the operator" in result["problem"]
    assert (proxy.active, served(site, proxy)) == ("production", "ok 1")


def test_output_that_nobody_reads_does_not_stop_a_release(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    with site.started("release", str(site.war(2))) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.wait() == 0
    assert served(site, proxy) == "ok 2"


def test_a_lost_terminal_does_not_stop_a_release(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    with site.started("release", str(site.war(2))) as running:
        assert running.stdout is not None
        while "[1/" not in running.stdout.readline():
            pass
        running.send_signal(signal.SIGHUP)
        running.stdout.read()
        assert running.wait() == 0
    assert served(site, proxy) == "ok 2"


def test_a_broken_lock_stops_the_release_before_its_next_step(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    with site.started("release", str(site.war(2)), "--json") as running:
        assert running.stdout is not None
        running.stdout.readline()
        broken = site.run("lock", "break")
        assert "taken from pid" in broken.stdout
        result = json.loads(running.stdout.read().splitlines()[-1])
        assert running.wait() == 1
    assert "broke our lock" in result["problem"]
    assert served(site, proxy) == "ok 1"


def test_switch_start_and_stop(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    assert site.run("stop", "production").returncode == 3
    assert site.run("start", "production").returncode == 3
    assert "nothing is deployed in temp" in site.run("start", "temp").stderr
    refused = site.run("switch", "temp")
    assert refused.returncode == 3
    assert "temp does not run" in refused.stderr
    release = site.status()["slots"]["production"]["release_id"]
    assert site.run("start", "temp", "--release", release[:6]).returncode == 0
    assert site.run("switch", "temp").returncode == 0
    assert proxy.active == "temp"
    assert site.run("stop", "production").returncode == 0
    assert not site.status()["slots"]["production"]["running"]
    assert site.run("stop", "temp", "--force").returncode == 0
    down = site.status()
    assert "the site is down" in down["advice"][0]
    assert site.run("start", "temp").returncode == 0
    assert served(site, proxy) == "ok 1"


def test_logs_follow_over_a_restart(site: Deployed, proxy: FakeProxy) -> None:
    first_release(site)
    assert "stand-in for Tomcat" in site.run("logs", "production").stdout
    assert site.run("logs", "nowhere").returncode == 3
    with site.started("logs", "production", "-f", "-n", "1") as following:
        assert following.stdout is not None
        assert "'version': 1" in following.stdout.readline()
        assert site.run("release", str(site.war(2))).returncode == 0
        assert "'version': 2" in following.stdout.readline()


def test_hooks_run_with_the_release_in_their_environment(site: Deployed, proxy: FakeProxy) -> None:
    said = site.directory / "hooks.txt"
    line = f'echo "$DEPLOYER_MOMENT $DEPLOYER_SLOT $DEPLOYER_URL" | tee -a {said}'
    moments = ("before_start", "smoke", "after_switch", "after_release", "on_failure")
    site.configure("hooks:\n" + "".join(f"  {moment}: ['{line}']\n" for moment in moments))
    first_release(site)
    site.run("release", str(site.war(2)), "--strategy", "swap")
    temp = f"temp http://127.0.0.1:{site.ports[3]}"
    production = f"production http://127.0.0.1:{site.ports[0]}"
    assert said.read_text().splitlines() == [
        f"before_start {production}",
        f"smoke {production}",
        f"after_release {production}",
        f"before_start {production}",
        f"smoke {temp}",
        f"after_switch {temp}",
        f"after_release {production}",
    ]
    shown = site.run("show", "2").stdout.splitlines()
    assert f"    before_start {production}" in shown
    assert f"    after_switch {temp}" in shown
    said.unlink()
    failing = "hooks: {after_switch: ['echo the cause; exit 3'], on_failure: ['" + line + "']}"
    site.configure(failing)
    done = site.run("release", str(site.war(3)), "--strategy", "swap")
    assert done.returncode == 1
    assert "ended with status 3" in done.stdout
    assert "the cause" in done.stdout
    assert said.read_text().startswith("on_failure")
    assert served(site, proxy) == "ok 2"


# --- refusals: nothing is touched -------------------------------------------------------------------------


def refused(site: Deployed, war: str, code: int, *said: str) -> None:
    before = site.contents()
    done = site.run("release", war)
    assert done.returncode == code, done.stdout + done.stderr
    for words in said:
        assert words in done.stderr
    assert "what to do: " in done.stderr
    after = {name for name in site.contents() - before if not name.startswith("var/deployer/")}
    assert after == set()


def test_files_that_are_no_war_are_refused(site: Deployed) -> None:
    whole = site.war(1).read_bytes()
    bad = site.directory / "bad.war"
    refused(site, "none.war", 3, "there is no file none.war")
    bad.write_bytes(b"")
    refused(site, "bad.war", 3, "bad.war is empty")
    bad.write_bytes(b"hello, this is text")
    refused(site, "bad.war", 3, "is not a WAR")
    bad.write_bytes(whole[: len(whole) // 2])
    refused(site, "bad.war", 3, "is damaged")
    broken = bytearray(whole)
    broken[whole.index(b"<web-app") + 3] ^= 0xFF
    bad.write_bytes(bytes(broken))
    refused(site, "bad.war", 3, "is damaged")
    refused(site, str(site.directory), 3, "is a directory")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read_is_refused(site: Deployed) -> None:
    site.war(1).chmod(0)
    refused(site, "shop-1.war", 3, "cannot read")


def test_a_taken_port_is_refused_with_its_owner(site: Deployed, proxy: FakeProxy) -> None:
    site.war(1)
    with socket.create_server(("127.0.0.1", site.ports[0])):
        refused(
            site, "shop-1.war", 3, f"port {site.ports[0]} is taken by pid {os.getpid()}", "slots.production.http_port"
        )


def test_without_java_or_tomcat_nothing_begins(site: Deployed) -> None:
    site.war(1)
    site.configure(java="/nowhere")
    refused(site, "shop-1.war", 2, "there is no Java at /nowhere/bin/java", "tomcat.java_home")
    site.configure(home="/nowhere")
    refused(site, "shop-1.war", 2, "there is no Tomcat in /nowhere", "tomcat.home")


def test_a_proxy_that_is_down_or_refuses_us(site: Deployed, proxy: FakeProxy) -> None:
    site.war(1)
    (site.directory / "token").write_text("wrong\n")
    refused(site, "shop-1.war", 3, "refuses us", "admin.token_file")
    (site.directory / "token").unlink()
    refused(site, "shop-1.war", 3, "the proxy's token can't be read from")
    site.configure(proxy="http://127.0.0.1:1")
    refused(site, "shop-1.war", 3, "the proxy at http://127.0.0.1:1 does not answer", "proxy run")
    status = site.run("status")
    assert status.returncode == 3
    assert "production" in status.stdout


def test_slots_that_the_proxy_has_otherwise_are_refused(site: Deployed, proxy: FakeProxy) -> None:
    site.war(1)
    del proxy.slots["temp"]
    refused(site, "shop-1.war", 3, "has no slot temp", "apps.shop.slots")
    proxy.slots["temp"] = 1
    refused(site, "shop-1.war", 3, f"slot temp is port {site.ports[3]} in deployer.yaml, and 127.0.0.1:1 in the proxy")


def test_dry_run_prints_the_plan_and_touches_nothing(site: Deployed, proxy: FakeProxy) -> None:
    war = str(site.war(1))
    before = site.contents()
    done = site.run("release", war, "--dry-run")
    assert done.returncode == 0
    assert "Start production and wait until its application is ready." in done.stdout
    assert f"-Dcatalina.base={site.directory}/var/production" in done.stdout
    planned = json.loads(site.run("plan", war, "--json").stdout)
    assert [step["name"] for step in planned["steps"]][-2:] == ["smoke test production", "prune"]
    assert site.contents() == before
    assert [request for request in proxy.requests if not request.startswith("GET")] == []


def test_facts_are_there_before_anything_was_done(site: Deployed) -> None:
    before = site.contents()
    assert site.status()["slots"]["production"]["release_id"] is None
    assert json.loads(site.run("history", "--json").stdout) == {"runs": [], "stored": []}
    assert site.run("rollback").returncode == 3
    assert site.run("resume").returncode == 3
    assert site.run("lock", "break").stdout == "nobody had the lock\n"
    assert site.contents() - before <= {"var/deployer/keys.json"}


def test_a_bad_configuration_is_told_as_json_too(site: Deployed) -> None:
    (site.directory / "deployer.yaml").write_text("app: shop\nslotz: {}\n")
    done = site.run("status", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)
    assert error["exit_code"] == 2
    assert "deployer.yaml:2: slotz: unknown key; did you mean slots?" in error["message"]


def test_help_names_the_exit_codes(site: Deployed) -> None:
    done = site.run("--help")
    assert done.returncode == 0
    assert "Exit codes: 0 done" in done.stdout
