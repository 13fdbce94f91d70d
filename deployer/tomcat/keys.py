"""The secrets of an installation: made once, shared by its slots, readable by the deployer's user alone."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployer import durable
from deployer.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Keys:
    """encryption_key: of the session cluster, 32 hex digits (AES-128). control_password: of the control services."""

    encryption_key: str = field(repr=False)
    control_password: str = field(repr=False)


def keys_file(state: Path) -> Path:
    """Where they are, in the directory of the deployer's state."""
    return state / "keys.json"


def installation_keys(path: Path) -> Keys:
    """The keys in the file `path`, made (mode 0600) when it is not there. Raises ConfigurationError.

    A damaged file is not replaced: running Tomcats use its keys, and a cluster whose members' keys differ shares
    no session.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return _make(path)
    except OSError as why:
        raise ConfigurationError(f"cannot read the installation's keys: {why}", f"mend the mode of {path}") from why
    try:
        stored = json.loads(text)
        keys = Keys(stored["encryption_key"], stored["control_password"])
        if re.fullmatch(r"[0-9a-f]{32}", keys.encryption_key) and re.fullmatch(r"[\w-]{20,}", keys.control_password):
            return keys
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigurationError(
        f"{path} is damaged: it does not hold the installation's keys",
        "restore it; or stop all slots, remove it, and start them again with new keys",
    )


def _make(path: Path) -> Keys:
    keys = Keys(secrets.token_hex(16), secrets.token_urlsafe(32))
    stored = {"encryption_key": keys.encryption_key, "control_password": keys.control_password}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable.write(path, (json.dumps(stored, indent=2) + "\n").encode(), 0o600)
    except OSError as why:
        raise ConfigurationError(f"cannot write the installation's keys: {why}", f"mend the mode of {path}") from why
    return keys
