"""Brings an instance's directories and generated files into being, with modes and owners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.errors import ConfigurationError
from deployer.server import files
from deployer.tomcat import layout

if TYPE_CHECKING:
    from deployer.server.account import Account
    from deployer.tomcat.home import TomcatHome
    from deployer.tomcat.layout import InstanceSpec


def prepare(spec: InstanceSpec, home: TomcatHome, account: Account) -> list[str]:
    """Makes the base directory what `spec` says; the paths of the files that it changed, relative to the base.

    Tomcat's user can read the configuration and not write it. Raises ConfigurationError: not allowed, disk full.
    """
    wanted = {path: (file.text.encode(), file.mode) for path, file in layout.files(spec).items()}
    try:
        wanted["conf/web.xml"] = (home.web_xml.read_bytes(), 0o640)
    except OSError as why:
        raise ConfigurationError(f"cannot read {home.web_xml}: {why.strerror}", "mend its mode") from why
    tree = files.Tree(layout.DIRECTORIES_READ, layout.DIRECTORIES_WRITTEN, wanted)
    changed = files.prepare(spec.name, spec.base, tree, account)
    try:
        spec.log_file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as why:
        raise ConfigurationError(f"cannot make the log's directory: {why}", "mend the permissions") from why
    return changed
