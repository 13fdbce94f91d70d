"""The cookies that keep a visitor on a slot: signed with a secret of this installation, so that none can be made up."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from typing import TYPE_CHECKING, Final

from proxy.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE: Final = "cookie.key"
_KEY: Final = re.compile(r"[0-9a-f]{64}\n?")
_SIGNATURE_DIGITS: Final = 32


def slot_cookies(state_dir: Path, app: str, slots: Iterable[str]) -> dict[str, str]:
    """Slot -> the value of the cookie `slot-APP` that stands for it: `SLOT.SIGNATURE`.

    The secret is made at the first call, in a file that its owner alone can read. When it is lost, visitors are
    assigned anew. Raises StateError when it can't be read or made.
    """
    key = _secret(state_dir / FILE)
    return {slot: f"{slot}.{_signature(key, app, slot)}" for slot in slots}


def _signature(key: bytes, app: str, slot: str) -> str:
    return hmac.new(key, f"slot\0{app}\0{slot}".encode(), hashlib.sha256).hexdigest()[:_SIGNATURE_DIGITS]


def _secret(path: Path) -> bytes:
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return _make(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"{path}: can't be read: {error}", "make it readable for the proxy's user") from error
    if _KEY.fullmatch(text) is None:
        raise StateError(f"{path} is damaged: it must hold 64 hexadecimal digits", "remove it; a new one will be made")
    return bytes.fromhex(text)


def _make(path: Path) -> bytes:
    key = secrets.token_bytes(32)
    try:
        # Written whole under another name first: a crash must not leave half a secret.
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise StateError(f"{path}: can't be made: {error.strerror}", "make its directory writable") from error
    return key
