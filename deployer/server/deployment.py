"""Places a release into a stopped slot, and remembers which one is there.

The marker is removed before the first change and written after the last one: a slot without a marker holds
nothing, or a deployment that was cut off, and is deployed again before it is started.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from deployer import durable
from deployer.errors import InstanceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.server.account import Account

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Deployment:
    """The place of a release in one slot's base.

    directory: where its file goes. emptied: by directory, which names (as in a shell) go before a release comes.
    Paths are relative to `base`. mode: the file's.
    """

    base: Path
    directory: str
    emptied: tuple[tuple[str, str], ...]
    mode: int = 0o640

    @property
    def marker(self) -> Path:
        """The file that names the release."""
        return self.base / "release.json"

    def release_id(self) -> str | None:
        """The release that was deployed whole; None when there is none, or the marker cannot be read."""
        return self._marked("release")

    def file(self) -> Path | None:
        """Where the deployed release's file is; None as for `release_id`."""
        name = self._marked("file")
        return None if name is None else self.base / self.directory / name

    def place(self, source: Path, release_id: str, account: Account, name: str) -> None:
        """Empties what an earlier release left and puts this one's file there as `name`. The slot must be stopped.

        The copy is hashed: a file in the store that is damaged, so that its SHA-256 no longer begins with its
        release's id, is not deployed. Raises InstanceError.
        """
        target = self.base / self.directory / name
        try:
            durable.remove(self.marker)
            self._empty()
            digest = self._copy(source, target, account)
        except OSError as why:
            raise InstanceError(
                f"cannot deploy {source} into {self.base}: {why}",
                "make room or mend the permissions, then release again",
            ) from why
        if not digest.startswith(release_id):
            target.unlink()
            raise InstanceError(
                f"{source} is damaged: its SHA-256 is {digest}, not {release_id}…",
                "remove it from the release store and release the original file again",
            )
        text = json.dumps({"release": release_id, "sha256": digest, "file": name}, indent=2) + "\n"
        durable.write(self.marker, text.encode(), 0o644)

    def _marked(self, key: str) -> str | None:
        try:
            marker: Any = json.loads(self.marker.read_bytes())
        except (OSError, ValueError):
            return None
        value = marker.get(key) if isinstance(marker, dict) else None
        return value if isinstance(value, str) else None

    def _empty(self) -> None:
        for entry in list(self._stale()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _stale(self) -> Iterator[Path]:
        rules = (*self.emptied, (self.directory, f"{durable.TEMPORARY_PREFIX}*"))
        for directory in dict.fromkeys(name for name, _ in rules):
            patterns = [pattern for name, pattern in rules if name == directory]
            for entry in (self.base / directory).iterdir():
                if any(fnmatchcase(entry.name, pattern) for pattern in patterns):
                    yield entry

    def _copy(self, source: Path, target: Path, account: Account) -> str:
        """A copy and not a link: what the server's user can write must not be the store's file."""
        descriptor, temporary = tempfile.mkstemp(prefix=durable.TEMPORARY_PREFIX, dir=target.parent)
        digest = hashlib.sha256()
        try:
            with os.fdopen(descriptor, "wb") as copy, source.open("rb") as original:
                while chunk := original.read(_CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
                copy.flush()
                if account.other:
                    os.fchown(descriptor, -1, account.gid)
                os.fchmod(descriptor, self.mode)
                os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        durable.sync_directory(target.parent)
        return digest.hexdigest()
