"""`deployer init`: a configuration, directories and secrets, where there are none yet; and what is still missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployer import durable
from deployer.config_file import load
from deployer.doctor import Finding, directories, examine
from deployer.errors import ConfigurationError
from deployer.tomcat.keys import installation_keys, keys_file

if TYPE_CHECKING:
    from deployer.clock import Clock

STARTING_POINT = """\
# The settings of `deployer`. Every key is explained in the project's config/deployer.yaml.
# Durations: 10s, 250ms, 5m. Relative paths are relative to the directory in which the deployer is started.
app: shop                                  # the app's name in proxy.yaml
proxy: {url: "http://127.0.0.1:9900", token_file: var/admin.token, public_url: "http://127.0.0.1:8080"}
tomcat: {home: auto, java_home: auto, jvm: "-Xmx256m", run: process}
slots:                                     # the first one is home: the strategy `return` ends there
  production: {http_port: 8081, cluster_port: 4101, base: var/tomcat/production}
  temp: {http_port: 8082, cluster_port: 4102, base: var/tomcat/temp}
context: ""                                # the context path; "" is the root
sessions: {replicate: true}
releases: {dir: var/releases, keep: 5}
static: {from_war: ["static/**"], to: var/static/shop}
strategy: return                           # return: production -> temp -> production; swap: stay on the new slot
health: {path: /health, timeout: 60s, successes: 3}
smoke: [{path: /health, status: 200}]
warmup: {requests: 200, paths: [/]}
watch: {for: 20s, max_error_ratio: 0.02, max_p99: 2s}
hooks: {before_start: [], smoke: [], after_switch: [], after_release: [], on_failure: []}
"""


def initialise(config: Path, clock: Clock) -> list[Finding]:
    """Makes what is not there; nothing that is there is changed. Raises ConfigurationError for a bad configuration."""
    found = [_configuration(config)]
    settings = load(str(config))
    found += [_directory(Path(path)) for path in directories(settings)]
    if settings.kind == "tomcat":
        keys = keys_file(settings.state)
        made = not keys.exists()
        installation_keys(keys)
        what = f"the cluster's key and the control password: {keys} (mode 0600)"
        found.append(Finding("made" if made else "ok", what))
    return [*found, *examine(settings, clock, need_proxy=False)]


def _configuration(config: Path) -> Finding:
    if config.exists():
        return Finding("ok", f"configuration {config}")
    try:
        config.parent.mkdir(parents=True, exist_ok=True)
        durable.write(config, STARTING_POINT.encode(), 0o644)
    except OSError as error:
        raise ConfigurationError(f"{config} can't be written: {error.strerror}", "name another with -c") from error
    return Finding("made", f"configuration {config}", "set app, slots and proxy.url in it as in proxy.yaml")


def _directory(path: Path) -> Finding:
    if path.is_dir():
        return Finding("ok", f"directory {path}")
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise ConfigurationError(
            f"directory {path} can't be made: {error.strerror}", "mend it and try again"
        ) from error
    return Finding("made", f"directory {path}")
