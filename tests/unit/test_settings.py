"""proxy.yaml -> Settings: values, defaults, and findings that name path, line, found and allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.address import Endpoint, UnixEndpoint, parse_admin, parse_backend, parse_listen
from proxy.config_file import load, loads
from proxy.errors import ConfigurationError
from proxy.settings import Settings

MINIMAL = """\
apps:
  shop:
    slots:
      production: {backends: ["127.0.0.1:8081"]}
"""


def findings(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loads(text, "f")
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_the_annotated_file_says_the_defaults() -> None:
    annotated = load(str(Path(__file__).parents[2] / "config" / "proxy.yaml"))
    minimal = loads(MINIMAL)
    for key in ("listen", "workers", "state_dir", "access_log", "timeouts", "limits", "trusted_proxies"):
        assert getattr(annotated, key) == getattr(minimal, key), key
    assert annotated.admin.listen == minimal.admin.listen
    shop, least = annotated.apps["shop"], minimal.apps["shop"]
    for key in ("hosts", "path", "active", "health", "session_cookie"):
        assert getattr(shop, key) == getattr(least, key), key


def test_the_annotated_file_names_every_key() -> None:
    text = (Path(__file__).parents[2] / "config" / "proxy.yaml").read_text()
    schema = Settings.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    for key in {key for model in models for key in model["properties"]}:
        assert f"{key}:" in text or f" {key}" in text, key


def test_settings_survive_the_way_to_a_worker() -> None:
    settings = load(str(Path(__file__).parents[2] / "config" / "proxy.yaml"))
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_values_are_seconds_and_bytes() -> None:
    settings = loads(MINIMAL + "timeouts: {header: 250ms, idle: 2}\nlimits: {body: null, header_bytes: 8KiB}\n")
    assert (settings.timeouts.header, settings.timeouts.idle) == (0.25, 2.0)
    assert (settings.limits.body, settings.limits.header_bytes) == (None, 8192)


def test_unknown_keys_get_a_hint_at_every_depth() -> None:
    assert findings(MINIMAL + "lisen: []\n")[0].startswith("f:5: lisen: unknown key; did you mean listen? (allowed: ")
    text = MINIMAL.replace("backends", "bakends")
    assert any(
        line.startswith("f:4: apps.shop.slots.production.bakends: unknown key; did you mean backends?")
        for line in findings(text)
    )


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ('listen: ["http://0.0.0.0:99999"]', 'listen[0]: found "http://0.0.0.0:99999", allowed: a port'),
        ('listen: ["https://0.0.0.0:8443"]', "https is not supported yet"),
        ('listen: ["http://[::1]:80", "http://[0:0::1]:80"]', "listen[1]: found"),
        ('listen: ["http://127.0.0.1:9900"]', "which admin.listen has too"),
        ("workers: 0", "workers: found 0, allowed: auto"),
        ("workers: true", "workers: found true, allowed: auto"),
        ('admin: {listen: "http://0.0.0.0:9900"}', "admin.listen: found"),
        ("admin: {listen: 'unix:'}", "admin.listen: found"),
        ("timeouts: {header: 10x}", 'timeouts.header: found "10x", allowed: a duration such as 10s'),
        ("timeouts: {header: 0}", "timeouts.header: found 0, allowed: more than 0"),
        ("timeouts: {header: .inf}", "timeouts.header: found"),
        ("limits: {headers: '100'}", 'limits.headers: found "100", allowed: a whole number'),
        ("limits: {body: 10 potatoes}", "limits.body: found"),
        (
            "access_log: {format: xml}",
            "access_log.format: found \"xml\", allowed: 'json', 'combined' or 'off'",
        ),
        ("access_log: yes", 'access_log: found "yes", allowed: keys and values'),
        ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies[0]: found"),
        ("limits: {headers: 1}\nlimits: {headers: 2}", "limits: the key is given twice, first in line 5"),
    ],
)
def test_impossible_values_are_named(text: str, finding: str) -> None:
    lines = findings(MINIMAL + text + "\n")
    assert len(lines) == 1
    assert finding in lines[0]
    assert lines[0].startswith(f"f:{5 + text.count(chr(10))}: ")


@pytest.mark.parametrize(
    ("app", "finding"),
    [
        ("slots: {temp: {backends: ['a:1']}}", 'f:1: apps.shop.active: found "production", allowed: temp'),
        (
            "slots: {production: {backends: []}}",
            "apps.shop.slots.production.backends: found [], allowed: at least 1",
        ),
        ("slots: {production: {backends: [8081]}}", "apps.shop.slots.production.backends[0]: found 8081"),
        ("slots: {production: {backends: ['a']}}", 'backends[0]: found "a", allowed: host:port such as'),
        (
            "slots: {production: {backends: ['a:1']}, temp: {backends: ['A:1']}}",
            'apps.shop.slots.temp.backends[0]: found "A:1", which slots.production.backends[0] has too',
        ),
        ("slots: {Production: {backends: ['a:1']}}", "apps.shop.slots.Production: found the name"),
        ("slots: {production: {backends: ['a:1']}}, hosts: ['a.b:80']", "apps.shop.hosts[0]: found"),
        ("slots: {production: {backends: ['a:1']}}, hosts: [a, A.]", "apps.shop.hosts[1]: found"),
        ("slots: {production: {backends: ['a:1']}}, path: shop", "apps.shop.path: found"),
        ("slots: {production: {backends: ['a:1']}}, path: /shop/", "apps.shop.path: found"),
        (
            "slots: {production: {backends: ['a:1']}}, static: {prefix: /s, root: r}",
            "apps.shop.static.prefix",
        ),
        (
            "slots: {production: {backends: ['a:1']}}, session_cookie: 'a b'",
            "apps.shop.session_cookie: found",
        ),
        ("slots: {production: {backends: ['a:1']}}, health: {path: '/a b'}", "apps.shop.health.path: found"),
    ],
)
def test_impossible_apps_are_named(app: str, finding: str) -> None:
    assert any(finding in line for line in findings(f"apps: {{shop: {{{app}}}}}\n"))


def test_every_error_is_found_at_once() -> None:
    text = MINIMAL.replace("127.0.0.1:8081", "x") + "workers: no\nlimits: {headers: 0}\nlisten: [a, b]\n"
    assert len(findings(text)) == 5


def test_apps_on_one_host_need_different_paths() -> None:
    text = "apps: {a: {slots: {production: {backends: ['x:1']}}}, b: {slots: {production: {backends: ['x:2']}}}}"
    assert "which apps.a.hosts[0] has too" in findings(text)[0]
    assert set(loads(text.replace("b: {", "b: {path: /b, ")).apps) == {"a", "b"}


@pytest.mark.parametrize(
    "text",
    ["", "- a", "a: [", "a: *b", "\ta: 1", "a: 1\n---\nb: 2", "a: !!python/object:os.system x", "a: &b [*b]"],
)
def test_what_is_no_configuration_is_refused(text: str) -> None:
    assert findings(text)[0].startswith("f:")


def test_an_alias_bomb_is_refused() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))
    assert "repeats itself" in findings(f"a0: &a0 [x]\n{levels}\n")[0]


def test_words_of_old_yaml_stay_text() -> None:
    assert loads(MINIMAL + "access_log: {format: off}\n").access_log.format == "off"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match="Is a directory"):
        load(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(str(tmp_path / "latin.yaml"))
    (tmp_path / "long.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="allowed are"):
        load(str(tmp_path / "long.yaml"))


def test_addresses() -> None:
    assert parse_backend("[::1]:80") == Endpoint("::1", 80)
    assert str(parse_backend("[::1]:80")) == "[::1]:80"
    assert parse_listen("http://0.0.0.0:80/") == Endpoint("0.0.0.0", 80)
    assert parse_admin("unix:a/b") == UnixEndpoint("a/b")
    assert [Endpoint(host, 1).is_loopback for host in ("127.0.0.2", "::1", "localhost", "0.0.0.0", "a")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    for bad in ("[::1:80", "[:::1]:80", "1.2.3:80", "a:0", "a:65536", "a:", ":1", "a b:1", "a:1\n"):
        with pytest.raises(ValueError, match=r"host:port|a port"):
            parse_backend(bad)
