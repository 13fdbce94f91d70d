"""What is read out of a Tomcat log. The texts are Tomcat 10.1's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.server.log import read_log
from deployer.tomcat.log import explain, parse, server_started, severe

if TYPE_CHECKING:
    from pathlib import Path

LISTENER = """\
22-Nov-2026 21:04:33.981 INFO [main] org.apache.catalina.core.StandardService.startInternal Starting service [Catalina]
22-Nov-2026 21:04:34.001 SEVERE [main] org.apache.catalina.core.StandardContext.listenerStart Exception sending \
context initialized event to listener instance of class [tiny.BadListener]
\tjava.lang.IllegalStateException: no orders
\t\tat tiny.BadListener.contextInitialized(BadListener.java:5)
\t\tat org.apache.catalina.core.StandardContext.listenerStart(StandardContext.java:4470)
\tCaused by: java.sql.SQLException: database shop is down
\t\t... 40 more
22-Nov-2026 21:04:34.002 SEVERE [main] org.apache.catalina.core.StandardContext.startInternal One or more listeners \
failed to start. Full details will be found in the appropriate container log file
22-Nov-2026 21:04:34.193 INFO [main] org.apache.catalina.startup.Catalina.start Server startup in [1684] milliseconds
"""


def test_records_keep_their_exception() -> None:
    records = parse(LISTENER.splitlines())
    assert [record.level for record in records] == ["INFO", "SEVERE", "SEVERE", "INFO"]
    assert records[1].causes() == [
        "java.lang.IllegalStateException: no orders",
        "java.sql.SQLException: database shop is down",
    ]
    assert records[2].detail == ()
    assert server_started(records)


def test_a_start_that_failed_is_explained_by_its_first_cause() -> None:
    assert explain(parse(LISTENER.splitlines())).splitlines() == [
        "a listener of the application threw while it started",
        "  Exception sending context initialized event to listener instance of class [tiny.BadListener]",
        "    java.lang.IllegalStateException: no orders",
        "    java.sql.SQLException: database shop is down",
    ]


def test_a_known_sign_counts_more_than_an_unknown_exception_before_it() -> None:
    lines = """\
22-Nov-2026 21:04:34.001 SEVERE [main] shop.Warm.up it is cold
\tjava.lang.RuntimeException: brr
22-Nov-2026 21:04:34.002 SEVERE [main] org.apache.catalina.startup.ContextConfig.beforeStart Exception fixing docBase \
for context []
\tjava.util.zip.ZipException: zip file is empty
""".splitlines()
    assert explain(parse(lines)).startswith("the WAR cannot be unpacked")
    assert explain(parse(lines[:2])) == (
        "Tomcat logged a SEVERE record\n  it is cold\n    java.lang.RuntimeException: brr"
    )


def test_what_the_jvm_says_before_tomcat_does_is_told() -> None:
    lines = ["Error: Could not find or load main class Foo", "Caused by: java.lang.ClassNotFoundException: Foo"]
    assert explain(parse(lines)) == "the JVM said:\n  " + "\n  ".join(lines)
    assert explain([]) == ""


def test_session_replication_is_judged_elsewhere() -> None:
    line = (
        "22-Nov-2026 21:13:35.130 SEVERE [Tribes-Task-Receiver[Catalina-Channel]-3] "
        "org.apache.catalina.ha.session.DeltaManager.messageReceived Unable to receive message through TCP channel"
    )
    records = parse([line])
    assert records[0].source == "org.apache.catalina.ha.session.DeltaManager.messageReceived"
    assert records[0].severe
    assert severe(records) == []


def test_other_languages_are_understood() -> None:
    german = "22-Nov.-2026 21:04:34.001 SCHWERWIEGEND [main] org.apache.catalina.core.X.start kaputt"
    assert [record.message for record in severe(parse([german]))] == ["kaputt"]


def test_reading_is_bounded_and_a_missing_log_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert read_log(path) == []
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    assert read_log(path)[0] == "line 0"
    cut = read_log(path, largest=100)
    assert cut[-1] == "line 999"
    assert cut[0].startswith("line ")
    assert len(cut) < 12
