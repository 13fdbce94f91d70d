"""The shop's WARs: each is compiled once, for all tests that release it."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BUILD = Path(__file__).resolve().parents[2] / "benchmarks" / "shop" / "build"


class ShopWars:
    """WARs by version, variant and columns of their orders ("" for none), in a directory; nobody changes them there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __repr__(self) -> str:
        return f"<ShopWars in {self._directory}>"

    def get(self, version: int, variant: str = "", orders: str = "") -> Path:
        """Raises CalledProcessError, with what the build said in its stderr."""
        name = "-".join(word for word in ("shop", str(version), variant, orders) if word)
        war = self._directory / f"{name}.war"
        if not war.exists():
            command = [sys.executable, str(BUILD), "--version", str(version), "--out", str(war)]
            command += ["--variant", variant] if variant else []
            command += ["--orders", orders] if orders else []
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=90)
        return war

    def get_all(self, wanted: Iterable[tuple[int, str]]) -> list[Path]:
        """Versions with their variants, two of them at a time."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda one: self.get(*one), wanted))
