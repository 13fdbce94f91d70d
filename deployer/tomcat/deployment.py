"""Places a release into a stopped instance, and remembers which one is there.

The marker is removed before the first change and written after the last one: an instance without a marker holds
nothing, or a deployment that was cut off, and is deployed again before it is started.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer import durable
from deployer.errors import InstanceError

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.tomcat.account import Account

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Deployment:
    """The webapps directory of one instance. webapp: the context path as a file name, such as ROOT or a#b."""

    base: Path
    webapp: str

    @property
    def marker(self) -> Path:
        """The file that names the release."""
        return self.base / "release.json"

    def release_id(self) -> str | None:
        """The release that was deployed whole; None when there is none, or the marker cannot be read."""
        try:
            marker = json.loads(self.marker.read_bytes())
        except (OSError, ValueError):
            return None
        identity = marker.get("release") if isinstance(marker, dict) else None
        return identity if isinstance(identity, str) else None

    def place(self, war: Path, release_id: str, account: Account) -> None:
        """Empties the context and the work directory and puts the WAR there. The instance must be stopped.

        The copy is hashed: a WAR in the store that is damaged, so that its SHA-256 no longer begins with its
        release's id, is not deployed. Raises InstanceError.
        """
        try:
            durable.remove(self.marker)
            self._empty()
            digest = self._copy(war, account)
        except OSError as why:
            raise InstanceError(
                f"cannot deploy {war} into {self.base}: {why}", "make room or mend the permissions, then release again"
            ) from why
        if not digest.startswith(release_id):
            (self.base / "webapps" / f"{self.webapp}.war").unlink()
            raise InstanceError(
                f"{war} is damaged: its SHA-256 is {digest}, not {release_id}…",
                "remove it from the release store and release the original WAR again",
            )
        text = json.dumps({"release": release_id, "sha256": digest}, indent=2) + "\n"
        durable.write(self.marker, text.encode(), 0o644)

    def _empty(self) -> None:
        webapps = self.base / "webapps"
        names = (self.webapp, f"{self.webapp}.war")
        stale = [
            entry
            for entry in webapps.iterdir()
            if entry.name in names or entry.name.startswith((f"{self.webapp}##", durable.TEMPORARY_PREFIX))
        ]
        for entry in [*stale, *(self.base / "work").iterdir()]:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _copy(self, war: Path, account: Account) -> str:
        """A copy and not a link: what Tomcat's user can write must not be the store's file."""
        webapps = self.base / "webapps"
        descriptor, temporary = tempfile.mkstemp(prefix=durable.TEMPORARY_PREFIX, dir=webapps)
        digest = hashlib.sha256()
        try:
            with os.fdopen(descriptor, "wb") as copy, war.open("rb") as original:
                while chunk := original.read(_CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
                copy.flush()
                if account.other:
                    os.fchown(descriptor, -1, account.gid)
                os.fchmod(descriptor, 0o640)
                os.fsync(descriptor)
            os.replace(temporary, webapps / f"{self.webapp}.war")
        except BaseException:
            os.unlink(temporary)
            raise
        durable.sync_directory(webapps)
        return digest.hexdigest()
