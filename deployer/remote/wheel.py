"""A wheel of the switchyard that runs here, for the server. From the files themselves: also of an editable install.

The format is PEP 427's. The same files make the same bytes, so that a server which has them is left alone.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGES = ("deployer", "proxy")
_WHEEL = "Wheel-Version: 1.0\nGenerator: switchyard\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def build_wheel(directory: Path) -> Path:
    """Writes the wheel into the directory. Raises Refused when this switchyard was not installed by pip."""
    try:
        ours = distribution("switchyard")
    except PackageNotFoundError as error:
        raise Refused("this switchyard is not installed, so it can't be sent", "`pip install .` first") from error
    info = f"switchyard-{ours.version}.dist-info"
    path = directory / f"switchyard-{ours.version}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in [*_code(), *_metadata(ours, info)]:
            _add(wheel, name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
        _add(wheel, f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode())
    return path


def _add(wheel: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    wheel.writestr(entry, data)


def _code() -> Iterator[tuple[str, bytes]]:
    for package in _PACKAGES:
        spec = find_spec(package)
        for place in sorted(spec.submodule_search_locations or ()) if spec else ():
            root = Path(place)
            for path in sorted(root.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _metadata(ours: Distribution, info: str) -> Iterator[tuple[str, bytes]]:
    yield f"{info}/METADATA", (ours.read_text("METADATA") or "").encode()
    yield f"{info}/WHEEL", _WHEEL.encode()
    yield f"{info}/entry_points.txt", (ours.read_text("entry_points.txt") or "").encode()
