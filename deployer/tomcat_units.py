"""What `deployer systemd` prints and writes: the units of the slots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deployer import durable
from deployer.errors import ConfigurationError, Refused
from deployer.tomcat.kind import TomcatKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.assembly import Workshop


def unit_files(shop: Workshop) -> Mapping[str, str]:
    """Each slot's unit, by its file's name. Raises ConfigurationError for slots that have none."""
    kind = shop.kind
    if not isinstance(kind, TomcatKind):
        raise ConfigurationError(
            f"slots of kind {shop.settings.kind} have no units: the deployer starts them as its own processes",
            "units are for kind: tomcat",
        )
    return kind.units(shop.clock)


def write_units(units: Mapping[str, str], directory: str) -> list[str]:
    """Writes them, each one whole; their paths. Raises Refused."""
    written = []
    for name, text in units.items():
        path = Path(directory) / name
        try:
            durable.write_if_changed(path, text.encode(), 0o644)
        except OSError as error:
            raise Refused(
                f"{path}: can't be written: {error.strerror}", "run this as root, or name another DIR"
            ) from error
        written.append(str(path))
    return written
