"""The release store: every released WAR once, by its content's hash.

`DIR/ID.war` is the content, `DIR/ID.json` what is known of it. The JSON is written last: a WAR without one is the
rest of an add that was cut off, and the next add of the same content completes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from typing import IO, TYPE_CHECKING

from deployer import durable
from deployer.clock import SystemClock
from deployer.errors import Refused
from deployer.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from deployer.clock import Clock

ID_DIGITS = 12
_CHUNK = 1 << 20
_PREFIX = re.compile(r"[0-9a-f]{4,64}")


class Store:
    """The releases in one directory, which is made when it is first needed. Methods raise Refused."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.directory = directory.absolute()
        self._clock: Clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"<Store {self.directory}>"

    def add(self, war_path: Path) -> Release:
        """Stores a copy of the WAR and returns its release; the same content again gives the same release."""
        try:
            original = war_path.open("rb")
        except OSError as why:
            raise Refused(f"cannot read {war_path}: {why.strerror}", "check the path and the file's mode") from why
        temporary = ""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            digest, temporary = self._copy(original)
            known = self._read(digest[:ID_DIGITS])
            if known is not None:
                if known.sha256 != digest:
                    raise Refused(f"release {known.id} has the same id and another content", "remove it from the store")
                os.replace(temporary, known.war)
                durable.sync_directory(self.directory)
                return known
            return self._keep(war_path.name, digest, temporary)
        except OSError as why:
            raise Refused(
                f"cannot store {war_path} in {self.directory}: {why}",
                "make room, mend the permissions, or set releases.dir",
            ) from why
        finally:
            original.close()
            if temporary and os.path.exists(temporary):
                os.unlink(temporary)

    def get(self, id_or_prefix: str) -> Release:
        """The release whose id or SHA-256 begins so (4 digits or more)."""
        if not _PREFIX.fullmatch(id_or_prefix):
            raise Refused(f"{id_or_prefix!r} is not a release's id", "deployer history lists them")
        found = [known for known in self.list() if known.sha256.startswith(id_or_prefix)]
        if len(found) != 1:
            what = "more than one release begins" if found else "no stored release begins"
            raise Refused(f"{what} with {id_or_prefix}", "deployer history lists them")
        if not found[0].war.is_file():
            raise Refused(f"the WAR of release {found[0].id} is gone from {self.directory}", "release it again")
        return found[0]

    def list(self) -> Sequence[Release]:
        """All releases, the newest first."""
        try:
            names = [entry.stem for entry in self.directory.glob("*.json")]
        except OSError:
            names = []
        known = [release for release in map(self._read, names) if release is not None]
        return sorted(known, key=lambda release: (release.added, release.id), reverse=True)

    def prune(self, keep: int, in_use: Iterable[str]) -> Sequence[Release]:
        """Removes all but the `keep` newest and those whose ids are `in_use`; returns what it removed.

        Remains of adds that were cut off go too.
        """
        used = frozenset(in_use)
        removed = [release for release in self.list()[keep:] if release.id not in used]
        try:
            for release in removed:
                (self.directory / f"{release.id}.json").unlink()
                release.war.unlink(missing_ok=True)
            for rest in self.directory.glob(f"{durable.TEMPORARY_PREFIX}*"):
                rest.unlink()
            if removed:
                durable.sync_directory(self.directory)
        except OSError as why:
            raise Refused(f"cannot remove old releases from {self.directory}: {why}", "mend the permissions") from why
        return removed

    def _copy(self, original: IO[bytes]) -> tuple[str, str]:
        """Copies and hashes in one reading, so that the hash is that of the copy."""
        digest = hashlib.sha256()
        descriptor, temporary = tempfile.mkstemp(prefix=durable.TEMPORARY_PREFIX, dir=self.directory)
        try:
            with os.fdopen(descriptor, "wb") as copy:
                while chunk := original.read(_CHUNK):
                    digest.update(chunk)
                    copy.write(chunk)
                copy.flush()
                os.fchmod(descriptor, 0o644)
                os.fsync(descriptor)
        except BaseException:
            os.unlink(temporary)
            raise
        return digest.hexdigest(), temporary

    def _keep(self, name: str, digest: str, temporary: str) -> Release:
        war = self.directory / f"{digest[:ID_DIGITS]}.war"
        size = os.stat(temporary).st_size
        os.replace(temporary, war)
        durable.sync_directory(self.directory)
        added = self._clock.time()
        text = json.dumps({"sha256": digest, "size": size, "added": added, "name": name}, indent=2) + "\n"
        durable.write(war.with_suffix(".json"), text.encode(), 0o644)
        return Release(digest[:ID_DIGITS], digest, war, size, added, name)

    def _read(self, identity: str) -> Release | None:
        try:
            kept = json.loads((self.directory / f"{identity}.json").read_bytes())
            sha256, size, added, name = kept["sha256"], kept["size"], kept["added"], kept["name"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(sha256, str) or sha256[:ID_DIGITS] != identity:
            return None
        return Release(identity, sha256, self.directory / f"{identity}.war", int(size), float(added), str(name))
