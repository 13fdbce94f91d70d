"""deployer.yaml: what is allowed, and how wrong keys are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deployer.config_file import load, loads
from deployer.errors import ConfigurationError
from deployer.settings import Settings
from deployer.setup import STARTING_POINT

EXAMPLE = Path(__file__).parents[2] / "config" / "deployer.yaml"
LEAST = """\
app: shop
slots:
  production: {http_port: 8081, cluster_port: 4101, base: var/production}
  temp: {http_port: 8082, cluster_port: 4102, base: var/temp}
"""


def findings(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        loads(text)
    assert error.value.exit_code == 2
    return str(error.value).splitlines()


def test_the_annotated_example_loads() -> None:
    settings = load(str(EXAMPLE))
    assert settings.home == "production"
    assert settings.watch is not None
    assert (settings.watch.seconds, settings.watch.max_error_ratio, settings.watch.max_p99) == (20.0, 0.02, 2.0)
    assert settings.slots["temp"].control == 8092


def test_the_annotated_example_explains_every_key() -> None:
    text = EXAMPLE.read_text()
    keys: set[str] = set()

    def collect(schema: dict[str, object]) -> None:
        for key, value in schema.items():
            if key == "properties" and isinstance(value, dict):
                keys.update(value)
            if isinstance(value, dict):
                collect(value)

    collect(Settings.model_json_schema(by_alias=True))
    assert len(keys) > 50
    missing = [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)]
    assert missing == []


def test_what_init_writes_loads_to_the_same_slots_and_defaults() -> None:
    assert loads(STARTING_POINT).slots == load(str(EXAMPLE)).slots


def test_little_is_needed() -> None:
    settings = loads(LEAST)
    assert settings.strategy == "return"
    assert settings.static is None
    assert settings.proxy.url == "http://127.0.0.1:9900"
    assert settings.smoke == ()


def test_every_error_is_told_at_once_with_path_and_line() -> None:
    text = """\
app: Shop
proxi: {}
slots:
  production: {http_port: 8081, cluster_port: 8081, base: x}
  temp: {http_prot: 8082, cluster_port: "a", base: x}
watch: {for: tomorrow}
smoke:
  - {path: health}
hooks: {before_start: ["a", {run: ""}]}
"""
    assert findings(text) == [
        'deployer.yaml:1: app: found "Shop", allowed: a name of a to z, 0 to 9 and -, '
        "beginning with a letter, at most 32 long",
        "deployer.yaml:2: proxi: unknown key; did you mean proxy? (allowed: app, proxy, kind, tomcat, jetty, "
        "command, slots, context, sessions, releases, state_dir, static, strategy, switch, health, smoke, warmup, "
        "watch, hooks)",
        "deployer.yaml:4: slots.production.cluster_port: found 8081, which slots.production.http_port has too",
        'deployer.yaml:5: slots.temp.base: found "x", which slots.production has too',
        'deployer.yaml:5: slots.temp.cluster_port: found "a", allowed: a whole number',
        "deployer.yaml:5: slots.temp.http_port: is missing",
        "deployer.yaml:5: slots.temp.http_prot: unknown key; did you mean http_port? "
        "(allowed: http_port, cluster_port, control_port, base)",
        'deployer.yaml:6: watch.for: found "tomorrow", allowed: a duration such as 10s, 250ms or 5m',
        'deployer.yaml:8: smoke[0].path: found "health", allowed: a path that begins with / and holds no blanks, '
        "such as /health",
        'deployer.yaml:9: hooks.before_start[1].run: found "", allowed: text that is not empty',
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("strategy: blue-green", "strategy: found \"blue-green\", allowed: 'return' or 'swap'"),
        ("context: shop", 'context: found "shop", allowed: "" for the root, or a path such as "/shop"'),
        ("proxy: {url: 9900}", "proxy.url: found 9900, allowed: text"),
        ("proxy: {url: 'ftp://x'}", 'proxy.url: found "ftp://x", allowed: http://HOST:PORT'),
        ("tomcat: {run: docker}", "tomcat.run: found \"docker\", allowed: 'process' or 'systemd'"),
        ('tomcat: {jvm: "-Dx=\'"}', "tomcat.jvm: found"),
        ("releases: {keep: 0}", "releases.keep: found 0, allowed: at least 1"),
        ("watch: {max_error_ratio: 2}", "watch.max_error_ratio: found 2, allowed: at most 1"),
        ("static: {from_war: ['../x'], to: y}", 'static.from_war[0]: found "../x", allowed: a pattern of paths'),
        ("sessions: {replicate: maybe}", 'sessions.replicate: found "maybe", allowed: true or false'),
        ("app: again", "app: the key is given twice, first in line 1"),
    ],
)
def test_wrong_values_say_what_is_allowed(line: str, expected: str) -> None:
    [finding] = findings(LEAST + line + "\n")
    assert finding.startswith(f"deployer.yaml:5: {expected}")


def test_ports_must_differ_over_all_slots_also_by_default() -> None:
    text = LEAST.replace("http_port: 8082", "http_port: 8091")
    [finding] = findings(text)
    assert "slots.temp.http_port: found 8091, which slots.production.control_port (by default) has too" in finding


def test_one_slot_is_too_few() -> None:
    [finding] = findings("app: shop\nslots:\n  a: {http_port: 1, cluster_port: 2, base: x}\n")
    assert finding == 'deployer.yaml:2: slots: found {"a": {"http_port": 1, "cluster_port": 2, "base": "x"}}, ' + (
        "allowed: at least 2"
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("a: [", "not valid YAML"), ("- 1", "found [1]"), ("", "found nothing")]
)
def test_what_is_no_configuration_at_all(text: str, expected: str) -> None:
    [finding] = findings(text)
    assert expected in finding


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file") as error:
        load(str(tmp_path / "none.yaml"))
    assert "deployer init" in error.value.advice
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load(str(tmp_path / "binary.yaml"))
    with pytest.raises(ConfigurationError, match="can't be read"):
        load(str(tmp_path))


OTHER_KIND = """\
app: shop
kind: {kind}
slots:
  production: {{http_port: 8081, base: var/production}}
  temp: {{http_port: 8082, base: var/temp}}
sessions: {{replicate: false}}
{more}
"""


def test_the_other_kinds_need_no_cluster() -> None:
    jetty = loads(OTHER_KIND.format(kind="jetty", more="jetty: {jvm: -Xmx1g}"))
    assert jetty.jetty is not None
    assert (jetty.kind, jetty.jetty.jvm_options, jetty.slots["temp"].cluster_port) == ("jetty", ("-Xmx1g",), None)
    short = loads(OTHER_KIND.format(kind="command", more='command: ["java", "-jar", "{release}", "--port={port}"]'))
    assert short.command is not None
    assert short.command.run == ("java", "-jar", "{release}", "--port={port}")
    more = "command: {run: [sh, -c, 'exec ${RELEASE}'], environment: {A_1: b}, user: shop, stop: 2s}"
    long = loads(OTHER_KIND.format(kind="command", more=more)).command
    assert long is not None
    assert (long.environment, long.user, long.stop) == ({"A_1": "b"}, "shop", 2.0)


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("command", "", 'command: is missing: what starts a slot, such as ["java", "-jar", "{release}"]'),
        ("command", "command: []", "command.run: found [], allowed: at least 1"),
        (
            "command",
            'command: ["x", "{relase}"]',
            'command.run: found ["x", "{relase}"], allowed: of {…} only {base}, {port}, {release}, {slot}, not ',
        ),
        (
            "command",
            "command: {run: [x], environment: {2nd: y}}",
            'command.environment.2nd: found the name "2nd", allowed: a variable\'s name such as DATABASE',
        ),
        ("command", "command: [x]\njetty: {}", "jetty: is for kind: jetty, and this is kind: command"),
        ("jetty", "tomcat: {}", "tomcat: is for kind: tomcat, and this is kind: jetty"),
        ("servlet", "", "kind: found \"servlet\", allowed: 'tomcat', 'jetty' or 'command'"),
    ],
)
def test_a_kind_has_its_own_keys_only(kind: str, more: str, expected: str) -> None:
    [finding] = findings(OTHER_KIND.format(kind=kind, more=more))
    assert finding.split(" ", 1)[1].startswith(expected), finding


def test_sessions_of_other_kinds_are_not_shared() -> None:
    text = OTHER_KIND.format(kind="jetty", more="").replace("sessions: {replicate: false}\n", "")
    [finding] = findings(text.replace("base: var/temp", "base: var/temp, cluster_port: 4102"))[:1]
    assert "sessions.replicate: found true (the default), allowed: false" in finding
    assert "each switch logs users out" in finding
    both = findings(text.replace("base: var/temp", "base: var/temp, cluster_port: 4102"))
    assert "slots.temp.cluster_port: found 4102, which a slot of kind jetty has no use for" in both[1]
    lacking = findings(LEAST.replace("cluster_port: 4102, ", ""))
    assert lacking == ["deployer.yaml:4: slots.temp.cluster_port: is missing"]
